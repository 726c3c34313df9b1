// SPDX-License-Identifier: Apache-2.0

import CLinux

/// Pieces of memory that one call sends, one after another. They are lent until they are removed.
public struct StreamPieces: ~Copyable {
    /// Pieces at most.
    public static let limit = 32

    private let pieces: UnsafeMutablePointer<clinux_piece>
    public private(set) var count = 0

    public init() { pieces = .allocate(capacity: Self.limit) }

    deinit { pieces.deallocate() }

    public var isEmpty: Bool { count == 0 }
    public var isFull: Bool { count == Self.limit }

    /// - Precondition: It is not full.
    public mutating func append(_ bytes: UnsafeRawBufferPointer) {
        precondition(count < Self.limit, "more pieces than one call may send")
        (pieces + count).initialize(to: clinux_piece(start: bytes.baseAddress, count: bytes.count))
        count += 1
    }

    public mutating func removeAll() { count = 0 }

    /// sendmsg(2) without SIGPIPE. - Returns: Bytes taken of all together, or `-errno`.
    public func send(to descriptor: CInt) -> Int { clinux_send_pieces(descriptor, pieces, count) }

    /// Calls `body` with what is left behind the first `skipped` bytes, piece by piece.
    public func forEach(after skipped: Int, _ body: (UnsafeRawBufferPointer) -> Void) {
        var skipped = skipped
        for index in 0..<count {
            let piece = UnsafeRawBufferPointer(start: pieces[index].start, count: pieces[index].count)
            let gone = min(skipped, piece.count)
            skipped -= gone
            if gone < piece.count { body(UnsafeRawBufferPointer(rebasing: piece[gone...])) }
        }
    }
}
