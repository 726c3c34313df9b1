// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// Where a request was sent.
public struct ProxyEndpoint: Hashable, Sendable, BitwiseCopyable {
    public var address: IPAddress
    public var port: UInt16

    public init(address: IPAddress, port: UInt16) {
        self.address = address
        self.port = port
    }
}

/// A TCP port of a Service: where clients connect to and who answers.
public struct ProxyService: Sendable {
    public var name: NamespacedName
    /// The Service's port.
    public var port: UInt16
    /// Its addresses. None: it can only be a route's backend.
    public var addresses: [IPAddress]
    /// Those that may get requests, and those that only serve what they have.
    public var endpoints: [ClusterEndpoint]
    public var policy: ServicePolicy
    /// Its `appProtocol` (KEP-3726), which says what its endpoints speak.
    public var appProtocol: String?
    /// Addresses in the other family of those of the endpoints' pods that have one, with the same port.
    public var alternates: [ProxyEndpoint: IPAddress]

    /// What clients of the port speak.
    var spoken: PortProtocol { PortProtocol(appProtocol: appProtocol, policy.detection) }

    /// Whether requests are sent to it by HTTP/2 with prior knowledge.
    var isHTTP2: Bool { PortProtocol.ofEndpoints(appProtocol: appProtocol, policy.detection) == .http2 }

    public init(
        name: NamespacedName, port: UInt16, addresses: [IPAddress], endpoints: [ClusterEndpoint],
        policy: ServicePolicy = ServicePolicy(), appProtocol: String? = nil,
        alternates: [ProxyEndpoint: IPAddress] = [:]
    ) {
        self.name = name
        self.port = port
        self.addresses = addresses
        self.endpoints = endpoints
        self.appProtocol = appProtocol
        self.policy = policy
        self.alternates = alternates
    }

    /// The TCP ports of a Service with the backends that were chosen for each.
    public static func ports(of service: Service, backends: (UInt16) -> [Backend]) -> [ProxyService] {
        service.ports.filter { $0.transport == .tcp }.map { port in
            ProxyService(
                name: service.namespacedName, port: port.port,
                addresses: service.clusterIPs + service.externalIPs + service.loadBalancerIPs,
                endpoints: backends(port.port).map {
                    ClusterEndpoint($0.address, port: $0.port, weight: $0.weight)
                }, appProtocol: port.appProtocol)
        }
    }
}

/// Who is in a network namespace of this node.
public struct ProxyWorkload: Hashable, Sendable {
    public var name: NamespacedName
    public var serviceAccount: String
    public var addresses: [IPAddress]
    /// Those that metrics show.
    public var labels: Labels

    public init(
        name: NamespacedName, serviceAccount: String, addresses: [IPAddress] = [], labels: Labels = [:]
    ) {
        self.name = name
        self.serviceAccount = serviceAccount
        self.addresses = addresses
        self.labels = labels
    }
}

/// The name of a pod, lent by a snapshot.
public struct WorkloadText: BitwiseCopyable {
    public let name: UnsafeRawBufferPointer
    public let namespace: UnsafeRawBufferPointer
}

/// All that workers need of the configuration, of one moment. Replaced as a whole; a request keeps the one by which it
/// was routed.
///
/// What requests look at is laid out in plain memory when the snapshot is made, so that reading it counts no
/// references.
public final class ProxySnapshot: Sendable {
    private struct Place: Hashable {
        let address: IPAddress
        let port: UInt16
    }

    public let generation: UInt64
    public let workloads: [UInt64: ProxyWorkload]
    /// Enrolled pods of other nodes, which are reached through tunnels.
    public let remotePods: [IPAddress: ProxyWorkload]
    public let tunnels: TunnelReach
    public let trustDomain: String
    private let places: [Place: Int32]
    /// Endpoints of Services whose policy is ``ServicePolicy/poolsPerClient``.
    private let clientPlaces: Set<Place>
    /// What Services say of those of their endpoints whose pods policies decide about: others are not connected to but by a
    /// Service.
    private let spokenPlaces: [Place: PortProtocol]
    /// Of all Services.
    private let alternates: [ProxyEndpoint: IPAddress]
    private let routes: [[String: Int32]]
    /// Index of the router of the Service's own routes for each service; -1: none.
    private let producers: [Int32]
    let services: [ProxyService]
    private let byName: [ClusterKey: Int32]
    /// Indices in ``destinations``.
    private let destinationPlaces: [IPAddress: Int]
    /// They keep the authorizers of the plans alive.
    private let destinations: [ProxyDestination]
    let routers: [Router]
    // Filled before init returns and never written afterwards: safe from every thread.
    private nonisolated(unsafe) let plans: PlanMemory

