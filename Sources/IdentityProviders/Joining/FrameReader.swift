// SPDX-License-Identifier: Apache-2.0

/// Cuts a stream into frames: four bytes of length, most significant first, and so many bytes.
struct FrameReader {
    /// A frame that is longer than its reader allows.
    struct Oversized: Error, Hashable, CustomStringConvertible {
        let bytes: Int
        let limit: Int

        var description: String { "a message of \(bytes) bytes; the limit is \(limit)" }
    }

    /// Longest frame, in bytes after the length.
    private let limit: Int
    private var pending: [UInt8] = []
    /// How much of ``pending`` was returned.
    private var start = 0

    init(limit: Int) { self.limit = limit }

    mutating func append(_ bytes: UnsafeRawBufferPointer) { pending.append(contentsOf: bytes) }

    /// - Returns: The next frame; `nil` if it is not there as a whole.
    /// - Throws: ``Oversized`` as soon as the length says so.
    mutating func next() throws(Oversized) -> [UInt8]? {
        let rest = pending[start...]
        guard rest.count >= 4 else { return trim() }
        let length = rest.prefix(4).reduce(0) { $0 << 8 | Int($1) }
        guard length <= limit else { throw Oversized(bytes: length, limit: limit) }
        guard rest.count >= 4 + length else { return trim() }
        defer { start += 4 + length }
        return Array(rest.dropFirst(4).prefix(length))
    }

    /// Forgets what was returned.
    private mutating func trim() -> [UInt8]? {
        pending.removeSubrange(..<start)
        start = 0
        return nil
    }

    /// A frame of `body`.
    static func frame(_ body: [UInt8]) -> [UInt8] {
        withUnsafeBytes(of: UInt32(body.count).bigEndian) { Array($0) } + body
    }
}
