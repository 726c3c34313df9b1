// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// A slow reading of the policy APIs: loops over the objects as they were written.
///
/// It shares no code with the compiler, not even the matching of labels, so that a mistake would have to be
/// made twice. It knows what the project has decided where the APIs leave room:
/// - the mesh enforces egress for local enrolled sources and ingress for local enrolled destinations;
/// - a pod is inside an IP block if its address, of the flow's family, is in the prefix and not in an exception;
/// - only enrolled pods of this node have a proved identity;
/// - fields of HTTP make an ALLOW rule void, and are ignored in a DENY rule.
public struct PolicyOracle: Sendable {
    public var pods: [Pod] = []
    public var namespaces: [String: Labels] = [:]
    public var networkPolicies: [NetworkPolicy] = []
    public var authorizationPolicies: [AuthorizationPolicy] = []
    public var peerAuthentications: [PeerAuthentication] = []
    public var enrolled: Set<NamespacedName> = []
    public var nodeAddresses: [IPAddress] = []
    public var trustDomain = "cluster.local"
    public var rootNamespace = "sockmesh-system"

    public init(_ objects: some Sequence<MeshObject>, enrolled: Set<NamespacedName>, nodeAddresses: [IPAddress]) {
        self.enrolled = enrolled
        self.nodeAddresses = nodeAddresses
        for object in objects {
            switch object {
            case .pod(let pod): pods.append(pod)
            case .namespace(let namespace): namespaces[namespace.metadata.name] = namespace.metadata.labels
            case .networkPolicy(let policy): networkPolicies.append(policy)
            case .authorizationPolicy(let policy): authorizationPolicies.append(policy)
            case .peerAuthentication(let policy): peerAuthentications.append(policy)
            case .service, .endpointSlice, .node, .route, .meshPolicy: break
            }
        }
    }

    /// One end of a connection.
    struct Peer {
        var pod: Pod?
        var isHost = false
        var addresses: [IPAddress]
        var isEnrolled = false
    }

    func peer(_ address: IPAddress) -> Peer {
        if nodeAddresses.contains(address) { return Peer(isHost: true, addresses: nodeAddresses) }
        for pod in pods where pod.podIPs.contains(address) && !pod.hostNetwork {
            if pod.phase == .succeeded || pod.phase == .failed { continue }
            let own = pod.podIPs.filter { $0.isIPv4 == address.isIPv4 }
            return Peer(pod: pod, addresses: own, isEnrolled: enrolled.contains(pod.namespacedName))
        }
        return Peer(addresses: [address])
    }

    /// Whether a connection between two addresses is allowed.
    ///
    /// - Parameter withDryRun: As if dry-run policies were enforced.
    public func allows(
        from source: IPAddress, to destination: IPAddress, port: UInt16, transport: TransportProtocol,
        withDryRun: Bool = false
    ) -> Bool {
        let client = peer(source)
        let server = peer(destination)
        if let pod = client.pod, pod.namespacedName == server.pod?.namespacedName { return true }
        return allowsEgress(client, server, port, transport, withDryRun)
            && allowsIngress(client, server, port, transport, withDryRun)
    }

    public func allowsEgress(
        from source: IPAddress, to destination: IPAddress, port: UInt16, transport: TransportProtocol
    ) -> Bool {
        allowsEgress(peer(source), peer(destination), port, transport, false)
    }

    private func allowsEgress(
        _ client: Peer, _ server: Peer, _ port: UInt16, _ transport: TransportProtocol, _ withDryRun: Bool
    ) -> Bool {
        guard client.isEnrolled, let pod = client.pod else { return true }
        var isIsolated = false
        for policy in networkPolicies where selects(policy, pod) && (withDryRun || !policy.isDryRun) {
            let applies = policy.policyTypes.isEmpty ? !policy.egress.isEmpty : policy.policyTypes.contains(.egress)
            if !applies { continue }
            isIsolated = true
            for rule in policy.egress {
                if matches(rule, policy.metadata.namespace, peer: server, portOwner: server.pod, port, transport) {
                    return true
                }
            }
        }
        return !isIsolated
    }

