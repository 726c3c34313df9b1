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
    private let ruleStarts: [Int32]
    private let arena: Arena

    /// - Parameter find: The index of a Service's port; -1: there is none.
    init(
        services: [ProxyService], routers: [Router], workloads: [UInt64: ProxyWorkload],
        find: (NamespacedName, UInt16) -> Int32
    ) {
        let arena = Arena()
        self.arena = arena
        self.services = arena.allocate(
            services.enumerated().map { index, service in
                ServicePlan(
                    index: Int32(index), port: service.port, isHTTP2: service.isHTTP2,
                    endpoints: arena.buffer(service.endpoints))
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
        self.workloads = workloads.mapValues {
            WorkloadText(
                name: arena.bytes(Array($0.name.name.utf8)), namespace: arena.bytes(Array($0.name.namespace.utf8)))
        }
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
            var service: Int32 = -1
            if case .service(let name, let port) = backend.target { service = find(name, port) }
            return BackendPlan(
                service: service, index: Int32(place), traits: Self.traits(backend.actions),
                request: plan(backend.actions.requestHeaders, arena),
                response: plan(backend.actions.responseHeaders, arena))
        }
        var traits = Self.traits(rule.actions)
        if rule.failure != nil { traits.insert(.failure) }
        if rule.retry != nil { traits.insert(.retry) }
        if rule.route.kind == MeshRoute.Kind.grpc.rawValue { traits.insert(.grpc) }
        let weights = rule.backends.map(\.weight)
        let shares = AliasTable(weights: weights.contains { $0 > 0 } ? weights : [])
        return RulePlan(
            id: id, router: router, index: index, traits: traits, backends: arena.buffer(backends),
            columns: arena.buffer(shares.columns), request: plan(rule.actions.requestHeaders, arena),
            response: plan(rule.actions.responseHeaders, arena),
            requestTimeout: rule.timeouts.request?.milliseconds ?? 0,
            backendTimeout: rule.timeouts.backendRequest?.milliseconds ?? 0,
            retryStatuses: StatusSet(rule.retry?.codes ?? []))
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
        let dropped = modification.dropped.map { name in
            let text = arena.bytes(name)
            let known = text.baseAddress.map { FieldNameIndex.shared.recognise($0, text.count) } ?? .other
            return HeaderPlan.Name(known: known, text: text)
        }
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
