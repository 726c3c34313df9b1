// SPDX-License-Identifier: Apache-2.0

/// One stream of a session: a name that can be copied, valid until ``HTTP2Event/closed(_:_:)`` has been handled.
///
/// Using it later is a defect of the caller that is noticed: the memory behind it remains the pool's.
public struct HTTP2Stream: Equatable, BitwiseCopyable {
    let slot: UnsafeMutablePointer<HTTP2StreamSlot>
    private let generation: UInt32
    /// As on the wire (RFC 9113 section 5.1.1).
    public let id: Int32

    init(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>) {
        self.slot = slot
        generation = slot.pointee.generation
        id = slot.pointee.id
    }

    /// Whether the stream is one still: closed and reported, it is not.
    @inline(__always)
    public var isCurrent: Bool { slot.pointee.generation == generation }

    /// The same, and the peer and we can still exchange frames about it.
    @inline(__always)
    var isOpen: Bool { isCurrent && !slot.pointee.isClosed && !slot.pointee.isBroken }

    @inline(__always)
    private func check() { precondition(isCurrent, "an HTTP/2 stream is used after its end was reported") }

    /// The owner's own: an index or an address of what belongs to the stream. Zero at first.
    public var context: Int {
        get {
            check()
            return slot.pointee.context
        }
        nonmutating set {
            check()
            slot.pointee.context = newValue
        }
    }

    /// The head of the request that was received on it.
    public var request: RequestHead {
        check()
        return slot.pointee.head.request
    }

    /// The head of the newest response that was received on it, interim or final.
    public var response: ResponseHead {
        check()
        return slot.pointee.head.response
    }

    /// Lends the fields of the received head, and the memory that its offsets are for.
    public func withFields<Value>(
        _ body: (_ fields: inout FieldTable, _ message: UnsafeRawPointer) throws -> Value
    ) rethrows -> Value {
        check()
        return try body(&slot.pointee.head.fields, slot.pointee.head.bytes)
    }

    /// Lends the received trailers, and the memory that their offsets are for. Those that a recipient should not see
    /// (RFC 9110 section 6.5.1) are dropped.
    public func withTrailers<Value>(
        _ body: (_ trailers: borrowing FieldTable, _ message: UnsafeRawPointer) throws -> Value
    ) rethrows -> Value {
        check()
        return try body(slot.pointee.trailers.fields, slot.pointee.trailers.bytes)
    }
}