    /// - Parameters:
    ///   - generation: Greater than that of every snapshot before.
    ///   - services: Of two that claim an address and port the first has it.
    ///   - routes: Compiled from the same Services; `nil`: there are none.
    ///   - workloads: By the cookie of their network namespace.
    ///   - remotePods: By their addresses.
    ///   - tunnels: What decides which connections may go in clear.
    ///   - trustDomain: Of their SPIFFE IDs.
    ///   - destinations: Pods that do not take every request. Of two that claim an address the last has it.
    public init(
        generation: UInt64, services: [ProxyService], routes table: RouteTable? = nil,
        workloads: [UInt64: ProxyWorkload] = [:], remotePods: [IPAddress: ProxyWorkload] = [:],
        tunnels: TunnelReach = TunnelReach(), trustDomain: String = "cluster.local",
        destinations: [ProxyDestination] = []
    ) {
        self.generation = generation
        self.workloads = workloads
        self.remotePods = remotePods
        self.tunnels = tunnels
        self.trustDomain = trustDomain
        self.services = services
        self.destinations = destinations
        var destinationPlaces: [IPAddress: Int] = [:]
        for (index, destination) in destinations.enumerated() {
            for address in destination.addresses { destinationPlaces[address] = index }
        }
        self.destinationPlaces = destinationPlaces
        var places: [Place: Int32] = [:]
        var byName: [ClusterKey: Int32] = [:]
        var clientPlaces: Set<Place> = []
        var spokenPlaces: [Place: PortProtocol] = [:]
        var alternates: [ProxyEndpoint: IPAddress] = [:]
        for (index, service) in services.enumerated() {
            byName[ClusterKey(service)] = Int32(index)
            for address in service.addresses {
                let place = Place(address: address, port: service.port)
                if places[place] == nil { places[place] = Int32(index) }
            }
            alternates.merge(service.alternates) { first, _ in first }
            let spoken = service.spoken
            let isSaid = spoken != .unknown && !destinationPlaces.isEmpty
            guard isSaid || service.policy.poolsPerClient else { continue }
            for endpoint in service.endpoints.map(\.identity) {
                let known = ProxyEndpoint(address: endpoint.address, port: endpoint.port)
                for address in [endpoint.address, service.alternates[known]].compactMap(\.self) {
                    let place = Place(address: address, port: endpoint.port)
                    if service.policy.poolsPerClient { clientPlaces.insert(place) }
                    guard isSaid, destinationPlaces[address] != nil else { continue }
                    // Where two disagree nobody has said anything.
                    spokenPlaces[place] = spokenPlaces[place, default: spoken] == spoken ? spoken : .unknown
                }
            }
        }
        self.places = places
        self.spokenPlaces = spokenPlaces
        self.clientPlaces = clientPlaces
        self.alternates = alternates

        var routers: [Router] = []
        var indices: [ObjectIdentifier: Int32] = [:]
        func index(_ router: Router) -> Int32 {
            if let known = indices[ObjectIdentifier(router)] { return known }
            routers.append(router)
            indices[ObjectIdentifier(router)] = Int32(routers.count - 1)
            return Int32(routers.count - 1)
        }
        var producers: [Int32] = []
        var consumers: [[String: Int32]] = []
        for service in services {
            let found = table?.routers(for: service.name, port: service.port)
            producers.append(found?.producer.map(index) ?? -1)
            consumers.append(found?.consumers.mapValues(index) ?? [:])
        }
        self.producers = producers
        self.routes = consumers
        self.routers = routers
        self.byName = byName
        plans = PlanMemory(
            services: services, routers: routers, workloads: workloads, remotePods: remotePods,
            trustDomain: trustDomain,
            destinations: destinations, places: destinationPlaces
        ) { byName[ClusterKey($0, $1)] ?? -1 }
    }

    deinit { plans.deallocate() }

    /// What a client's connection has to do with. All of it lives as long as the snapshot.
    struct Binding {
        /// Without one the connection goes where it meant to go, as what comes in to a pod from outside always does:
        /// routes are for clients in the mesh.
        var service: UnsafePointer<ServicePlan>?
        var router: UnsafePointer<RouterPlan>?
        /// Of where it meant to go, if that is no Service.
        var authorizer: UnsafePointer<AuthorizerPlan>?
        var source: UnsafePointer<RequestSource>?
        /// Whether it meant to go to an endpoint that is to see each client's address.
        var showsClient = false
        var spoken = PortProtocol.unknown
        /// The family that the pod it came from has no address of; sockets of that one cannot be made there.
        var missing = MissingFamily.none
    }

    enum MissingFamily: UInt8, BitwiseCopyable {
        case none, ipv4, ipv6
    }