    private func allowsIngress(
        _ client: Peer, _ server: Peer, _ port: UInt16, _ transport: TransportProtocol, _ withDryRun: Bool
    ) -> Bool {
        guard server.isEnrolled, let pod = server.pod else { return true }
        return networkPolicyAllowsIngress(client, pod, port, transport, withDryRun)
            && peerAuthenticationAllows(client, pod, port, transport, withDryRun)
            && authorizationAllows(client, pod, port, withDryRun)
    }
}

// MARK: - NetworkPolicy

extension PolicyOracle {
    private func networkPolicyAllowsIngress(
        _ client: Peer, _ pod: Pod, _ port: UInt16, _ transport: TransportProtocol, _ withDryRun: Bool
    ) -> Bool {
        if client.isHost { return true }
        var isIsolated = false
        for policy in networkPolicies where selects(policy, pod) && (withDryRun || !policy.isDryRun) {
            let applies = policy.policyTypes.isEmpty || policy.policyTypes.contains(.ingress)
            if !applies { continue }
            isIsolated = true
            for rule in policy.ingress {
                if matches(rule, policy.metadata.namespace, peer: client, portOwner: pod, port, transport) {
                    return true
                }
            }
        }
        return !isIsolated
    }

    private func selects(_ policy: NetworkPolicy, _ pod: Pod) -> Bool {
        policy.metadata.namespace == pod.metadata.namespace
            && Self.selects(policy.podSelector, pod.metadata.labels)
    }

    private func matches(
        _ rule: NetworkPolicy.Rule, _ namespace: String, peer: Peer, portOwner: Pod?, _ port: UInt16,
        _ transport: TransportProtocol
    ) -> Bool {
        var peerMatches = rule.peers.isEmpty
        for candidate in rule.peers {
            switch candidate {
            case .pods(let podSelector, let namespaceSelector):
                guard let pod = peer.pod else { continue }
                let podNamespace = pod.metadata.namespace
                if let namespaceSelector {
                    var labels = namespaces[podNamespace] ?? [:]
                    labels["kubernetes.io/metadata.name"] = podNamespace
                    if !Self.selects(namespaceSelector, labels) { continue }
                } else if podNamespace != namespace {
                    continue
                }
                if let podSelector, !Self.selects(podSelector, pod.metadata.labels) { continue }
                peerMatches = true
            case .ipBlock(let cidr, let except):
                let isInside = peer.addresses.contains { cidr.contains($0) }
                let isExcepted = peer.addresses.contains { address in except.contains { $0.contains(address) } }
                if isInside && !isExcepted { peerMatches = true }
            }
        }
        guard peerMatches else { return false }
        if rule.ports.isEmpty { return true }
        for candidate in rule.ports where candidate.transport == transport {
            switch candidate.port {
            case nil:
                return true
            case .number(let first):
                if port == first { return true }
                if let last = candidate.endPort, port > first, port <= last { return true }
            case .name(let name):
                for container in portOwner?.containers ?? [] {
                    for owned in container.ports
                    where owned.name == name && owned.transport == transport && owned.port == port {
                        return true
                    }
                }
            }
        }
        return false
    }

    private static func selects(_ selector: LabelSelector, _ labels: Labels) -> Bool {
        for (key, value) in selector.matchLabels {
            guard let own = labels[key], own == value else { return false }
        }
        for requirement in selector.matchExpressions {
            switch requirement {
            case .isIn(let key, let values):
                guard let own = labels[key], values.contains(own) else { return false }
            case .isNotIn(let key, let values):
                if let own = labels[key], values.contains(own) { return false }
            case .exists(let key):
                if labels[key] == nil { return false }
            case .doesNotExist(let key):
                if labels[key] != nil { return false }
            }
        }
        return true
    }
}

// MARK: - PeerAuthentication

