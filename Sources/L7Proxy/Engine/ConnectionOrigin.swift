// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// Where an accepted connection came from and where it meant to go, as the kernel knows it: nothing of this is the
/// client's word.
public struct ConnectionOrigin: Equatable, Sendable, BitwiseCopyable {
    public enum Direction: UInt8, Sendable, BitwiseCopyable {
        /// From a pod of this node to wherever it wants to go.
        case outbound
        /// From elsewhere to a pod of this node.
        case inbound
    }

    /// What the client has connected to: a Service's address, or a pod's.
    public var destination: IPAddress
    public var destinationPort: UInt16
    public var client: IPAddress
    public var clientPort: UInt16
    public var direction: Direction
    /// The number of the source's identity; 0: not known.
    public var sourceIdentity: UInt32
    /// Of the network namespace that the client is in; 0: not of this node.
    public var sourceNetwork: UInt64
    /// Whether the client is a pod of another node, which has proved who it is by its certificate: it came by a tunnel.
    public var isProved: Bool
    /// Of the network namespace of the pod that the connection was accepted in: outbound the client's, inbound the
    /// destination's. Sockets to backends are made there; 0: in the proxy's own.
    public var network: UInt64
    /// Of the policy by which the kernel let the connection in.
    public var policyGeneration: UInt32

    /// The identity for which a connection to the backend comes in from outside; `nil`: it is the pod's own.
    @inline(__always)
    var outsider: UInt32? { direction == .inbound ? sourceIdentity : nil }

    public init(
        destination: IPAddress, destinationPort: UInt16, client: IPAddress, clientPort: UInt16,
        direction: Direction = .outbound, sourceIdentity: UInt32 = 0, sourceNetwork: UInt64 = 0,
        isProved: Bool = false, network: UInt64 = 0, policyGeneration: UInt32 = 0
    ) {
        self.destination = destination
        self.destinationPort = destinationPort
        self.client = client
        self.clientPort = clientPort
        self.direction = direction
        self.sourceIdentity = sourceIdentity
        self.sourceNetwork = sourceNetwork
        self.isProved = isProved
        self.network = network
        self.policyGeneration = policyGeneration
    }
}

/// An accepted socket, of which the origin is asked. The descriptor is lent for the call.
public struct AcceptedSocket: Sendable {
    public let descriptor: CInt
    /// The tag with which its listener was added.
    public let listener: UInt64
    /// As accept4(2) gave it.
    public let client: IPAddress
    public let clientPort: UInt16
}

/// Says where an accepted connection comes from; `nil` if that is not known: then it is reset, unanswered.
///
/// Called on the worker's thread once per connection. It must not block.
public typealias OriginSource = @Sendable (AcceptedSocket) -> ConnectionOrigin?

/// Takes an accepted connection that is no affair of a worker of requests. - Returns: Whether it has: then the
/// descriptor is its own.
///
/// Called on the worker's thread once per connection. It must not block.
public typealias ConnectionDiversion = @Sendable (AcceptedSocket, ConnectionOrigin) -> Bool
