// SPDX-License-Identifier: Apache-2.0

/// What a workload demands of its clients, port by port, and the policies that say so.
///
/// Workload over namespace over mesh, the oldest object of each; a port's own mode over the workload's;
/// UNSET defers to the next.
struct EffectivePeerAuthentication: Sendable {
    private typealias Candidate = (policy: LoweredPolicy, value: LoweredPeerAuthentication)

    /// The ports on which it takes proved peers only.
    let strict: [(policy: LoweredPolicy, ports: PortSet)]
    /// Of each level the one that counts, the workload's first. Others of that level have no effect.
    let levels: [LoweredPolicy]
    /// The modes of ports that have one, and the mode of all others; `nil`: none is said.
    private let portModes: [UInt16: PeerAuthentication.Mode]
    private let base: (policy: LoweredPolicy, mode: PeerAuthentication.Mode)?

    /// - Parameter policies: Those that select the workload; other kinds are passed over.
    init(_ policies: [LoweredPolicy]) {
        var workload: Candidate?
        var namespace: Candidate?
        var mesh: Candidate?
        for policy in policies where policy.dependsOnProbes {
            guard case .peerAuthentication(let value) = policy.body else { continue }
            let candidate = (policy, value)
            if value.hasSelector {
                workload = Self.older(workload, candidate)
            } else if policy.scope == .mesh {
                mesh = Self.older(mesh, candidate)
            } else {
                namespace = Self.older(namespace, candidate)
            }
        }
        let levels = [workload, namespace, mesh].compactMap { $0 }
        self.levels = levels.map(\.policy)
        portModes = workload?.value.portModes.filter { $0.value != .unset } ?? [:]
        base = levels.first { $0.value.mode != .unset }.map { ($0.policy, $0.value.mode) }
        var strict: [(policy: LoweredPolicy, ports: PortSet)] = []
        if let base, base.mode == .strict {
            strict.append((base.policy, PortSet.all.subtracting(PortSet(ports: portModes.keys))))
        }
        let ports = PortSet(ports: portModes.filter { $0.value == .strict }.keys)
        if let workload, !ports.isEmpty { strict.append((workload.policy, ports)) }
        self.strict = strict
    }

    /// What holds at a port.
    func demand(at port: UInt16) -> PeerAuthenticationDemand {
        // Only the workload's own policy has modes of ports, and it is the first.
        if let mode = portModes[port], let policy = levels.first {
            return PeerAuthenticationDemand(mode: mode, policy: policy.reference, isOfPort: true)
        }
        return PeerAuthenticationDemand(
            mode: base?.mode ?? .permissive, policy: base?.policy.reference, isOfPort: false)
    }

    private static func older(_ left: Candidate?, _ right: Candidate) -> Candidate {
        guard let left else { return right }
        // Objects without a time are newest, and then the first by name counts, so that the answer never varies.
        switch (left.value.creationTimestamp, right.value.creationTimestamp) {
        case (let a?, let b?) where a != b: return a < b ? left : right
        case (.some, nil): return left
        case (nil, .some): return right
        default: return left.policy.reference < right.policy.reference ? left : right
        }
    }
}

/// What a pod demands of clients at one of its ports, and who says so.
public struct PeerAuthenticationDemand: Hashable, Sendable, CustomStringConvertible {
    /// Never UNSET.
    public let mode: PeerAuthentication.Mode
    /// `nil`: no PeerAuthentication says anything.
    public let policy: ObjectReference?
    /// It is the port's own mode.
    public let isOfPort: Bool

    public var description: String {
        guard let policy else { return "\(mode.rawValue), as no PeerAuthentication says otherwise" }
        return "\(mode.rawValue) by \(policy)" + (isOfPort ? ", its portLevelMtls" : "")
    }
}
