// SPDX-License-Identifier: Apache-2.0

/// One end of an HTTP/2 connection (RFC 9113): bytes in, bytes out, events. It does no I/O and has no clock.
///
/// Made once for a connection, as ``HTTP2ServerSession`` or ``HTTP2ClientSession``. A request costs neither an
/// allocation from the system nor reference counting once the worker's pool has grown to its work. Belongs to one
/// thread.
///
/// The loop of its owner: give what was received to ``receive(_:now:_:)``; give ``send(into:now:_:)`` room while
/// ``wantsToSend``; when ``isFinished``, or after `receive` has answered ``Progress/ended``, send what is left and close.
public class HTTP2Session {
    /// What became of received bytes.
    public enum Progress: Equatable, Sendable {
        case open
        /// Nothing more is read: send what is left, then close. ``HTTP2Session/failure`` says why, if not in order.
        case ended
    }

    final let core: UnsafeMutablePointer<HTTP2Core>
    /// Outlives the core, which has its address.
    private final let pool: HTTP2MemoryPool

    init(isServer: Bool, limits: HTTP2Limits, pool: HTTP2MemoryPool, now: UInt64) {
        self.pool = pool
        core = .allocate(capacity: 1)
        core.initialize(to: HTTP2Core(isServer: isServer, limits: limits, pool: pool, now: now))
    }

    deinit {
        core.deinitialize(count: 1)
        core.deallocate()
    }

    /// What happened to the connection, if it had to end.
    public final var failure: HTTP2Failure? { core.pointee.failure }

    /// Whether ``send(into:now:_:)`` has something to write. A stream whose window is shut does not count.
    public final var wantsToSend: Bool { core.pointee.wantsToSend }

    /// Whether nothing is left to be read or written: the connection can be closed.
    public final var isFinished: Bool { !core.pointee.wantsToSend && core.pointee.isDeaf }

    /// Streams whose end has not been reported.
    public final var streamCount: Int { core.pointee.streamCount }

    /// Streams that the peer lets us have open at once (RFC 9113 section 6.5.2).
    public final var peerConcurrentStreams: UInt32 { core.pointee.peer.concurrentStreams }

    /// Whether the peer has said that it takes extended CONNECT (RFC 8441 section 3).
    public final var peerTakesExtendedConnect: Bool { core.pointee.peer.takesExtendedConnect }

    // MARK: Bytes

    /// Takes bytes that have been received. All of them are used up, whatever the answer.
    ///
    /// - Parameters:
    ///   - bytes: Lent; events may point into them.
    ///   - now: Milliseconds of a clock that does not go back.
    ///   - handler: Told what happened, before this returns.
    public final func receive<Handler: HTTP2EventHandler & ~Copyable>(
        _ bytes: UnsafeRawBufferPointer, now: UInt64, _ handler: inout Handler
    ) -> Progress {
        let core = core
        core.pointee.now = now
        var rest = bytes
        while !rest.isEmpty, !core.pointee.isTerminated {
            let count = core.pointee.read(rest)
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            if let violation = core.pointee.violation { core.pointee.terminate(.abuse(violation), violation.code) }
            tell(&handler)
            if core.pointee.isDeaf { return .ended }
        }
        return core.pointee.isTerminated ? .ended : .open
    }

    /// Room that ``send(into:now:_:)`` needs to do anything at all, in bytes: less is not worth a DATA frame.
    public static let smallestRoom = 64

    /// Writes what is to be sent into `buffer`, until it is full or nothing is left.
    ///
    /// - Parameters:
    ///   - buffer: At least ``smallestRoom`` bytes. The more, the longer DATA frames are.
    ///   - now: Milliseconds of a clock that does not go back.
    ///   - handler: Told which bytes of bodies were taken, and which streams ended.
    /// - Returns: How many bytes were written. When ``wantsToSend`` is true then, there was no more room, or a frame was made
    ///   in place (``HTTP2Event/frame(_:)``): only one is in a call.
    public final func send<Handler: HTTP2EventHandler & ~Copyable>(
        into buffer: UnsafeMutableRawBufferPointer, now: UInt64, _ handler: inout Handler
    ) -> Int {
        let core = core
        core.pointee.now = now
        core.pointee.output = buffer
        core.pointee.outputCount = 0
        core.pointee.hasFramed = false
        while true {
            let before = core.pointee.outputCount
            core.pointee.write()
            tell(&handler)
            if core.pointee.hasFramed || core.pointee.outputCount == before { break }
        }
        if let violation = core.pointee.violation { core.pointee.terminate(.abuse(violation), violation.code) }
        core.pointee.output = UnsafeMutableRawBufferPointer(start: nil, count: 0)
        return core.pointee.outputCount
    }

    /// Tells what was recorded.
    @inline(__always)
    private final func tell<Handler: HTTP2EventHandler & ~Copyable>(_ handler: inout Handler) {
        let core = core
        precondition(!core.pointee.isTelling, "receive or send was called from an event handler")
        core.pointee.isTelling = true
        var position = 0
        while position < core.pointee.events.count {
            let event = core.pointee.events[position]
            position &+= 1
            switch event {
            case .data(let stream, _), .end(let stream), .trailers(let stream), .interim(let stream),
                .response(let stream, _):
                // The handler may have reset it a moment ago.
                if !stream.slot.pointee.isBroken { handler.handle(event) }
            case .closed(let stream, _):
                handler.handle(event)
                stream.slot.pointee.isOver = true
                if !stream.slot.pointee.isHeld { core.pointee.forget(stream.slot) }
            default: handler.handle(event)
            }
        }
        core.pointee.events.removeAll()
        core.pointee.isTelling = false
    }
}
