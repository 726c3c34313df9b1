// SPDX-License-Identifier: Apache-2.0

extension LoweredPolicy {
    /// - Parameter services: What Services select, for policies whose targets they are.
    /// - Returns: `nil` for objects that are no policy, and for policies that nothing here enforces.
    static func lower(
        _ object: MeshObject, id: Int, rootNamespace: String, l7: L7Enforcement = .absent,
        services: [NamespacedName: Labels] = [:]
    ) -> LoweredPolicy? {
        switch object {
        case .networkPolicy(let policy):
            let types = policy.effectivePolicyTypes
            let lower = { (rules: [NetworkPolicy.Rule]) in
                rules.enumerated().map { LoweredRule($1, index: $0, namespace: policy.metadata.namespace) }
            }
            return LoweredPolicy(
                id: id, object: object, scope: .namespace(policy.metadata.namespace), selectors: [policy.podSelector],
                isDryRun: policy.isDryRun,
                body: .network(
                    ingress: types.contains(.ingress) ? lower(policy.ingress) : nil,
                    egress: types.contains(.egress) ? lower(policy.egress) : nil))
        case .authorizationPolicy(let policy):
            // AUDIT never decides, and targetRefs are for a proxy.
            guard policy.action != .audit, policy.targetRefs.isEmpty || l7 == .enforced else { return nil }
            let rules = policy.rules.enumerated().flatMap { index, rule in
                LoweredRule.lowered(
                    rule, index: index, action: policy.action, namespace: policy.metadata.namespace, l7: l7)
            }
            let targets = policy.targetedServices.compactMap { services[$0] }.map { LabelSelector(matchLabels: $0) }
            return LoweredPolicy(
                id: id, object: object,
                // A target is of the policy's own namespace, also in the root namespace.
                scope: policy.targetRefs.isEmpty
                    ? scope(of: policy.metadata, rootNamespace) : .namespace(policy.metadata.namespace),
                selectors: policy.targetRefs.isEmpty ? [policy.selector ?? LabelSelector()] : targets,
                isDryRun: policy.isDryRun,
                body: .authorization(policy.action, rules))
        case .peerAuthentication(let policy):
            let hasSelector = policy.selector?.isEmpty == false
            return LoweredPolicy(
                id: id, object: object, scope: scope(of: policy.metadata, rootNamespace),
                selectors: [policy.selector ?? LabelSelector()], isDryRun: policy.isDryRun,
                body: .peerAuthentication(
                    LoweredPeerAuthentication(
                        mode: policy.mode, portModes: hasSelector ? policy.portLevelMtls : [:],
                        hasSelector: hasSelector, creationTimestamp: policy.metadata.creationTimestamp)))
        case .namespace, .pod, .service, .endpointSlice, .node, .route, .meshPolicy:
            return nil
        }
    }

    private static func scope(of metadata: ObjectMetadata, _ rootNamespace: String) -> Scope {
        metadata.namespace == rootNamespace ? .mesh : .namespace(metadata.namespace)
    }
}

extension LoweredRule {
    /// https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/network-policy-v1/
    init(_ rule: NetworkPolicy.Rule, index: Int, namespace: String) {
        let clauses = rule.peers.map { peer in
            switch peer {
            case .pods(let pods, let namespaces):
                PeerMatch.Clause(
                    terms: [
                        .init(attribute: .pods(pods, namespaces: namespaces, ownNamespace: namespace), isNegated: false)
                    ])
            case .ipBlock(let cidr, let except):
                PeerMatch.Clause(
                    terms: [.init(attribute: .cidrs([cidr]), isNegated: false)]
                        + (except.isEmpty ? [] : [.init(attribute: .cidrs(except), isNegated: true)]))
            }
        }
        var ports = rule.ports.isEmpty ? TransportPorts.all : .none
        var names: [IdentityIndex.PortName] = []
        for port in rule.ports {
            switch port.port {
            case nil:
                ports[port.transport] = .all
            case .number(let first):
                let last = max(first, port.endPort ?? first)
                ports[port.transport] = ports[port.transport].union(PortSet([first...last]))
            case .name(let name):
                guard port.transport != .sctp else { continue }
                names.append(IdentityIndex.PortName(name: name, transport: port.transport))
            }
        }
        self.init(
            index: index, peers: PeerMatch(groups: clauses.isEmpty ? [] : [clauses]), ports: ports, portNames: names)
    }

