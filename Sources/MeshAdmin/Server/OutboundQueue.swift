// SPDX-License-Identifier: Apache-2.0

/// The bytes on their way to one client, and how many messages it missed because it did not read.
///
/// Decides only; ``AdminSession`` writes. A list is pulled when there is room and never loses anything; what is
/// pushed at us meanwhile is held back until the list has ended, so that the order stays.
struct OutboundQueue {
    /// Bytes to keep at most, of both kinds together. Messages that must not be lost may exceed it by one.
    let limit: Int
    private var buffer: [UInt8] = []
    private var start = 0
    /// Pushed while a list was being sent.
    private var held: [UInt8] = []
    private var lost: UInt64 = 0
    /// A list is being pulled: ``push(_:lostNotice:)`` holds back.
    var isListing = false

    init(limit: Int) {
        self.limit = limit
    }

    /// Bytes that can be written now.
    var count: Int { buffer.count - start }

    var isEmpty: Bool { count == 0 }

    /// Appends a message that must not be lost.
    mutating func append(_ line: [UInt8]) {
        if start > 0, start >= buffer.count / 2 {
            buffer.removeFirst(start)
            start = 0
        }
        buffer += line
    }

    /// Appends a message that may be lost, and before it the notice of how many were.
    ///
    /// - Parameter lostNotice: encodes that many messages were lost.
    mutating func push(_ line: [UInt8], lostNotice: (UInt64) -> [UInt8]) {
        guard count + held.count + line.count <= limit else {
            lost += 1
            return
        }
        var lines = takeLost(lostNotice)
        lines += line
        if isListing { held += lines } else { append(lines) }
    }

    /// Tells what was lost even if nothing follows it. For when everything else has been written.
    mutating func settle(lostNotice: (UInt64) -> [UInt8]) {
        guard !isListing else { return }
        append(takeLost(lostNotice))
    }

    /// Ends the list, or the stream: what was held back follows, and the notice of what was lost last.
    mutating func endList(lostNotice: (UInt64) -> [UInt8]) {
        isListing = false
        append(held + takeLost(lostNotice))
        held = []
    }

    /// Lends what can be written now; `body` returns how many bytes of it are done.
    mutating func write<Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Int
    ) throws(Failure) {
        let first = start
        let done = try buffer.withUnsafeBufferPointer { (bytes) throws(Failure) in
            try body(UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: bytes[first...])))
        }
        start += done
        if start == buffer.count {
            buffer.removeAll(keepingCapacity: buffer.capacity <= limit)
            start = 0
        }
    }

    private mutating func takeLost(_ notice: (UInt64) -> [UInt8]) -> [UInt8] {
        guard lost > 0 else { return [] }
        defer { lost = 0 }
        return notice(lost)
    }
}
