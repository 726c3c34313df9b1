// SPDX-License-Identifier: Apache-2.0

/// Where some bytes of a message are: an offset from the message's first byte, and a length.
///
/// Not a pointer, because a receive buffer may move when it grows. 32 bits, because heads are bounded far below.
public struct ByteRange: Equatable, Sendable, BitwiseCopyable {
    public var offset: UInt32
    public var length: UInt32

    /// Nothing, at the start.
    public static let empty = ByteRange(offset: 0, length: 0)

    @inline(__always)
    public init(offset: UInt32, length: UInt32) {
        self.offset = offset
        self.length = length
    }

    /// The bytes from `start` up to, not including, `end`; both from the message's first byte.
    @inline(__always)
    init(_ start: Int, _ end: Int) {
        offset = UInt32(truncatingIfNeeded: start)
        length = UInt32(truncatingIfNeeded: end &- start)
    }

    @inline(__always) public var isEmpty: Bool { length == 0 }

    /// The offset after the last byte.
    @inline(__always) public var end: UInt32 { offset &+ length }

    /// These bytes of `message`, which must be the memory that the range was made for: it is not checked.
    @inline(__always)
    public func bytes(in message: UnsafeRawPointer) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: message + Int(offset), count: Int(length))
    }
}