    func binding(_ origin: ConnectionOrigin) -> Binding {
        var binding = Binding(source: source(origin))
        if origin.direction == .outbound, let addresses = workloads[origin.sourceNetwork]?.addresses,
            let first = addresses.first, addresses.allSatisfy({ $0.isIPv4 == first.isIPv4 })
        {
            binding.missing = first.isIPv4 ? .ipv6 : .ipv4
        }
        guard origin.direction == .outbound,
            let index = places[Place(address: origin.destination, port: origin.destinationPort)]
        else {
            binding.authorizer = authorizer(of: origin.destination)
            let place = Place(address: origin.destination, port: origin.destinationPort)
            binding.showsClient = !clientPlaces.isEmpty && clientPlaces.contains(place)
            if !spokenPlaces.isEmpty, let spoken = spokenPlaces[place] { binding.spoken = spoken }
            return binding
        }
        var router = producers[Int(index)]
        if let namespace = workloads[origin.sourceNetwork]?.name.namespace,
            let own = routes[Int(index)][namespace]
        {
            router = own
        }
        binding.service = plans.services + Int(index)
        binding.spoken = plans.services[Int(index)].spoken
        binding.router = router < 0 ? nil : plans.routers + Int(router)
        return binding
    }

    /// Whether anything here asks for the requests of a pod's connection: routes of the Service that it goes to, or
    /// policies of some endpoint.
    public func decidesRequests(of origin: ConnectionOrigin) -> Bool {
        let binding = binding(origin)
        guard let service = binding.service else { return binding.authorizer != nil }
        if binding.router != nil { return true }
        if case .none = service.pointee.authorization { return false }
        return true
    }

    /// Where the pod of an endpoint is reached by the other family; `nil`: nowhere.
    func alternate(of endpoint: ProxyEndpoint) -> IPAddress? { alternates[endpoint] }

    var serviceCount: Int { services.count }

    func index(of key: ClusterKey) -> Int? { byName[key].map { Int($0) } }

    /// Who decides about requests to an address; `nil`: it takes all.
    func authorizer(of address: IPAddress) -> UnsafePointer<AuthorizerPlan>? {
        destinationPlaces[address].map { plans.authorizers + $0 }
    }

    /// Who sends; `nil`: nobody who is known.
    private func source(_ origin: ConnectionOrigin) -> UnsafePointer<RequestSource>? {
        origin.isProved ? plans.remoteSources[origin.client] : plans.sources[origin.sourceNetwork]
    }

    func service(_ index: Int32) -> UnsafePointer<ServicePlan> { plans.services + Int(index) }

    /// The Service and port of ``RequestRecord/service``.
    public func serviceName(_ index: Int32) -> (name: NamespacedName, port: UInt16)? {
        index >= 0 && Int(index) < services.count ? (services[Int(index)].name, services[Int(index)].port) : nil
    }

    /// The Service and port that a client has asked for.
    public func serviceName(at origin: ConnectionOrigin) -> (name: NamespacedName, port: UInt16)? {
        places[Place(address: origin.destination, port: origin.destinationPort)].flatMap(serviceName)
    }

    /// The route, and the rule's place in it, of ``RequestRecord/rule``.
    public func ruleName(_ index: Int32) -> (route: ObjectReference, rule: Int)? {
        guard let place = plans.place(ofRule: index) else { return nil }
        let rule = routers[place.router].rules[place.rule]
        return (rule.route, rule.index)
    }

    // MARK: - Text for logs. Lent: it lives as long as the snapshot.

    /// `web.shop.svc.cluster.local` for what a client has asked for; `nil`: no Service.
    public func serviceText(_ origin: borrowing ConnectionOrigin) -> UnsafeRawBufferPointer? {
        places[Place(address: origin.destination, port: origin.destinationPort)].map { plans.serviceTexts[Int($0)] }
    }

    /// `HTTPRoute shop/web rule 0` for ``RequestRecord/rule``.
    public func ruleText(_ index: Int32) -> UnsafeRawBufferPointer? {
        index >= 0 && Int(index) < plans.ruleTexts.count ? plans.ruleTexts[Int(index)] : nil
    }

    /// The policy's rule of ``RequestRecord/decision``.
    public func decisionText(_ index: Int32) -> UnsafeRawBufferPointer? {
        index >= 0 && Int(index) < plans.decisionTexts.count ? plans.decisionTexts[Int(index)] : nil
    }

    /// Who is in a network namespace.
    public func workloadText(_ network: UInt64) -> WorkloadText? { plans.workloads[network] }

    /// Which pod, of whatever node, has an address.
    public func remotePodText(_ address: IPAddress) -> WorkloadText? { plans.remotePods[address] }

    /// What the rule of a plan was compiled from, for what is not laid out in memory.
    func rule(_ plan: UnsafePointer<RulePlan>) -> CompiledRouteRule {
        routers[Int(plan.pointee.router)].rules[Int(plan.pointee.index)]
    }
}
