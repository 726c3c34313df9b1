// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// One endpoint of a cluster, as the configuration has it.
public struct ClusterEndpoint: Hashable, Sendable {
    /// What makes it the same endpoint in two versions of the configuration.
    public struct Identity: Hashable, Sendable {
        public let address: IPAddress
        public let port: UInt16

        public init(address: IPAddress, port: UInt16) {
            self.address = address
            self.port = port
        }
    }

    public enum State: UInt8, Hashable, Sendable, BitwiseCopyable {
        case ready
        /// Serves what it has; gets nothing new. It is on its way out, so that its absence is no ill health.
        case draining
        /// Gets nothing.
        case unready
    }

    public var identity: Identity
    /// Its share in proportion to the others' weights. 0: no share.
    public var weight: UInt32
    /// `nil`: not known; then it is in nobody's zone, and on nobody's node.
    public var zone: String?
    public var node: String?
    public var state: State

    public init(
        _ address: IPAddress, port: UInt16, weight: UInt32 = 1, zone: String? = nil, node: String? = nil,
        state: State = .ready
    ) {
        identity = Identity(address: address, port: port)
        self.weight = weight
        self.zone = zone
        self.node = node
        self.state = state
    }
}

extension ClusterEndpoint.Identity: Comparable {
    public static func < (left: Self, right: Self) -> Bool {
        left.address == right.address ? left.port < right.port : left.address < right.address
    }
}

/// An endpoint of one ``Cluster`` for as long as something there is in use: a request or a connection.
public struct EndpointHandle: Hashable, Sendable, BitwiseCopyable {
    let slot: UInt32
    /// Tells two endpoints apart that have had one slot after the other.
    let generation: UInt32
}

/// How near an endpoint is. The nearer is preferred as far as it is healthy: ``LocalityShares``.
enum LocalityTier: UInt8, BitwiseCopyable, CaseIterable {
    case node
    case zone
    case anywhere
}

/// Where the clients of a cluster are, and what of it counts.
public struct ClusterOrigin: Hashable, Sendable {
    public enum Preference: UInt8, Hashable, Sendable {
        /// Every endpoint is as good as any other.
        case none
        /// First those of the own zone.
        case zone
        /// First those on the own node, then those of the own zone.
        case node
    }

    public var preference: Preference
    public var zone: String?
    public var node: String?

    public init(_ preference: Preference = .none, zone: String? = nil, node: String? = nil) {
        self.preference = preference
        self.zone = zone
        self.node = node
    }

    func tier(of endpoint: ClusterEndpoint) -> LocalityTier {
        if preference == .node, let node, endpoint.node == node { return .node }
        if preference != .none, let zone, endpoint.zone == zone { return .zone }
        return .anywhere
    }
}
