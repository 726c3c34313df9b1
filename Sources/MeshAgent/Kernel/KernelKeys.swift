// SPDX-License-Identifier: Apache-2.0
import MeshModel

/// Cookie of a network namespace: names a pod of this node, never used twice while the machine runs.
typealias NetnsCookie = UInt64

/// Index of a protocol in policy tables: `struct mesh_policy_key.protocol`.
enum PolicyProtocol: UInt8, Hashable, Sendable, CaseIterable {
    case tcp = 0
    case udp = 1
}

/// `struct mesh_policy_key` without the set: one identity whose verdict differs from its port class's default.
struct PolicyException: Hashable, Sendable {
    var identity: IdentityNumber
    var portClass: UInt16
    var direction: PolicyDirection
    var transport: PolicyProtocol
}

/// `struct mesh_member_key`: a ready endpoint of a service with affinity.
struct MemberKey: Hashable, Sendable {
    var service: UInt32
    var address: IPAddress
    var port: UInt16
}

/// `struct mesh_skip_key`: a port that a pod has taken out of the mesh, or one that the node's probes ask.
struct SkipPortKey: Hashable, Sendable {
    var netns: NetnsCookie
    var port: UInt16
    var direction: PolicyDirection
}

/// `struct mesh_backend`: one column of an alias table.
struct BackendColumn: Hashable, Sendable {
    var address: IPAddress
    var port: UInt16
    /// Of 2^32; `UInt32.max`: always.
    var threshold: UInt32
    /// Index in the same table.
    var alias: UInt32
}

/// `struct mesh_service`.
struct ServiceRow: Hashable, Sendable {
    /// Number of the service, for affinity and events.
    var service: UInt32
    var backendSet: UInt32
    /// Columns of the set; 0: no ready endpoint.
    var slots: UInt32
    /// 0: none.
    var affinitySeconds: UInt32
    /// `enum mesh_service_flags`.
    var flags: UInt32 = 0
}

/// `struct mesh_route_key`: a service that clients of a route class reach through the proxy.
struct RouteKey: Hashable, Sendable {
    var service: UInt32
    var routeClass: UInt32
}
