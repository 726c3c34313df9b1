// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// Names a socket that a worker has asked for.
public struct LegTicket: Equatable, Sendable, BitwiseCopyable {
    let handle: SlabHandle
}

/// A socket to a backend that is wanted.
public struct LegRequest: Sendable {
    public let ticket: LegTicket
    /// ``ConnectionOrigin/network`` of the clients that it is for: the network namespace it must be of.
    public let network: UInt64
    /// The number of the identity for which it comes in to that namespace from outside; `nil`: it is of the pod there.
    public let outsider: UInt32?
    public let address: IPAddress
    public let port: UInt16
    /// Whom the backend is to see as its peer; `nil`: whoever makes the connection.
    public var client: ProxyEndpoint?
    /// Whether it goes to a peer's port of HBONE, for tunnels.
    public var isToPeer = false
    /// Whether it is for requests of a tunnel that policies decide about: an end of a pair, not a socket to the pod.
    public var isForRequests = false
}

/// What has become of the wish for a socket.
public enum LegAnswer: Sendable {
    /// A connected or connecting stream socket, which the worker owns from now on.
    case descriptor(CInt)
    /// ``ProxyWorker/deliver(_:to:)`` will follow.
    case pending
    /// There will be none.
    case refused
}

/// Makes sockets to backends. In production another process does, because a socket belongs to the namespace and the
/// cgroup of whoever creates it.
///
/// Called on the worker's thread once per connection to a backend, not per request. It must not block.
public typealias LegSource = @Sendable (LegRequest) -> LegAnswer
