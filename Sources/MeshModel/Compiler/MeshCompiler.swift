// SPDX-License-Identifier: Apache-2.0

/// Turns objects into what the kernel of one node must know, change by change.
///
/// A value that does no I/O: the agent's control thread owns one. A copy is a trial run; nothing that it does
/// reaches the original. The result depends only on the objects, the enrolled pods and the numbers given
/// earlier, not on the order in which they came.
public struct MeshCompiler: Sendable {
    public struct Configuration: Hashable, Sendable {
        /// The node compiled for.
        public var nodeName: String
        /// Addresses of the node, besides those of its Node object.
        public var nodeAddresses: [IPAddress]
        public var trustDomain: String
        /// Namespace whose AuthorizationPolicy and PeerAuthentication objects hold for the whole mesh.
        public var rootNamespace: String
        /// Whether a node proxy takes the connections for which the verdict is ``PolicyVerdict/needsProxy``.
        public let l7: L7Enforcement
        /// Whether a node proxy runs, so that routes are enforced. Otherwise they are passed over.
        public let hasProxy: Bool
        /// Whether TCP between enrolled pods of different nodes goes through tunnels, by that proxy.
        public let hasTunnels: Bool

        public init(
            nodeName: String, nodeAddresses: [IPAddress] = [], trustDomain: String = "cluster.local",
            rootNamespace: String = "sockmesh-system", l7: L7Enforcement = .absent, hasProxy: Bool = false,
            hasTunnels: Bool = false
        ) {
            self.nodeName = nodeName
            self.nodeAddresses = nodeAddresses
            self.trustDomain = trustDomain
            self.rootNamespace = rootNamespace
            self.l7 = l7
            self.hasProxy = hasProxy
            self.hasTunnels = hasTunnels
        }
    }

    public internal(set) var configuration: Configuration
    public internal(set) var mesh = CompiledMesh()
    /// Numbers of identities by ``IdentityKey/description``; persist them to keep them.
    public internal(set) var identityNumbers: NumberRegistry
    /// Numbers of services; persist them to keep clients with their endpoints.
    public internal(set) var serviceNumbers: NumberRegistry
    /// Route classes by namespace; persist them to keep clients with their routes.
    public internal(set) var routeClassNumbers: NumberRegistry
    /// Routes and grants that are enforced; none without a proxy.
    public internal(set) var routeObjects: [ObjectReference: RouteObject] = [:]
    /// What they come to.
    public internal(set) var routes = RouteTable(RouteObjects(routes: [], services: []))

    /// Those that are enforced; none without a proxy.
    var meshPolicies: [ObjectReference: MeshPolicy] = [:]
    var pods = PodTable()
    var namespaces: [String: Namespace] = [:]
    var nodes: [String: Node] = [:]
    var policies: PolicyTable
    var services = ServiceTable()
    var enrolled: Set<NamespacedName> = []
    var routeClasses = RouteClasses()

    var projection = IdentityProjection()
    var index = IdentityIndex()
    var podSlots: [NamespacedName: PerFamily<Int>] = [:]
    /// Of enrolled pods of other nodes: who they are when a certificate has proved it.
    var provenSlots: [NamespacedName: PerFamily<Int>] = [:]
    /// Enrolled pods of this node that are reached, and reach others, through tunnels only.
    var encrypting: Set<NamespacedName> = []
    var addressSlots: [IPAddress: Int] = [:]
    var cidrSlots: [CIDR: Int] = [:]
    var nodeAddresses: Set<IPAddress> = []
    var interned = PolicySetTable()
    var ruleCache = RuleCache()
    var programs: [PolicyProgramKey: CompiledPrograms] = [:]
    var programKeys: [NamespacedName: PolicyProgramKey] = [:]
    var authorizers: [[Int]: RequestAuthorizer] = [:]
    /// The state of `index` that all policy sets were compiled from.
    var compiledRevision = -1

    public init(
        configuration: Configuration, identityNumbers: NumberRegistry = NumberRegistry(),
        serviceNumbers: NumberRegistry = NumberRegistry(first: 1),
        routeClassNumbers: NumberRegistry = NumberRegistry(first: 1)
    ) {
        self.configuration = configuration
        self.identityNumbers = identityNumbers
        self.serviceNumbers = serviceNumbers
        self.routeClassNumbers = routeClassNumbers
        self.policies = PolicyTable(rootNamespace: configuration.rootNamespace, l7: configuration.l7)
        // So that the first compilation states what holds for every address, objects or not.
        _ = update(MeshChange())
    }

    /// What is to be looked at again, collected while a change is taken in.
    struct Pending {
        /// Whose identity may differ.
        var pods: Set<NamespacedName> = []
        var addresses: Set<IPAddress> = []
        var cidrs: Set<CIDR> = []
        /// Whose policies or settings may differ.
        var workloads: Set<NamespacedName> = []
        var services: Set<NamespacedName> = []
        /// Namespaces that may have become, or ceased to be, one whose routes are for its clients.
        var consumers: Set<String> = []
        var routes: [RouteChange] = []
        var nodeAddressesMayDiffer = false
        var changes = CompiledChanges()
    }

