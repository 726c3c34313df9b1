// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// Makes policies by chance, with every field that the mesh enforces and some that it does not.
public struct PolicyGenerator: Sendable {
    public var random: SplitMix64

    public init(random: SplitMix64) {
        self.random = random
    }

    /// The ports that objects and flows use; some share a page of 256, some are at its edges.
    public static let ports: [UInt16] = [1, 53, 80, 255, 256, 257, 443, 8080, 8081, 9090, 65534, 65535]

    public mutating func policy(named name: String) -> MeshObject {
        let metadata = ObjectMetadata(
            name: name, namespace: random.pick(RandomCluster.namespaceNames),
            creationTimestamp: random.pick([nil, "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"]))
        switch Int.random(in: 0..<10, using: &random) {
        case 0..<5: return .networkPolicy(networkPolicy(metadata))
        case 5..<8: return .authorizationPolicy(authorizationPolicy(metadata))
        default: return .peerAuthentication(peerAuthentication(metadata))
        }
    }

    // MARK: Selectors

    mutating func selector() -> LabelSelector {
        var selector = LabelSelector()
        if random.chance(25) { return selector }
        for key in random.some(["app", "tier", "env"], atMost: 2) {
            selector.matchLabels[key] = random.pick(["a", "b"])
        }
        if random.chance(50) {
            let key = random.pick(["app", "tier", "env"])
            let values = random.some(["a", "b", "c"], atLeast: 1, atMost: 2)
            selector.matchExpressions = [
                random.pick([
                    .isIn(key: key, values: values), .isNotIn(key: key, values: values), .exists(key: key),
                    .doesNotExist(key: key),
                ])
            ]
        }
        return selector
    }

    private mutating func namespaceSelector() -> LabelSelector {
        if random.chance(40) {
            return LabelSelector(matchLabels: [Namespace.nameLabel: random.pick(RandomCluster.namespaceNames)])
        }
        return selector()
    }

    private mutating func cidr() -> CIDR {
        let text = random.pick([
            "10.0.0.0/8", "10.0.0.0/16", "10.1.0.0/16", "10.0.128.0/17", "10.1.128.0/24", "10.0.0.3/32", "0.0.0.0/0",
            "::/0", "fd00::/8", "fd00:1::/32", "fd00:2::/32", "fd00:1::5/128", "192.168.0.0/16", "8.8.8.8/32",
        ])
        guard let cidr = CIDR(text) else { preconditionFailure("\(text) is no prefix") }
        return cidr
    }

    // MARK: NetworkPolicy

    mutating func networkPolicy(_ metadata: ObjectMetadata) -> NetworkPolicy {
        var policy = NetworkPolicy(metadata: metadata, podSelector: selector())
        policy.policyTypes = random.pick([[], [], [.ingress], [.egress], [.ingress, .egress]])
        policy.ingress = random.list(atMost: 2) { _ in NetworkPolicy.Rule() }.map { _ in networkRule() }
        policy.egress = random.list(atMost: 2) { _ in NetworkPolicy.Rule() }.map { _ in networkRule() }
        policy.isDryRun = random.chance(10)
        return policy
    }

    private mutating func networkRule() -> NetworkPolicy.Rule {
        var rule = NetworkPolicy.Rule()
        for _ in 0..<random.pick([0, 1, 1, 2]) {
            switch Int.random(in: 0..<4, using: &random) {
            case 0: rule.peers.append(.pods(pods: selector(), namespaces: nil))
            case 1: rule.peers.append(.pods(pods: nil, namespaces: namespaceSelector()))
            case 2: rule.peers.append(.pods(pods: selector(), namespaces: namespaceSelector()))
            default:
                let outer = cidr()
                let inner = [cidr(), cidr()].filter { $0 != outer && outer.contains($0) }
                rule.peers.append(.ipBlock(cidr: outer, except: inner))
            }
        }
        for _ in 0..<random.pick([0, 1, 1, 2]) {
            let transport: TransportProtocol = random.pick([.tcp, .tcp, .udp, .udp, .sctp])
            switch Int.random(in: 0..<4, using: &random) {
            case 0: rule.ports.append(.init(transport: transport))
            case 1:
                rule.ports.append(.init(transport: transport, port: .name(random.pick(["http", "metrics", "dns"]))))
            case 2:
                let first = random.pick(Self.ports)
                let last = random.pick(Self.ports.filter { $0 >= first })
                rule.ports.append(.init(transport: transport, port: .number(first), endPort: last))
            default: rule.ports.append(.init(transport: transport, port: .number(random.pick(Self.ports))))
            }
        }
        return rule
    }

    // MARK: AuthorizationPolicy

