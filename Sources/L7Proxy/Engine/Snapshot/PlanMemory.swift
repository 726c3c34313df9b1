// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// Owns the memory of all plans of a snapshot. Written by its initialiser only.
struct PlanMemory {
    let services: UnsafePointer<ServicePlan>
    let routers: UnsafePointer<RouterPlan>
    /// For lines of a log: of each service, of each rule by its id, of each network namespace.
    let serviceTexts: UnsafeBufferPointer<UnsafeRawBufferPointer>
    let ruleTexts: UnsafeBufferPointer<UnsafeRawBufferPointer>
    let workloads: [UInt64: WorkloadText]
    /// Who sends from each network namespace; the address is not set.
    let sources: [UInt64: UnsafePointer<RequestSource>]
    /// The same by addresses, of whoever comes through a tunnel: pods of other nodes, and of this one.
    let remotePods: [IPAddress: WorkloadText]
    let remoteSources: [IPAddress: UnsafePointer<RequestSource>]
    /// Of each destination, in their order.
    let authorizers: UnsafePointer<AuthorizerPlan>
    let decisionTexts: UnsafeBufferPointer<UnsafeRawBufferPointer>
    private let ruleStarts: [Int32]
    private let arena: Arena

    /// - Parameters:
    ///   - places: The index of the destination that has an address.
    ///   - find: The index of a Service's port; -1: there is none.
    init(
        services: [ProxyService], routers: [Router], workloads: [UInt64: ProxyWorkload],
        remotePods: [IPAddress: ProxyWorkload], trustDomain: String, destinations: [ProxyDestination],
        places: [IPAddress: Int], find: (NamespacedName, UInt16) -> Int32
    ) {
        let arena = Arena()
        self.arena = arena
        var texts: [String] = []
        var known: [ObjectIdentifier: AuthorizerPlan] = [:]
        let authorizers = arena.allocate(
            destinations.map { destination in
                let authorizer = destination.authorizer
                if let plan = known[ObjectIdentifier(authorizer)] { return plan }
                let plan = AuthorizerPlan(
                    authorizer: Unmanaged.passUnretained(authorizer), firstText: Int32(texts.count),
                    ruleCount: Int32(authorizer.rules.count))
                texts += AuthorizerPlan.texts(authorizer)
                known[ObjectIdentifier(authorizer)] = plan
                return plan
            })
        self.authorizers = authorizers
        decisionTexts = arena.buffer(texts.map { arena.bytes(Array($0.utf8)) })
        func source(_ workload: ProxyWorkload) -> UnsafePointer<RequestSource> {
            let name = "\(trustDomain)/ns/\(workload.name.namespace)/sa/\(workload.serviceAccount)"
            let source = RequestSource(principal: arena.bytes(Array(name.utf8)), address: IPAddress(v4: 0))
            return arena.allocate([source])
        }
        sources = workloads.mapValues(source)
        // Pods of this node that encrypt come through tunnels too.
        let local = Dictionary(
            workloads.values.flatMap { workload in workload.addresses.map { ($0, workload) } },
            uniquingKeysWith: { $1 })
        let ends = remotePods.merging(local) { remote, _ in remote }
        remoteSources = ends.mapValues(source)
        self.services = arena.allocate(
            services.enumerated().map { index, service in
                Self.plan(service, Int32(index), places.isEmpty ? nil : { places[$0].map { authorizers + $0 } }, arena)
            })
        var starts: [Int32] = []
        var plans: [RouterPlan] = []
        var id: Int32 = 0
        for (index, router) in routers.enumerated() {
            starts.append(id)
            let rules = router.rules.enumerated().map { place, rule in
                Self.plan(rule, id: id + Int32(place), router: Int32(index), index: Int32(place), arena, find)
            }
            id += Int32(rules.count)
            plans.append(RouterPlan(router: Unmanaged.passUnretained(router), rules: arena.buffer(rules)))
        }
        starts.append(id)
        ruleStarts = starts
        serviceTexts = arena.buffer(
            services.map { arena.bytes(Array("\($0.name.name).\($0.name.namespace).svc.cluster.local".utf8)) })
        ruleTexts = arena.buffer(
            routers.flatMap(\.rules).map { arena.bytes(Array("\($0.route) rule \($0.index)".utf8)) })
        func text(_ workload: ProxyWorkload) -> WorkloadText {
            WorkloadText(
                name: arena.bytes(Array(workload.name.name.utf8)),
                namespace: arena.bytes(Array(workload.name.namespace.utf8)))
        }
        self.workloads = workloads.mapValues(text)
        self.remotePods = ends.mapValues(text)
        self.routers = arena.allocate(plans)
    }

    /// The router and the rule's index in it.
    func place(ofRule id: Int32) -> (router: Int, rule: Int)? {
        guard id >= 0, let last = ruleStarts.last, id < last else { return nil }
        let router = ruleStarts.lastIndex { $0 <= id } ?? 0
        return (router, Int(id - ruleStarts[router]))
    }

    func deallocate() { arena.deallocate() }

