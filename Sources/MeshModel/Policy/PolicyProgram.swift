// SPDX-License-Identifier: Apache-2.0

/// What decides, in the order of evaluation.
public enum PolicyStage: String, Hashable, Sendable {
    case networkPolicy = "NetworkPolicy"
    case peerAuthentication = "PeerAuthentication"
    case authorizationDeny = "AuthorizationPolicy DENY"
    case authorizationAllow = "AuthorizationPolicy ALLOW"
}

/// The policies of one direction of one workload, resolved to sets of identities and ports.
///
/// The one evaluator: ``table(_:index:)`` asks it for all ports and identities at once, to fill the kernel's
/// maps, and ``decide(slot:port:transport:)`` for one, to explain. A connection passes if every layer lets it.
struct PolicyProgram: Sendable {
    struct Layer: Sendable {
        let stage: PolicyStage
        /// What one matching rule says; without a match the layer says the opposite.
        let matchMeans: PolicyVerdict
        /// Those that make the layer exist, for explanations.
        let policies: [LoweredPolicy]
        var rules: [Rule]
    }

    /// Immutable; shared by the programs of all workloads for which it means the same.
    final class Rule: Sendable {
        /// `nil` for what no object says: the node reaches its pods.
        let policy: LoweredPolicy?
        let index: Int?
        let peers: IdentitySet
        let ports: TransportPorts
        /// Matches only some requests of a connection.
        let needsProxy: Bool

        init(
            policy: LoweredPolicy?, index: Int?, peers: IdentitySet, ports: TransportPorts, needsProxy: Bool = false
        ) {
            self.policy = policy
            self.index = index
            self.peers = peers
            self.ports = ports
            self.needsProxy = needsProxy
        }
    }

    let direction: PolicyDirection
    private(set) var layers: [Layer] = []
    /// Whether connections between nodes go through tunnels, which is the proxy's affair whatever the policies say.
    let hasTunnels: Bool
    /// Peers that are reached through tunnels only. None for ingress: there a tunnel is known by its port.
    let tunnelled: IdentitySet

    /// Selects nothing in this direction, so that everything is allowed.
    var isEmpty: Bool { layers.isEmpty && !hasTunnels }

    /// - Parameter policies: Those that select the workload, in the order of their ids.
    init(
        _ direction: PolicyDirection, policies: [LoweredPolicy], subject: PolicySubject, index: IdentityIndex,
        hasTunnels: Bool = false, cache: inout RuleCache
    ) {
        self.direction = direction
        self.hasTunnels = hasTunnels
        // Authenticated are enrolled pods of this node: addresses of others are not.
        tunnelled =
            !hasTunnels || direction == .ingress
            ? IdentitySet() : subject.encrypts ? index.tunnelled.union(index.authenticated) : index.tunnelled
        addNetworkPolicies(policies, subject, index, &cache)
        guard direction == .ingress else { return }
        addPeerAuthentication(policies, subject, index)
        addAuthorization(policies, subject, index, &cache)
    }

    // MARK: Layers

    private mutating func addNetworkPolicies(
        _ policies: [LoweredPolicy], _ subject: PolicySubject, _ index: IdentityIndex, _ cache: inout RuleCache
    ) {
        var isolating: [LoweredPolicy] = []
        var resolved: [Rule] = []
        for policy in policies where policy.isolates(direction) {
            isolating.append(policy)
            resolved += rules(of: policy, subject, index, &cache)
        }
        guard !isolating.isEmpty else { return }
        if direction == .ingress {
            // The API: traffic from the pod's own node is always allowed in.
            resolved.append(
                Rule(policy: nil, index: nil, peers: IdentitySet(slot: IdentityIndex.hostSlot), ports: .all))
        }
        layers.append(Layer(stage: .networkPolicy, matchMeans: .allow, policies: isolating, rules: resolved))
    }

    private mutating func addPeerAuthentication(
        _ policies: [LoweredPolicy], _ subject: PolicySubject, _ index: IdentityIndex
    ) {
        let mode = EffectivePeerAuthentication(policies)
        guard !mode.strict.isEmpty else { return }
        let unproved = index.known.subtracting(index.authenticated)
        let unprovedPeers = unproved.subtracting(IdentitySet(slot: IdentityIndex.hostSlot))
        let probes = PortSet(ports: subject.probePorts)
        let rules = mode.strict.flatMap { policy, ports in
            [
                Rule(
                    policy: policy, index: nil, peers: unproved,
                    ports: TransportPorts(tcp: ports.subtracting(probes), udp: ports)),
                // The kubelet has no identity to prove, and must reach what the pod declares as its probes.
                Rule(
                    policy: policy, index: nil, peers: unprovedPeers,
                    ports: TransportPorts(tcp: ports.intersection(probes), udp: .none)),
            ]
        }
        layers.append(
            Layer(
                stage: .peerAuthentication, matchMeans: .deny, policies: mode.strict.map(\.policy),
                rules: rules.filter { !$0.ports.isEmpty }))
    }