extension PolicyOracle {
    private func peerAuthenticationAllows(
        _ client: Peer, _ pod: Pod, _ port: UInt16, _ transport: TransportProtocol, _ withDryRun: Bool
    ) -> Bool {
        if client.isEnrolled { return true }
        var forWorkload: [PeerAuthentication] = []
        var forNamespace: [PeerAuthentication] = []
        var forMesh: [PeerAuthentication] = []
        for policy in peerAuthentications where withDryRun || !policy.isDryRun {
            let namespace = policy.metadata.namespace
            guard namespace == pod.metadata.namespace || namespace == rootNamespace else { continue }
            if let selector = policy.selector, !(selector.matchLabels.isEmpty && selector.matchExpressions.isEmpty) {
                if Self.selects(selector, pod.metadata.labels) { forWorkload.append(policy) }
            } else if namespace == rootNamespace {
                forMesh.append(policy)
            } else {
                forNamespace.append(policy)
            }
        }
        var mode = PeerAuthentication.Mode.unset
        if let workload = Self.oldest(forWorkload) {
            mode = workload.portLevelMtls[port] ?? .unset
            if mode == .unset { mode = workload.mode }
        }
        if mode == .unset, let namespace = Self.oldest(forNamespace) { mode = namespace.mode }
        if mode == .unset, let mesh = Self.oldest(forMesh) { mode = mesh.mode }
        if mode != .strict { return true }
        // A probe of the kubelet.
        guard client.isHost, transport == .tcp else { return false }
        for container in pod.containers {
            for probe in container.probes {
                switch probe {
                case .number(let number):
                    if number == port { return true }
                case .name(let name):
                    for own in container.ports where own.name == name && own.transport == .tcp && own.port == port {
                        return true
                    }
                }
            }
        }
        return false
    }

    private static func oldest(_ policies: [PeerAuthentication]) -> PeerAuthentication? {
        policies.min { left, right in
            let leftTime = left.metadata.creationTimestamp ?? "~"
            let rightTime = right.metadata.creationTimestamp ?? "~"
            if leftTime != rightTime { return leftTime < rightTime }
            if left.metadata.namespace != right.metadata.namespace {
                return left.metadata.namespace < right.metadata.namespace
            }
            return left.metadata.name < right.metadata.name
        }
    }
}

// MARK: - AuthorizationPolicy

extension PolicyOracle {
    private func authorizationAllows(_ client: Peer, _ pod: Pod, _ port: UInt16, _ withDryRun: Bool) -> Bool {
        var hasAllow = false
        var isAllowed = false
        for policy in authorizationPolicies where withDryRun || !policy.isDryRun {
            let namespace = policy.metadata.namespace
            guard namespace == pod.metadata.namespace || namespace == rootNamespace, policy.targetRefs.isEmpty else {
                continue
            }
            if let selector = policy.selector, !Self.selects(selector, pod.metadata.labels) { continue }
            let isMatch = policy.rules.contains { matches($0, policy, client, pod, port) }
            switch policy.action {
            case .deny:
                if isMatch { return false }
            case .allow:
                hasAllow = true
                if isMatch { isAllowed = true }
            case .audit:
                break
            }
        }
        return !hasAllow || isAllowed
    }

    private func matches(
        _ rule: AuthorizationPolicy.Rule, _ policy: AuthorizationPolicy, _ client: Peer, _ pod: Pod, _ port: UInt16
    ) -> Bool {
        if policy.action == .allow {
            for source in rule.from {
                if !source.requestPrincipals.isEmpty || !source.notRequestPrincipals.isEmpty { return false }
                if !source.remoteIpBlocks.isEmpty || !source.notRemoteIpBlocks.isEmpty { return false }
            }
            for operation in rule.to {
                if !operation.hosts.isEmpty || !operation.notHosts.isEmpty || !operation.methods.isEmpty {
                    return false
                }
                if !operation.notMethods.isEmpty || !operation.paths.isEmpty || !operation.notPaths.isEmpty {
                    return false
                }
            }
        }
        let attributes = Attributes(client, trustDomain)
        if !rule.from.isEmpty, !rule.from.contains(where: { attributes.match($0, policy.metadata.namespace) }) {
            return false
        }
        if !rule.to.isEmpty {
            let isMatch = rule.to.contains { operation in
                if operation == AuthorizationPolicy.Operation() { return false }
                if !operation.ports.isEmpty, !operation.ports.contains(port) { return false }
                return !operation.notPorts.contains(port)
            }
            if !isMatch { return false }
        }
        for condition in rule.when {
            var holds: (String) -> Bool
            switch condition.key {
            case "source.principal": holds = { attributes.isPrincipal($0) }
            case "source.namespace": holds = { attributes.isNamespace($0) }
            case "source.serviceAccount": holds = { attributes.isServiceAccount($0, policy.metadata.namespace) }
            case "source.trustDomain": holds = { attributes.isTrustDomain($0) }
            case "source.ip": holds = { Self.contains($0, client.addresses) }
            case "destination.ip": holds = { Self.contains($0, pod.podIPs) }
            case "destination.port": holds = { String(port) == $0 }
            default:
                // What only HTTP knows: never granted on, always denied on.
                if policy.action == .allow { return false }
                continue
            }
            if condition.values.isEmpty, condition.notValues.isEmpty { return false }
            if !condition.values.isEmpty, !condition.values.contains(where: holds) { return false }
            if condition.notValues.contains(where: holds) { return false }
        }
        return true
    }

