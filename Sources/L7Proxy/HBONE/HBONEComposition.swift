// SPDX-License-Identifier: Apache-2.0

public import Identity
public import MeshModel

/// Where a connection to the port of HBONE came from, and to which pod: nothing of it is the peer's word.
public struct HBONEOrigin: Sendable {
    /// The pod's address that was connected to.
    public var local: IPAddress
    /// Of that pod's network namespace.
    public var network: UInt64
    /// The pod's identity, whose certificate is shown.
    public var identity: SPIFFEID
    public var client: IPAddress
    public var clientPort: UInt16

    public init(
        local: IPAddress, network: UInt64, identity: SPIFFEID, client: IPAddress, clientPort: UInt16
    ) {
        self.local = local
        self.network = network
        self.identity = identity
        self.client = client
        self.clientPort = clientPort
    }
}

/// A tunnel that a peer wants, with everything that is proved about it.
public struct HBONEInbound: Sendable {
    /// By its certificate.
    public let peer: SPIFFEID
    public let origin: HBONEOrigin
    /// Of the pod.
    public let port: UInt16

    public init(peer: SPIFFEID, origin: HBONEOrigin, port: UInt16) {
        self.peer = peer
        self.origin = origin
        self.port = port
    }
}

/// What policy says about a tunnel.
public enum HBONEVerdict: Sendable {
    /// - Parameter identity: The number of the peer's identity, by which the kernel judges the socket to the application.
    case allow(identity: UInt32)
    /// The same, but what it carries are requests that policies decide about, each for itself: its bytes are to go to
    /// whoever does.
    case requests(identity: UInt32)
    /// - Parameter reason: For the log: `denied by shop/web`. The peer learns the status only.
    case deny(reason: String)
}

/// A tunnel that a pod of this node needs, for a connection of its own.
public struct HBONEOutbound: Sendable {
    /// The pod's identity, whose certificate is shown.
    public var identity: SPIFFEID
    public var source: IPAddress
    public var sourcePort: UInt16
    /// Of the pod's network namespace, in which the connection to the peer is made.
    public var network: UInt64
    /// Who the peer may be: the chosen workload's identity, and the Service's alternative names.
    public var acceptable: [SPIFFEID]
    /// The endpoint: the pod, and its port.
    public var destination: IPAddress
    public var port: UInt16
    /// Where the peer's node takes tunnels for it, if not at the destination's port 15008.
    public var gateway: IPAddress?
    public var gatewayPort: UInt16 = HBONEConfiguration.port
    /// The Service's host name; empty if the source did not go to a Service.
    public var service = ""
    /// ``HBONEBaggage/text(_:)`` of the source.
    public var baggage: [UInt8] = []

    public init(
        identity: SPIFFEID, source: IPAddress, sourcePort: UInt16, network: UInt64, acceptable: [SPIFFEID],
        destination: IPAddress, port: UInt16
    ) {
        self.identity = identity
        self.source = source
        self.sourcePort = sourcePort
        self.network = network
        self.acceptable = acceptable
        self.destination = destination
        self.port = port
    }
}

/// What a worker of tunnels is given by whoever puts the process together. All are called on the worker's thread, once
/// for each connection or tunnel, and must not block.
public struct HBONEComposition: Sendable {
    /// Whose pod an accepted connection came to; `nil`: nobody's, it is reset.
    public var origin: @Sendable (AcceptedSocket) -> HBONEOrigin?
    /// The tunnel for a connection that was accepted from a pod; `nil`: there is none, it is reset.
    public var outbound: @Sendable (AcceptedSocket) -> HBONEOutbound?
    /// Whether policy allows a tunnel. Asked again for open ones after ``HBONEWorker/policyChanged()``.
    public var authorize: @Sendable (HBONEInbound) -> HBONEVerdict
    /// Why a tunnel of this node's pod, which is open, is no longer allowed; `nil`: it is. Asked after
    /// ``HBONEWorker/policyChanged()``.
    public var denial: @Sendable (HBONEOutbound) -> String?
    /// Whether the pod that a peer's connection came to still has that address. Asked after
    /// ``HBONEWorker/policyChanged()``.
    public var serves: @Sendable (HBONEOrigin) -> Bool
    /// Why no new tunnel of a peer's is taken now, whatever policy says; `nil`: they are. Those that are open go on.
    public var closed: @Sendable () -> String?
    /// The pod's port behind a Service's host name (lent) and port.
    public var resolve: @Sendable (UnsafeRawBufferPointer, UInt16, HBONEOrigin) -> Result<UInt16, HBONERefusal>
    /// Sockets inside pods: to the application, and to peers.
    public var legs: LegSource

    /// Without captured connections, and without Services as targets.
    public init(
        origin: @escaping @Sendable (AcceptedSocket) -> HBONEOrigin?,
        authorize: @escaping @Sendable (HBONEInbound) -> HBONEVerdict, legs: @escaping LegSource
    ) {
        self.origin = origin
        self.authorize = authorize
        self.legs = legs
        outbound = { _ in nil }
        denial = { _ in nil }
        serves = { _ in true }
        closed = { nil }
        resolve = { _, _, _ in .failure(.unknownService) }
    }
}
