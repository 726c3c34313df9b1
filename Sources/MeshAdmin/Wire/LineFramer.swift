// SPDX-License-Identifier: Apache-2.0

/// Cuts a byte stream into lines, each of which is one message.
///
/// JSON text never contains a newline unless it was formatted for people, so the newline can end a message.
struct LineFramer {
    /// A line was longer than the limit: the stream cannot be used further.
    struct LineTooLong: Error, Equatable {
        let limit: Int
    }

    /// Longest line accepted, in bytes without the newline. Bounds what a peer can make us hold.
    let limit: Int
    private var buffer: [UInt8] = []
    /// Start of the first line not yet taken.
    private var start = 0
    /// No newline is in `start..<scanned`: a line that arrives byte by byte is still read once.
    private var scanned = 0

    init(limit: Int) {
        self.limit = limit
    }

    /// Bytes held that are not yet a whole line, or not yet taken.
    var pending: Int { buffer.count - start }

    /// Bytes in memory, taken ones included.
    var heldBytes: Int { buffer.count }

    mutating func append(_ bytes: some Collection<UInt8>) {
        if start > 0, start == buffer.count || start >= 64 * 1024 {
            buffer.removeFirst(start)
            scanned -= start
            start = 0
        }
        buffer.append(contentsOf: bytes)
    }

    /// The next whole line, without its newline; `nil` if more bytes are needed.
    ///
    /// - Throws: ``LineTooLong``, as soon as it is certain, so that no more than `limit` and one read are held.
    mutating func next() throws(LineTooLong) -> [UInt8]? {
        guard let newline = buffer[scanned...].firstIndex(of: UInt8(ascii: "\n")) else {
            scanned = buffer.count
            if buffer.count - start > limit { throw LineTooLong(limit: limit) }
            return nil
        }
        guard newline - start <= limit else { throw LineTooLong(limit: limit) }
        let line = Array(buffer[start..<newline])
        start = newline + 1
        scanned = start
        return line
    }
}
