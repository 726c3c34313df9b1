// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// Where requests may be sent.
public struct ProxyEndpoint: Hashable, Sendable, BitwiseCopyable {
    public var address: IPAddress
    public var port: UInt16
    public var weight: UInt32

    public init(address: IPAddress, port: UInt16, weight: UInt32 = 1) {
        self.address = address
        self.port = port
        self.weight = weight
    }
}

/// A TCP port of a Service: where clients connect to and who answers.
public struct ProxyService: Sendable {
    public var name: NamespacedName
    /// The Service's port.
    public var port: UInt16
    /// Its addresses. None: it can only be a route's backend.
    public var addresses: [IPAddress]
    /// Endpoints that are ready.
    public var endpoints: [ProxyEndpoint]
    /// Its `appProtocol` (KEP-3726), which says what its endpoints speak.
    public var appProtocol: String?

    /// Whether requests are sent to it by HTTP/2 with prior knowledge.
    var isHTTP2: Bool { appProtocol == "kubernetes.io/h2c" || appProtocol == "grpc" }

    public init(
        name: NamespacedName, port: UInt16, addresses: [IPAddress], endpoints: [ProxyEndpoint],
        appProtocol: String? = nil
    ) {
        self.name = name
        self.port = port
        self.addresses = addresses
        self.endpoints = endpoints
        self.appProtocol = appProtocol
    }

    /// The TCP ports of a Service with the backends that were chosen for each.
    public static func ports(of service: Service, backends: (UInt16) -> [Backend]) -> [ProxyService] {
        service.ports.filter { $0.transport == .tcp }.map { port in
            ProxyService(
                name: service.namespacedName, port: port.port,
                addresses: service.clusterIPs + service.externalIPs + service.loadBalancerIPs,
                endpoints: backends(port.port).map {
                    ProxyEndpoint(address: $0.address, port: $0.port, weight: $0.weight)
                }, appProtocol: port.appProtocol)
        }
    }
}

/// Who is in a network namespace of this node.
public struct ProxyWorkload: Hashable, Sendable {
    public var name: NamespacedName
    public var serviceAccount: String

    public init(name: NamespacedName, serviceAccount: String) {
        self.name = name
        self.serviceAccount = serviceAccount
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
    private let places: [Place: Int32]
    private let routes: [[String: Int32]]
    /// Index of the router of the Service's own routes for each service; -1: none.
    private let producers: [Int32]
    private let names: [(name: NamespacedName, port: UInt16)]
    let routers: [Router]
    // Filled before init returns and never written afterwards: safe from every thread.
    private nonisolated(unsafe) let plans: PlanMemory

    /// - Parameters:
    ///   - generation: Greater than that of every snapshot before.
    ///   - services: Of two that claim an address and port the first has it.
    ///   - routes: Compiled from the same Services; `nil`: there are none.
    ///   - workloads: By the cookie of their network namespace.
    public init(
        generation: UInt64, services: [ProxyService], routes table: RouteTable? = nil,
        workloads: [UInt64: ProxyWorkload] = [:]
    ) {
        self.generation = generation
        self.workloads = workloads
        names = services.map { ($0.name, $0.port) }
        var places: [Place: Int32] = [:]
        var byName: [String: Int32] = [:]
        for (index, service) in services.enumerated() {
            byName["\(service.name):\(service.port)"] = Int32(index)
            for address in service.addresses {
                let place = Place(address: address, port: service.port)
                if places[place] == nil { places[place] = Int32(index) }
            }
        }
        self.places = places

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
        plans = PlanMemory(services: services, routers: routers, workloads: workloads) { byName["\($0):\($1)"] ?? -1 }
    }

    deinit { plans.deallocate() }

    /// The Service and the router for a client's connection. Neither: the connection goes where it meant to go.
    ///
    /// Both live as long as the snapshot.
    func binding(
        _ origin: ConnectionOrigin
    ) -> (service: UnsafePointer<ServicePlan>?, router: UnsafePointer<RouterPlan>?) {
        guard let index = places[Place(address: origin.destination, port: origin.destinationPort)] else {
            return (nil, nil)
        }
        var router = producers[Int(index)]
        if let namespace = workloads[origin.sourceNetwork]?.name.namespace,
            let own = routes[Int(index)][namespace]
        {
            router = own
        }
        return (plans.services + Int(index), router < 0 ? nil : plans.routers + Int(router))
    }

    var serviceCount: Int { names.count }

    func service(_ index: Int32) -> UnsafePointer<ServicePlan> { plans.services + Int(index) }

    /// The Service and port of ``RequestRecord/service``.
    public func serviceName(_ index: Int32) -> (name: NamespacedName, port: UInt16)? {
        index >= 0 && Int(index) < names.count ? names[Int(index)] : nil
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

    /// Who is in a network namespace.
    public func workloadText(_ network: UInt64) -> WorkloadText? { plans.workloads[network] }

    /// What the rule of a plan was compiled from, for what is not laid out in memory.
    func rule(_ plan: UnsafePointer<RulePlan>) -> CompiledRouteRule {
        routers[Int(plan.pointee.router)].rules[Int(plan.pointee.index)]
    }
}