    mutating func authorizationPolicy(_ metadata: ObjectMetadata) -> AuthorizationPolicy {
        var policy = AuthorizationPolicy(metadata: metadata)
        policy.selector = random.chance(60) ? selector() : nil
        policy.action = random.pick([.allow, .allow, .deny, .deny, .deny, .audit])
        for _ in 0..<random.pick([0, 1, 1, 2]) { policy.rules.append(authorizationRule()) }
        policy.isDryRun = random.chance(10)
        if random.chance(3) { policy.targetRefs = ["Service/x"] }
        return policy
    }

    private mutating func authorizationRule() -> AuthorizationPolicy.Rule {
        var rule = AuthorizationPolicy.Rule()
        for _ in 0..<random.pick([0, 1, 1, 2]) { rule.from.append(source()) }
        for _ in 0..<random.pick([0, 0, 1, 2]) {
            var operation = AuthorizationPolicy.Operation()
            if random.chance(60) { operation.ports = random.some(Self.ports, atLeast: 1, atMost: 3) }
            if random.chance(30) { operation.notPorts = random.some(Self.ports, atLeast: 1, atMost: 2) }
            if random.chance(8) { operation.methods = ["GET"] }
            if random.chance(4) { operation.notPaths = ["/x"] }
            rule.to.append(operation)
        }
        for _ in 0..<random.pick([0, 0, 0, 1, 2]) { rule.when.append(condition()) }
        return rule
    }

    private mutating func patterns(_ all: [String]) -> [String] { random.some(all, atLeast: 1, atMost: 2) }

    private static let principals = [
        "*", "cluster.local/ns/shop/sa/web", "cluster.local/ns/bank/*", "*/sa/db",
        "spiffe://cluster.local/ns/ops/sa/web",
        "other.domain/ns/shop/sa/web", "cluster.local/ns/shop/sa/default",
    ]
    private static let namespaces = ["shop", "bank", "b*", "*s", "*", "none"]
    private static let accounts = ["web", "shop/web", "bank/db", "default", "ops/default"]
    private static let trustDomains = ["cluster.local", "cluster*", "other.domain", "*"]

    private mutating func source() -> AuthorizationPolicy.Source {
        var source = AuthorizationPolicy.Source()
        if random.chance(25) { source.principals = patterns(Self.principals) }
        if random.chance(15) { source.notPrincipals = patterns(Self.principals) }
        if random.chance(25) { source.namespaces = patterns(Self.namespaces) }
        if random.chance(15) { source.notNamespaces = patterns(Self.namespaces) }
        if random.chance(20) { source.serviceAccounts = patterns(Self.accounts) }
        if random.chance(10) { source.notServiceAccounts = patterns(Self.accounts) }
        if random.chance(25) { source.ipBlocks = [cidr()] }
        if random.chance(15) { source.notIpBlocks = [cidr(), cidr()] }
        if random.chance(8) { source.trustDomains = patterns(Self.trustDomains) }
        if random.chance(8) { source.notTrustDomains = patterns(Self.trustDomains) }
        if random.chance(5) { source.requestPrincipals = ["*"] }
        if random.chance(3) { source.notRemoteIpBlocks = ["10.0.0.0/8"] }
        return source
    }

    private mutating func condition() -> AuthorizationPolicy.Condition {
        let key = random.pick([
            "source.ip", "source.namespace", "source.serviceAccount", "source.principal", "source.trustDomain",
            "destination.ip", "destination.port", "request.headers[x]",
        ])
        let all: [String]
        switch key {
        case "source.ip", "destination.ip": all = ["10.0.0.0/16", "10.0.0.1", "fd00::/8", "0.0.0.0/0", "192.168.0.1"]
        case "source.namespace": all = Self.namespaces
        case "source.serviceAccount": all = Self.accounts
        case "source.principal": all = Self.principals
        case "source.trustDomain": all = Self.trustDomains
        case "destination.port": all = Self.ports.map { String($0) }
        default: all = ["x"]
        }
        var condition = AuthorizationPolicy.Condition(key: key)
        if random.chance(70) { condition.values = patterns(all) }
        if random.chance(30) { condition.notValues = patterns(all) }
        return condition
    }

    // MARK: PeerAuthentication

    mutating func peerAuthentication(_ metadata: ObjectMetadata) -> PeerAuthentication {
        let modes: [PeerAuthentication.Mode] = [.unset, .disable, .permissive, .strict, .strict]
        var policy = PeerAuthentication(metadata: metadata, mode: random.pick(modes))
        if random.chance(60) {
            policy.selector = selector()
            for port in random.some(Self.ports, atMost: 3) { policy.portLevelMtls[port] = random.pick(modes) }
        }
        policy.isDryRun = random.chance(10)
        return policy
    }
}
