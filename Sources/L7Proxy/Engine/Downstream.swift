// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel

typealias DownstreamPointer = UnsafeMutablePointer<Downstream>
typealias UpstreamPointer = UnsafeMutablePointer<Upstream>
typealias ExchangePointer = UnsafeMutablePointer<Exchange>
typealias PoolPointer = UnsafeMutablePointer<UpstreamPool>

/// What an epoll token and a timer name: a kind, and an element of that kind's slab.
struct Token: BitwiseCopyable {
    enum Kind: UInt8, BitwiseCopyable {
        case mailbox, listener, downstream, upstream, exchange, worker
    }

    let rawValue: UInt64

    @inline(__always)
    init(_ kind: Kind, _ handle: SlabHandle) {
        rawValue = UInt64(kind.rawValue) << 56 | UInt64(handle.generation) << 32 | UInt64(handle.index)
    }

    init(rawValue: UInt64) { self.rawValue = rawValue }

    @inline(__always) var kind: Kind? { Kind(rawValue: UInt8(truncatingIfNeeded: rawValue >> 56)) }

    @inline(__always) var handle: SlabHandle {
        SlabHandle(
            index: UInt32(truncatingIfNeeded: rawValue),
            generation: UInt32(truncatingIfNeeded: rawValue >> 32) & SlabHandle.generationMask)
    }
}

/// A client's connection, and the exchanges that it has open.
///
/// What it costs while idle: this, about 600 bytes, and its timer. Blocks and tables are borrowed by what is going on.
struct Downstream: BitwiseCopyable {
    enum Phase: UInt8, BitwiseCopyable {
        case open
        /// Nothing is read: the policy under which it came is not here yet.
        case held
        /// What is spoken on it is not known yet (`Engine+Detection`).
        case detecting
        /// The last response is written: send it, shut down, read and discard until the client closes.
        case lingering
        /// The same, after the end was sent.
        case discarding
        /// Closed; given back at the end of the loop's turn.
        case closed
    }

    /// The slot of the slab; the generation is set anew for each connection.
    var handle = SlabHandle(index: 0, generation: 0)
    /// Made when the slot is first used; ``UInt32/max``: not yet.
    var timer: TimerWheel.ID = .max
    var channel = Channel()
    var phase: Phase = .closed
    var http1 = HTTP1DownstreamCodec()
    /// On the port that it has connected to, as it was when it came.
    var spoken = PortProtocol.http1
    /// Nobody has said what is spoken, and the client has been silent for so long that its backend may be who begins.
    var isSilent = false
    /// A request has begun on it.
    var hasRequested = false
    /// The connection speaks HTTP/2. Retained until the connection is given back.
    var session: Unmanaged<HTTP2ServerSession>?
    /// The newest of the open exchanges; HTTP/1 has one at a time.
    var exchange: ExchangePointer?
    var origin = ConnectionOrigin(
        destination: IPAddress(high: 0, low: 0), destinationPort: 0, client: IPAddress(high: 0, low: 0), clientPort: 0)
    /// Where it is counted with the others of its source, from its begin until it is given back.
    var share: UnsafeMutablePointer<SourceShare>?
    var listener: UInt64 = 0
    /// Since when there is no exchange, or since when the open head is awaited. Milliseconds.
    var quietSince: UInt64 = 0
    var discarded: UInt64 = 0
    /// By which snapshot ``service`` and ``router`` were looked up; 0: by none.
    var boundSerial: UInt64 = 0
    var service: UnsafePointer<ServicePlan>?
    var router: UnsafePointer<RouterPlan>?
    /// Who decides about requests that go where the client has connected to, and not to a Service.
    var authorizer: UnsafePointer<AuthorizerPlan>?
    var source: UnsafePointer<RequestSource>?
    /// ``ProxySnapshot/Binding/showsClient``.
    var showsClient = false
    var missing = ProxySnapshot.MissingFamily.none
    /// Stands for the client of a copy for a mirror: it has no socket, and its block begins with the request's head.
    var isMirror = false
    var clientText = AddressText()
    /// Waits in the engine's queue for another turn.
    var isQueued = false
}

/// The text of an address, without an allocation: at most 39 characters (RFC 5952).
struct AddressText: BitwiseCopyable {
    private var storage: (UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0)
    private var count = 0

    init() {}

    init(_ address: IPAddress) {
        let text = address.description.utf8
        count = min(40, text.count)
        withUnsafeMutableBytes(of: &storage) { $0.copyBytes(from: text.prefix(40)) }
    }

    @inline(__always)
    mutating func withBytes(_ body: (UnsafeRawBufferPointer) -> Void) {
        withUnsafeBytes(of: &storage) { body(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
    }
}
