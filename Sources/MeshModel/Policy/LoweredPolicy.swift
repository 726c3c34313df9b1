// SPDX-License-Identifier: Apache-2.0

/// A policy object of any kind, reduced to what the evaluator combines: rules of peers and ports.
///
/// Immutable, and shared by all workloads that it selects.
final class LoweredPolicy: Sendable {
    enum Scope: Hashable, Sendable {
        case namespace(String)
        case mesh
    }

    enum Body: Sendable {
        /// `nil`: does not isolate in that direction.
        case network(ingress: [LoweredRule]?, egress: [LoweredRule]?)
        case authorization(AuthorizationPolicy.Action, [LoweredRule])
        case peerAuthentication(LoweredPeerAuthentication)
    }

    /// Different for every version of every policy, and ascending in time.
    let id: Int
    let object: MeshObject
    let reference: ObjectReference
    let scope: Scope
    /// Any of these must match a workload.
    let selectors: [LabelSelector]
    let isDryRun: Bool
    let body: Body

    /// A NetworkPolicy that says something about the direction.
    private let isolatesIngress: Bool
    private let isolatesEgress: Bool
    let isAuthorization: Bool

    /// What identities must tell apart for this policy's sake.
    let demand: ProjectionDemand
    /// Parts of the workload, besides its labels, on which the policy's meaning depends.
    let dependsOnNamedPorts: Bool
    let dependsOnAddresses: Bool
    let dependsOnProbes: Bool

    /// Whether the rules mean another thing for each workload.
    var dependsOnSubject: Bool { dependsOnNamedPorts || dependsOnAddresses }

    init(
        id: Int, object: MeshObject, scope: Scope, selectors: [LabelSelector], isDryRun: Bool, body: Body
    ) {
        self.id = id
        self.object = object
        self.reference = object.reference
        self.scope = scope
        self.selectors = selectors
        self.isDryRun = isDryRun
        self.body = body
        var demand = ProjectionDemand()
        var dependsOnNamedPorts = false
        var dependsOnAddresses = false
        let visit = { (rules: [LoweredRule], direction: PolicyDirection) in
            for rule in rules {
                demand.labelKeys.formUnion(rule.peers.labelKeys)
                demand.cidrs.formUnion(rule.peers.cidrs)
                if direction == .egress { demand.portNames.formUnion(rule.portNames) }
                if direction == .ingress, !rule.portNames.isEmpty { dependsOnNamedPorts = true }
                if !rule.destinations.isEmpty { dependsOnAddresses = true }
            }
        }
        switch body {
        case .network(let ingress, let egress):
            visit(ingress ?? [], .ingress)
            visit(egress ?? [], .egress)
        case .authorization(_, let rules):
            visit(rules, .ingress)
        case .peerAuthentication:
            break
        }
        if case .network(let ingress, let egress) = body {
            (isolatesIngress, isolatesEgress) = (ingress != nil, egress != nil)
        } else {
            (isolatesIngress, isolatesEgress) = (false, false)
        }
        if case .authorization = body { isAuthorization = true } else { isAuthorization = false }
        if case .peerAuthentication = body { dependsOnProbes = true } else { dependsOnProbes = false }
        self.demand = demand
        self.dependsOnNamedPorts = dependsOnNamedPorts
        self.dependsOnAddresses = dependsOnAddresses
    }

    func isolates(_ direction: PolicyDirection) -> Bool {
        direction == .ingress ? isolatesIngress : isolatesEgress
    }

    /// Those that the policy has in a direction; `nil` if it says nothing about it.
    func rules(_ direction: PolicyDirection) -> [LoweredRule]? {
        switch body {
        case .network(let ingress, let egress): direction == .ingress ? ingress : egress
        case .authorization(_, let rules): direction == .ingress ? rules : nil
        case .peerAuthentication: nil
        }
    }

    func selects(namespace: String, labels: Labels) -> Bool {
        switch scope {
        case .namespace(let own) where own != namespace: false
        case .namespace, .mesh: selectors.contains { $0.matches(labels) }
        }
    }
}

/// One rule: peers AND ports AND conditions on the destination.
struct LoweredRule: Sendable {
    /// Index in the object's list.
    let index: Int
    let peers: PeerMatch
    var ports: TransportPorts
    /// Ports given by name, besides `ports`.
    var portNames: [IdentityIndex.PortName] = []
    /// All must hold for the destination's addresses.
    var destinations: [AddressCondition] = []
    /// Holds for some requests of such connections, which only a proxy can tell.
    var needsProxy = false

    /// `destination.ip`.
    struct AddressCondition: Sendable {
        let cidrs: [CIDR]?
        let notCIDRs: [CIDR]

        /// A workload is inside a prefix if one of its addresses is.
        func matches(_ addresses: [IPAddress]) -> Bool {
            let inside = { (cidrs: [CIDR]) in cidrs.contains { cidr in addresses.contains { cidr.contains($0) } } }
            return cidrs.map(inside) ?? true && !inside(notCIDRs)
        }
    }
}

struct LoweredPeerAuthentication: Sendable {
    let mode: PeerAuthentication.Mode
    let portModes: [UInt16: PeerAuthentication.Mode]
    let hasSelector: Bool
    let creationTimestamp: String?
}

/// Attributes of peers that policies in force can distinguish.
struct ProjectionDemand: Hashable, Sendable {
    var labelKeys: Set<String> = []
    var cidrs: Set<CIDR> = []
    var portNames: Set<IdentityIndex.PortName> = []
}