    private mutating func addAuthorization(
        _ policies: [LoweredPolicy], _ subject: PolicySubject, _ index: IdentityIndex, _ cache: inout RuleCache
    ) {
        let policies = policies.filter(\.isAuthorization)
        for (stage, wanted, verdict) in [
            (PolicyStage.authorizationDeny, AuthorizationPolicy.Action.deny, PolicyVerdict.deny),
            (.authorizationAllow, .allow, .allow),
        ] {
            var selecting: [LoweredPolicy] = []
            var resolved: [Rule] = []
            for policy in policies {
                guard case .authorization(wanted, _) = policy.body else { continue }
                selecting.append(policy)
                resolved += rules(of: policy, subject, index, &cache)
            }
            if !selecting.isEmpty {
                layers.append(Layer(stage: stage, matchMeans: verdict, policies: selecting, rules: resolved))
            }
        }
    }

    private func rules(
        of policy: LoweredPolicy, _ subject: PolicySubject, _ index: IdentityIndex, _ cache: inout RuleCache
    ) -> [Rule] {
        cache.rules(of: policy, direction, index) { cache in
            var resolved: [Rule] = []
            for (rule, peers) in zip(policy.rules(direction) ?? [], cache.peers(of: policy, direction, index)) {
                resolve(rule, of: policy, peers, subject, index, into: &resolved)
            }
            return resolved
        }
    }

    private func resolve(
        _ rule: LoweredRule, of policy: LoweredPolicy, _ peers: IdentitySet, _ subject: PolicySubject,
        _ index: IdentityIndex, into resolved: inout [Rule]
    ) {
        guard rule.destinations.allSatisfy({ $0.matches(subject.addresses) }) else { return }
        var ports = rule.ports
        for name in rule.portNames {
            switch direction {
            case .ingress:
                // The name is one of the workload's own containers.
                ports[name.transport] = ports[name.transport].union(PortSet(ports: subject.namedPorts[name] ?? []))
            case .egress:
                // The name is one of the peer's containers, and may mean another port for each peer.
                for (port, named) in index.ports(named: name).sorted(by: { $0.key < $1.key }) {
                    var only = TransportPorts.none
                    only[name.transport] = PortSet([port...port])
                    let meant = peers.intersection(named)
                    resolved.append(Rule(policy: policy, index: rule.index, peers: meant, ports: only))
                }
            }
        }
        guard !ports.isEmpty else { return }
        resolved.append(
            Rule(policy: policy, index: rule.index, peers: peers, ports: ports, needsProxy: rule.needsProxy))
    }

    /// Whether the verdicts are the same as those of `old`, a program of the same policies, although the
    /// identities of `slots` have changed.
    ///
    /// They are if both programs treat those identities as they treat the world, and so need no entry for them.
    func isUnaffected(by slots: Set<Int>, since old: PolicyProgram) -> Bool {
        guard layers.count == old.layers.count, tunnelled.treatsAsWorld(slots), old.tunnelled.treatsAsWorld(slots)
        else {
            return false
        }
        for (layer, oldLayer) in zip(layers, old.layers) {
            guard layer.rules.count == oldLayer.rules.count else { return false }
            for (rule, oldRule) in zip(layer.rules, oldLayer.rules) {
                guard rule.ports == oldRule.ports, rule.needsProxy == oldRule.needsProxy,
                    rule.peers.treatsAsWorld(slots),
                    oldRule.peers.treatsAsWorld(slots)
                else { return false }
            }
        }
        return true
    }

    // MARK: One question

    /// The layer that denies, or the first that a proxy must be asked about, or the last one that allows, and the rule
    /// of it that matches.
    struct Decision {
        let verdict: PolicyVerdict
        /// `nil` if there is no layer.
        let layer: Layer?
        /// `nil` if no rule matches.
        let rule: Rule?
        /// Allowed, or open to everyone, and led to the proxy for the sake of a tunnel.
        var isTunnelled = false
    }

    func decide(slot: Int, port: UInt16, transport: TransportProtocol) -> Decision {
        let isTunnel = hasTunnels && transport == .tcp && port == tunnelPort
        if isTunnel, direction == .ingress || tunnelled.contains(slot) {
            return Decision(verdict: .needsProxy, layer: nil, rule: nil, isTunnelled: true)
        }
        var last = Decision(verdict: .allow, layer: nil, rule: nil)
        for layer in layers {
            let matching = layer.rules.lazy.filter { $0.peers.contains(slot) && $0.ports[transport].contains(port) }
            // What matches every request says more than what matches some.
            let rule = matching.first { !$0.needsProxy } ?? matching.first
            let isOpen = rule?.needsProxy == true
            let verdict = isOpen ? .needsProxy : layer.verdict(matches: rule != nil)
            let decision = Decision(verdict: verdict, layer: layer, rule: rule)
            if verdict == .deny { return decision }
            if last.verdict == .needsProxy { continue }
            if isOpen {
                last = decision
                continue
            }
            // A layer that merely found nothing to deny explains less than one that granted.
            if rule != nil || last.rule == nil { last = decision }
        }
        guard transport == .tcp, tunnelled.contains(slot) else { return last }
        return Decision(verdict: .needsProxy, layer: last.layer, rule: last.rule, isTunnelled: true)
    }
}

extension PolicyProgram.Layer {
    fileprivate func verdict(matches: Bool) -> PolicyVerdict {
        matches == (matchMeans == .allow) ? .allow : .deny
    }
}

extension IdentitySet {
    fileprivate func treatsAsWorld(_ slots: Set<Int>) -> Bool {
        let isWorldMember = contains(IdentityIndex.worldSlot)
        return slots.allSatisfy { contains($0) == isWorldMember }
    }
}