    /// Takes in a change and compiles what depends on it.
    ///
    /// - Returns: The keys of ``mesh`` whose values differ now.
    public mutating func update(_ change: MeshChange) -> CompiledChanges {
        var pending = Pending()
        pending.nodeAddressesMayDiffer = compiledRevision < 0
        for reference in change.removed { remove(reference, &pending) }
        for object in change.changed { apply(object, &pending) }
        if let now = change.enrolled, now != enrolled {
            let differing = enrolled.symmetricDifference(now)
            enrolled = now
            pending.pods.formUnion(differing)
            pending.workloads.formUnion(differing)
            for name in differing { pending.addresses.formUnion(pods[name]?.podIPs ?? []) }
        }
        settleNode(&pending)
        settleRoutes(&pending)
        settleWorkloads(&pending)
        settleIdentities(&pending)
        settleRemotePods(&pending)
        settlePolicySets(&pending)
        settleServices(&pending)
        if configuration.hasProxy { pending.changes.requestPolicies = pending.workloads }
        identityNumbers.endGeneration()
        serviceNumbers.endGeneration()
        routeClassNumbers.endGeneration()
        return pending.changes
    }

    /// Objects that the compiler knows of now, policies only.
    public var policyObjects: [ObjectReference: MeshObject] { policies.objects }

    /// Whether `name` is an enrolled pod that can be a workload.
    func isWorkload(_ name: NamespacedName) -> Bool {
        enrolled.contains(name) && pods[name]?.hasIdentity == true
    }

    // MARK: Objects

    private mutating func apply(_ object: MeshObject, _ pending: inout Pending) {
        switch object {
        case .pod(let pod): setPod(pod, pod.namespacedName, &pending)
        case .namespace(let namespace): setNamespace(namespace, namespace.metadata.name, &pending)
        case .node(let node): setNode(node, node.metadata.name, &pending)
        case .service(let service): setService(service, service.namespacedName, &pending)
        case .endpointSlice(let slice):
            pending.services.formUnion(services.set(slice, for: slice.metadata.namespacedName))
        case .route(let route): setRoute(route, route.reference, &pending)
        case .meshPolicy(let policy): setMeshPolicy(policy, policy.reference, &pending)
        case .networkPolicy, .authorizationPolicy, .peerAuthentication:
            pending.workloads.formUnion(policies.set(object, for: object.reference, projection: &projection))
        }
    }

    private mutating func remove(_ reference: ObjectReference, _ pending: inout Pending) {
        switch reference.kind {
        case "Pod": setPod(nil, reference.namespacedName, &pending)
        case "Namespace": setNamespace(nil, reference.name, &pending)
        case "Node": setNode(nil, reference.name, &pending)
        case "Service": setService(nil, reference.namespacedName, &pending)
        case "EndpointSlice":
            pending.services.formUnion(services.set(EndpointSlice?.none, for: reference.namespacedName))
        case "HTTPRoute", "GRPCRoute", "ReferenceGrant": setRoute(nil, reference, &pending)
        case "MeshPolicy": setMeshPolicy(nil, reference, &pending)
        default:
            pending.workloads.formUnion(policies.set(nil, for: reference, projection: &projection))
        }
    }

    private mutating func setPod(_ pod: Pod?, _ name: NamespacedName, _ pending: inout Pending) {
        guard pods[name] != pod else { return }
        let old = pods.set(pod, for: name)
        pending.pods.insert(name)
        for version in [old, pod] {
            guard let version else { continue }
            pending.addresses.formUnion(version.podIPs)
            pending.services.formUnion(services.services(dependingOn: version))
        }
        if enrolled.contains(name) { pending.workloads.insert(name) }
    }

    private mutating func setService(_ service: Service?, _ name: NamespacedName, _ pending: inout Pending) {
        pending.addresses.formUnion(services[name]?.clusterIPs ?? [])
        services.set(service, for: name)
        pending.workloads.formUnion(policies.set(service, for: name, projection: &projection))
        pending.addresses.formUnion(service?.clusterIPs ?? [])
        pending.services.insert(name)
        if configuration.hasProxy {
            pending.routes.append(service.map(RouteChange.service) ?? .removeService(name))
        }
    }

    private mutating func setNamespace(_ namespace: Namespace?, _ name: String, _ pending: inout Pending) {
        if configuration.hasTunnels, namespaces[name]?.mesh != namespace?.mesh {
            // Those of other nodes may take tunnels now, or take them no more.
            pending.pods.formUnion(pods.pods.keys.lazy.filter { $0.namespace == name })
        }
        namespaces[name] = namespace
        index.setLabels(namespace?.metadata.labels, ofNamespace: name)
    }

    private mutating func setNode(_ node: Node?, _ name: String, _ pending: inout Pending) {
        let oldZone = nodes[name]?.zone
        nodes[name] = node
        if name == configuration.nodeName, oldZone != node?.zone { pending.changes.hasZoneChange = true }
        // Endpoints without a zone of their own are in that of their node.
        if oldZone != node?.zone { pending.services.formUnion(services.all) }
        if name == configuration.nodeName { pending.nodeAddressesMayDiffer = true }
    }

    /// Tells the compiler the node's addresses, when the agent sees them change.
    public mutating func setNodeAddresses(_ addresses: [IPAddress]) -> CompiledChanges {
        configuration.nodeAddresses = addresses
        compiledRevision = -1
        return update(MeshChange())
    }

    private mutating func settleNode(_ pending: inout Pending) {
        guard pending.nodeAddressesMayDiffer else { return }
        let now = Set(configuration.nodeAddresses + (nodes[configuration.nodeName]?.addresses ?? []))
        guard now != nodeAddresses else { return }
        pending.addresses.formUnion(now.symmetricDifference(nodeAddresses))
        nodeAddresses = now
        index.setHostCIDRs(projection.cidrs(containing: now.sorted()))
        pending.services.formUnion(services.withNodePorts)
    }
}
