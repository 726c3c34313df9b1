// SPDX-License-Identifier: Apache-2.0

import Identity
import LinuxIO
import MeshModel

typealias HBONEConnectionPointer = UnsafeMutablePointer<HBONEConnection>
typealias HBONETunnelPointer = UnsafeMutablePointer<HBONETunnel>
typealias HBONEPoolPointer = UnsafeMutablePointer<HBONEPool>

/// A connection between two nodes, TLS and HTTP/2, which carries tunnels.
struct HBONEConnection: ~Copyable {
    enum Phase: UInt8, BitwiseCopyable {
        /// A socket was asked for.
        case requested
        case connecting
        case handshaking
        case open
        /// What is left is sent, then the peer's end is awaited.
        case ending
        /// Closed; given back at the end of the loop's turn.
        case closed

        /// The handshake is not done.
        var isBeforeOpen: Bool { rawValue < Self.open.rawValue }
    }

    /// The slot of the slab; the generation is set anew for each connection.
    var handle = SlabHandle(index: 0, generation: 0)
    /// Made when the slot is first used; ``UInt32/max``: not yet.
    var timer: TimerWheel.ID = .max
    var phase = Phase.closed
    var secure = SecureChannel()
    /// A server's or a client's by ``isServer``. Retained until the connection is given back.
    var session: Unmanaged<HTTP2Session>?
    var isServer = false
    /// Of its source; `nil` once it is closed.
    var share: UnsafeMutablePointer<SourceShare>?
    /// Of a server's.
    var origin: HBONEOrigin?
    /// Our own, which was shown.
    var identity: SPIFFEID?
    var peer: SPIFFEID?
    /// Of a client's.
    var pool: HBONEPoolPointer?
    /// The newest of its tunnels.
    var tunnels: HBONETunnelPointer?
    /// The number of the ping that was not answered yet, and since when; 0: there is none.
    var pingSentAt: UInt64 = 0
    var idleSince: UInt64 = 0
    /// Neighbours among those that shake hands, or in the pool.
    var next: HBONEConnectionPointer?
    var previous: HBONEConnectionPointer?
    /// Waits in the engine's queue for another turn. Beyond its end, as the queue may still have it.
    var isQueued = false
    var isShakeQueued = false
    /// Of the handshake: it has the session until it is made.
    var step: HandshakeStep?
    /// The bundles have changed since the handshake began: the peer is judged again when it is done.
    var isOutdated = false

    var isIdle: Bool { tunnels == nil }

    /// Takes the slot for another connection.
    mutating func begin(_ handle: SlabHandle, isServer: Bool, now: UInt64) {
        self.handle = handle
        self.isServer = isServer
        share = nil
        session = nil
        origin = nil
        identity = nil
        peer = nil
        pool = nil
        tunnels = nil
        pingSentAt = 0
        idleSince = now
        next = nil
        previous = nil
        isOutdated = false
        step = nil
    }

    var server: Unmanaged<HTTP2ServerSession>? {
        isServer ? session.map { .fromOpaque($0.toOpaque()) } : nil
    }

    var client: Unmanaged<HTTP2ClientSession>? {
        isServer ? nil : session.map { .fromOpaque($0.toOpaque()) }
    }
}

/// One connection of an application's, carried by a stream.
struct HBONETunnel: ~Copyable {
    enum Phase: UInt8, BitwiseCopyable {
        /// For a connection to the peer; client only.
        case waiting
        /// The peer was asked for it; client only.
        case asked
        /// A socket to the application was asked for; server only.
        case requested
        /// To the application; server only.
        case connecting
        case flowing
        /// Ended; given back at the end of the loop's turn.
        case over
    }

    struct Marks: OptionSet, BitwiseCopyable {
        let rawValue: UInt8

        /// The peer sends no more.
        static let peerEnded = Marks(rawValue: 1 << 0)
        /// The application was told so.
        static let outputEnded = Marks(rawValue: 1 << 1)
        /// The application sends no more, and the peer is told so.
        static let inputEnded = Marks(rawValue: 1 << 2)
        /// The stream is over in order; what came by it still goes to the application.
        static let streamOver = Marks(rawValue: 1 << 3)
        /// The stream was opened again, after a server had not looked at it.
        static let retried = Marks(rawValue: 1 << 4)
        /// Both ends could send.
        static let opened = Marks(rawValue: 1 << 5)
        /// What it carries are requests that policies decide about.
        static let requests = Marks(rawValue: 1 << 6)
    }

    var handle = SlabHandle(index: 0, generation: 0)
    var timer: TimerWheel.ID = .max
    var phase = Phase.over
    var marks: Marks = []
    var isServer = false
    var connection: HBONEConnectionPointer?
    var stream: HTTP2Stream?
    /// Of its source; `nil` once it is over.
    var share: UnsafeMutablePointer<SourceShare>?
    /// What the sink called it when it was opened.
    var flow: WorkerMetrics.FlowNumber?
    /// The application's socket. Its input is what is on offer to the session.
    var leg = Channel()
    /// What has come by the stream and the application has not taken.
    var toLeg = BodyQueue()
    /// Of a client's.
    var outbound: HBONEOutbound?
    var pool: HBONEPoolPointer?
    /// Of a server's.
    var origin: HBONEOrigin?
    var port: UInt16 = 0
    var service: String?
    var peer: SPIFFEID?
    var startedAt: UInt64 = 0
    /// Neighbours on the connection, or among those that wait in the pool.
    var next: HBONETunnelPointer?
    var previous: HBONETunnelPointer?

    mutating func begin(_ handle: SlabHandle, isServer: Bool, now: UInt64) {
        self.handle = handle
        self.isServer = isServer
        marks = []
        connection = nil
        stream = nil
        share = nil
        flow = nil
        leg = Channel()
        toLeg = BodyQueue()
        outbound = nil
        pool = nil
        origin = nil
        port = 0
        service = nil
        peer = nil
        startedAt = now
        next = nil
        previous = nil
    }
}
