// SPDX-License-Identifier: Apache-2.0

import LinuxIO

/// Tells the engine what happened on a client's connection. Lent for one call of the session.
struct DownstreamEvents: HTTP2EventHandler, ~Copyable {
    let engine: UnsafeMutablePointer<Engine>
    let downstream: DownstreamPointer

    mutating func handle(_ event: HTTP2Event) { engine.pointee.handle(event, of: downstream) }
}

/// Tells the engine what happened on a connection to a backend. Lent for one call of the session.
struct UpstreamEvents: HTTP2EventHandler, ~Copyable {
    let engine: UnsafeMutablePointer<Engine>
    let upstream: UpstreamPointer

    mutating func handle(_ event: HTTP2Event) { engine.pointee.handle(event, of: upstream) }
}

/// What both sides of HTTP/2 have in common: bytes from the socket into the session, and back.
///
/// A session is given bytes, and asked for them, by whoever drives its connection and by nobody else: what happens on
/// one session may call another's functions, but moves no bytes of it. Nor does it close a connection.
enum HTTP2Connection {
    enum State {
        /// Both go on; what can be done now is done.
        case open
        /// There may be more to read at once; others first.
        case yielded
        /// Nothing more will be read, and what is left to be sent is in the channel.
        case ending
        /// The peer is gone, or there is no memory.
        case broken
    }

    /// Reads of one call.
    private static let turns = 8

    static func drive<Handler: HTTP2EventHandler & ~Copyable>(
        _ session: HTTP2Session, _ channel: UnsafeMutablePointer<Channel>, _ engine: UnsafeMutablePointer<Engine>,
        _ handler: inout Handler
    ) -> State {
        var isOver = session.isFinished
        var turns = Self.turns
        reading: while !isOver, turns > 0 {
            turns -= 1
            if channel.pointee.input.isEmpty {
                switch channel.pointee.fill(&engine.pointee.buffers) {
                case .received: break
                case .nothing: break reading
                // A peer that sends no more cannot take part: its settings and windows stand still.
                case .ended, .broken, .full, .noMemory: return .broken
                }
            }
            let progress = session.receive(channel.pointee.input.bytes, now: engine.pointee.now, &handler)
            channel.pointee.input.start = channel.pointee.input.end
            isOver = progress == .ended
        }
        let mayHaveMore = turns == 0 && !isOver && channel.pointee.mayRead
        guard flush(session, channel, engine, &handler) else { return .broken }
        channel.pointee.relax(&engine.pointee.buffers)
        if isOver || session.isFinished { return .ending }
        return mayHaveMore ? .yielded : .open
    }

    /// Sends what the peer takes now. - Returns: Whether the connection is in order.
    private static func flush<Handler: HTTP2EventHandler & ~Copyable>(
        _ session: HTTP2Session, _ channel: UnsafeMutablePointer<Channel>, _ engine: UnsafeMutablePointer<Engine>,
        _ handler: inout Handler
    ) -> Bool {
        var wasFruitless = false
        while true {
            switch channel.pointee.flush() {
            case .done: break
            case .blocked: return true
            case .broken: return false
            }
            guard session.wantsToSend else { return true }
            guard channel.pointee.output.borrow(&engine.pointee.buffers) else { return false }
            let count = session.send(
                into: channel.pointee.output.space, now: engine.pointee.now, &handler)
            channel.pointee.output.end += count
            // A stream that ended without a byte may have made room for a request: nobody else drives the connection for that.
            if count == 0, wasFruitless { return true }
            wasFruitless = count == 0
        }
    }
}

extension Exchange {
    /// The client's stream. - Precondition: The connection is of HTTP/2.
    @inline(__always)
    static func client(_ downstream: DownstreamPointer, _ stream: HTTP2Stream) -> HTTP2Place? {
        downstream.pointee.session.map { HTTP2Place(session: .fromOpaque($0.toOpaque()), stream: stream) }
    }

    @inline(__always)
    static func backend(_ upstream: UpstreamPointer, _ stream: HTTP2Stream) -> HTTP2Place? {
        upstream.pointee.session.map { HTTP2Place(session: .fromOpaque($0.toOpaque()), stream: stream) }
    }
}