    /// - Returns: `nil` for a rule of an ALLOW policy that only a proxy could grant.
    init?(
        _ rule: AuthorizationPolicy.Rule, index: Int, action: AuthorizationPolicy.Action, namespace: String
    ) {
        let needsProxy =
            rule.from.contains(where: \.hasL7Fields) || rule.to.contains(where: \.hasL7Fields)
            || rule.when.contains(where: \.isL7)
        if action == .allow, needsProxy { return nil }

        var groups: [[PeerMatch.Clause]] = []
        if !rule.from.isEmpty {
            groups.append(
                rule.from.filter { !$0.isEmpty }.map { PeerMatch.Clause(terms: $0.terms(namespace: namespace)) })
        }
        var ports = PortSet.all
        if !rule.to.isEmpty {
            ports = rule.to.filter { !$0.isEmpty }.reduce(PortSet.none) { union, operation in
                let listed = operation.ports.isEmpty ? .all : PortSet(ports: operation.ports)
                return union.union(listed.subtracting(PortSet(ports: operation.notPorts)))
            }
        }
        var destinations: [AddressCondition] = []
        // A condition of HTTP counts as met in a DENY rule: what cannot be known is denied.
        for condition in rule.when where !condition.isL7 {
            if condition.values.isEmpty, condition.notValues.isEmpty {
                groups.append([])
                continue
            }
            switch condition.key {
            case "destination.port":
                let parse = { (values: [String]) in PortSet(ports: values.compactMap { UInt16($0) }) }
                if !condition.values.isEmpty { ports = ports.intersection(parse(condition.values)) }
                ports = ports.subtracting(parse(condition.notValues))
            case "destination.ip":
                let parse = { (values: [String]) in values.compactMap { CIDR(addressOrPrefix: $0) } }
                destinations.append(
                    AddressCondition(
                        cidrs: condition.values.isEmpty ? nil : parse(condition.values),
                        notCIDRs: parse(condition.notValues)))
            default:
                groups.append([PeerMatch.Clause(terms: condition.sourceTerms(namespace: namespace))])
            }
        }
        self.init(
            index: index, peers: PeerMatch(groups: groups), ports: TransportPorts(tcp: ports, udp: ports),
            destinations: destinations)
    }
}

extension AuthorizationPolicy.Source {
    /// What a connection can be asked; none if all fields are of HTTP, which then count as met.
    fileprivate func terms(namespace: String) -> [PeerMatch.Term] {
        let accounts = { (names: [String]) in
            names.map { NamespacedName(serviceAccount: $0, defaultNamespace: namespace) }
        }
        return [
            .listed(principals, false) { .principal($0.map { StringMatch(principal: $0) }) },
            .listed(notPrincipals, true) { .principal($0.map { StringMatch(principal: $0) }) },
            .listed(namespaces, false) { .namespace($0.map { StringMatch($0) }) },
            .listed(notNamespaces, true) { .namespace($0.map { StringMatch($0) }) },
            .listed(serviceAccounts, false) { .serviceAccount(accounts($0)) },
            .listed(notServiceAccounts, true) { .serviceAccount(accounts($0)) },
            .listed(ipBlocks, false) { .cidrs($0) },
            .listed(notIpBlocks, true) { .cidrs($0) },
            .listed(trustDomains, false) { .trustDomain($0.map { StringMatch($0) }) },
            .listed(notTrustDomains, true) { .trustDomain($0.map { StringMatch($0) }) },
        ].compactMap { $0 }
    }
}

extension AuthorizationPolicy.Condition {
    fileprivate func sourceTerms(namespace: String) -> [PeerMatch.Term] {
        let attribute = { (values: [String]) -> PeerMatch.Attribute in
            switch key {
            case "source.ip": .cidrs(values.compactMap { CIDR(addressOrPrefix: $0) })
            case "source.namespace": .namespace(values.map { StringMatch($0) })
            case "source.serviceAccount":
                .serviceAccount(values.map { NamespacedName(serviceAccount: $0, defaultNamespace: namespace) })
            case "source.trustDomain": .trustDomain(values.map { StringMatch($0) })
            case "source.principal": .principal(values.map { StringMatch(principal: $0) })
            default: preconditionFailure("\(key) is not an attribute of the source")
            }
        }
        return [.listed(values, false, attribute), .listed(notValues, true, attribute)].compactMap { $0 }
    }
}

extension PeerMatch.Term {
    /// - Returns: `nil` for an absent field, which is an empty list.
    fileprivate static func listed<Value>(
        _ values: [Value], _ isNegated: Bool, _ attribute: ([Value]) -> PeerMatch.Attribute
    ) -> PeerMatch.Term? {
        values.isEmpty ? nil : PeerMatch.Term(attribute: attribute(values), isNegated: isNegated)
    }
}

extension NamespacedName {
    /// `namespace/name`, or a name in the policy's namespace.
    fileprivate init(serviceAccount text: String, defaultNamespace: String) {
        self = NamespacedName(text) ?? NamespacedName(namespace: defaultNamespace, name: text)
    }
}