    private static func contains(_ text: String, _ addresses: [IPAddress]) -> Bool {
        guard let cidr = CIDR(text) ?? IPAddress(text).map({ CIDR(host: $0) }) else { return false }
        return addresses.contains { cidr.contains($0) }
    }

    /// What a client has proved of itself; everything `nil` if nothing.
    private struct Attributes {
        var client: Peer
        var trustDomain: String?
        var namespace: String?
        var serviceAccount: String?

        init(_ client: Peer, _ trustDomain: String) {
            self.client = client
            guard client.isEnrolled, let pod = client.pod else { return }
            self.trustDomain = trustDomain
            self.namespace = pod.metadata.namespace
            self.serviceAccount = pod.serviceAccountName
        }

        func match(_ source: AuthorizationPolicy.Source, _ ownNamespace: String) -> Bool {
            if source == AuthorizationPolicy.Source() { return false }
            if !source.principals.isEmpty, !source.principals.contains(where: isPrincipal) { return false }
            if source.notPrincipals.contains(where: isPrincipal) { return false }
            if !source.namespaces.isEmpty, !source.namespaces.contains(where: isNamespace) { return false }
            if source.notNamespaces.contains(where: isNamespace) { return false }
            let isAccount = { (text: String) in isServiceAccount(text, ownNamespace) }
            if !source.serviceAccounts.isEmpty, !source.serviceAccounts.contains(where: isAccount) { return false }
            if source.notServiceAccounts.contains(where: isAccount) { return false }
            if !source.trustDomains.isEmpty, !source.trustDomains.contains(where: isTrustDomain) { return false }
            if source.notTrustDomains.contains(where: isTrustDomain) { return false }
            let isInside = { (cidr: CIDR) in client.addresses.contains { cidr.contains($0) } }
            if !source.ipBlocks.isEmpty, !source.ipBlocks.contains(where: isInside) { return false }
            return !source.notIpBlocks.contains(where: isInside)
        }

        func isPrincipal(_ pattern: String) -> Bool {
            guard let trustDomain, let namespace, let serviceAccount else { return false }
            let scheme = "spiffe://"
            let bare = pattern.hasPrefix(scheme) ? String(pattern.dropFirst(scheme.count)) : pattern
            return Self.like(bare, trustDomain + "/ns/" + namespace + "/sa/" + serviceAccount)
        }

        func isNamespace(_ pattern: String) -> Bool { namespace.map { Self.like(pattern, $0) } ?? false }

        func isTrustDomain(_ pattern: String) -> Bool { trustDomain.map { Self.like(pattern, $0) } ?? false }

        func isServiceAccount(_ text: String, _ ownNamespace: String) -> Bool {
            guard let namespace, let serviceAccount else { return false }
            if text.contains("/") { return text == namespace + "/" + serviceAccount }
            return text == serviceAccount && ownNamespace == namespace
        }

        private static func like(_ pattern: String, _ text: String) -> Bool {
            if pattern == "*" { return true }
            if pattern.first == "*" { return text.hasSuffix(String(pattern.dropFirst())) }
            if pattern.last == "*" { return text.hasPrefix(String(pattern.dropLast())) }
            return pattern == text
        }
    }
}