    private static func plan(
        _ rule: CompiledRouteRule, id: Int32, router: Int32, index: Int32, _ arena: Arena,
        _ find: (NamespacedName, UInt16) -> Int32
    ) -> RulePlan {
        let backends = rule.backends.enumerated().map { place, backend in
            BackendPlan(
                service: Self.place(of: backend.target, find), index: Int32(place),
                traits: Self.traits(backend.actions),
                request: plan(backend.actions.requestHeaders, arena),
                response: plan(backend.actions.responseHeaders, arena),
                mirrors: plan(backend.actions.mirrors, arena, find))
        }
        var traits = Self.traits(rule.actions)
        if backends.contains(where: { $0.traits.contains(.mirrors) }) { traits.insert(.mirrors) }
        if rule.failure != nil { traits.insert(.failure) }
        if rule.retry != nil { traits.insert(.retry) }
        if rule.route.kind == MeshRoute.Kind.grpc.rawValue { traits.insert(.grpc) }
        let weights = rule.backends.map(\.weight)
        let shares = AliasTable(weights: weights.contains { $0 > 0 } ? weights : [])
        return RulePlan(
            id: id, router: router, index: index, traits: traits, backends: arena.buffer(backends),
            columns: arena.buffer(shares.columns), request: plan(rule.actions.requestHeaders, arena),
            response: plan(rule.actions.responseHeaders, arena),
            requestTimeout: rule.timeouts.request?.milliseconds ?? .max,
            backendTimeout: rule.timeouts.backendRequest?.milliseconds ?? .max,
            retryStatuses: StatusSet(rule.retry?.codes ?? []), mirrors: plan(rule.actions.mirrors, arena, find))
    }

    private static func plan(
        _ mirrors: [RouteActions.Mirror], _ arena: Arena, _ find: (NamespacedName, UInt16) -> Int32
    ) -> UnsafeBufferPointer<MirrorPlan> {
        arena.buffer(mirrors.map { MirrorPlan(service: place(of: $0.target, find), share: $0.share) })
    }

    private static func place(
        of target: RouteBackendResolution, _ find: (NamespacedName, UInt16) -> Int32
    ) -> Int32 {
        guard case .service(let name, let port) = target else { return -1 }
        return find(name, port)
    }

    private static func plan(
        _ service: ProxyService, _ index: Int32, _ find: ((IPAddress) -> UnsafePointer<AuthorizerPlan>?)?,
        _ arena: Arena
    ) -> ServicePlan {
        let policy = service.policy
        let key: KeyPlan =
            switch policy.key {
            case .none: .none
            case .sourceAddress: .sourceAddress
            case .header(let name): .header(plan(name, arena))
            }
        let limits = policy.limits.map { limit in
            let (subject, name): (LimitPlan.Subject, String) =
                switch limit.subject {
                case .route: (.route, "route")
                case .sourceIdentity: (.sourceIdentity, "source-identity")
                case .header(let name): (.header(plan(name, arena)), "header")
                }
            return LimitPlan(subject: subject, isDryRun: limit.isDryRun, name: arena.bytes(Array(name.utf8)))
        }
        return ServicePlan(
            index: index, port: service.port, isHTTP2: service.isHTTP2, spoken: service.spoken, key: key,
            limits: arena.buffer(limits),
            fault: policy.fault, poolsPerClient: policy.poolsPerClient,
            authorization: find.map { authorization(service, $0) } ?? .none, detectTimeout: policy.detectTimeout,
            connectTimeout: policy.connectTimeout, requestTimeout: policy.requestTimeout,
            backendTimeout: policy.backendTimeout)
    }

    private static func authorization(
        _ service: ProxyService, _ find: (IPAddress) -> UnsafePointer<AuthorizerPlan>?
    ) -> ServiceAuthorization {
        let found = service.endpoints.map { find($0.identity.address) }
        guard let first = found.first else { return .none }
        // Pods with the same policies have one authorizer, and two plans of it.
        guard
            found.allSatisfy({
                $0?.pointee.authorizer.toOpaque() == first?.pointee.authorizer.toOpaque()
            })
        else { return .mixed }
        return first.map { .uniform($0) } ?? .none
    }

    private static func plan(_ name: String, _ arena: Arena) -> HeaderPlan.Name { plan(name: Array(name.utf8), arena) }

    private static func plan(name: [UInt8], _ arena: Arena) -> HeaderPlan.Name {
        let text = arena.bytes(name)
        let known = text.baseAddress.map { FieldNameIndex.shared.recognise($0, text.count) } ?? .other
        return HeaderPlan.Name(known: known, text: text)
    }

    private static func traits(_ actions: RouteActions) -> RulePlan.Traits {
        var traits: RulePlan.Traits = []
        if actions.redirect != nil { traits.insert(.redirect) }
        if actions.cors != nil { traits.insert(.cors) }
        if actions.rewrite != nil { traits.insert(.rewrite) }
        if !actions.mirrors.isEmpty { traits.insert(.mirrors) }
        return traits
    }

    private static func plan(_ modification: HeaderModification?, _ arena: Arena) -> HeaderPlan {
        guard let modification else { return HeaderPlan() }
        let dropped = modification.dropped.map { plan(name: $0, arena) }
        let added = modification.added.map { field in
            HeaderPlan.Line(name: arena.bytes(Array(field.name.utf8)), value: arena.bytes(Array(field.value.utf8)))
        }
        return HeaderPlan(dropped: arena.buffer(dropped), added: arena.buffer(added))
    }
}

/// Allocations that are freed together.
private final class Arena {
    private var blocks: [UnsafeMutableRawPointer] = []

    func allocate<Element: BitwiseCopyable>(_ elements: [Element]) -> UnsafePointer<Element> {
        let memory = UnsafeMutablePointer<Element>.allocate(capacity: max(1, elements.count))
        for (index, element) in elements.enumerated() { (memory + index).initialize(to: element) }
        blocks.append(UnsafeMutableRawPointer(memory))
        return UnsafePointer(memory)
    }

    func buffer<Element: BitwiseCopyable>(_ elements: [Element]) -> UnsafeBufferPointer<Element> {
        if elements.isEmpty { return UnsafeBufferPointer(start: nil, count: 0) }
        return UnsafeBufferPointer(start: allocate(elements), count: elements.count)
    }

    func bytes(_ bytes: [UInt8]) -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(buffer(bytes)) }

    func deallocate() {
        for block in blocks { block.deallocate() }
        blocks = []
    }
}
