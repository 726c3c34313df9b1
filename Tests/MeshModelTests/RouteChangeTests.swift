// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import MeshModel

/// A table that has gone through changes against one that is built anew.
@Suite struct RouteChangeTests {
    /// The objects as an API server would have them.
    private struct World {
        var routes: [ObjectReference: MeshRoute] = [:]
        var services: [NamespacedName: Service] = [:]
        var grants: [NamespacedName: ReferenceGrant] = [:]

        var objects: RouteObjects {
            RouteObjects(
                routes: Array(routes.values), services: Array(services.values), grants: Array(grants.values))
        }

        mutating func apply(_ change: RouteChange) {
            switch change {
            case .route(let route): routes[route.reference] = route
            case .removeRoute(let reference): routes[reference] = nil
            case .service(let service): services[service.namespacedName] = service
            case .removeService(let name): services[name] = nil
            case .grant(let grant): grants[grant.metadata.namespacedName] = grant
            case .removeGrant(let name): grants[name] = nil
            }
        }
    }

    static let namespaces = ["shop", "bank", "blog"]
    static let names = ["web", "other", "v1"]

    private static func service(_ generator: inout RouteGenerator) -> Service {
        Service(
            metadata: ObjectMetadata(name: generator.random.pick(names), namespace: generator.random.pick(namespaces)),
            kind: generator.random.chance(10) ? .externalName : .clusterIP, isHeadless: generator.random.chance(10),
            ports: generator.random.chance(80)
                ? RouteGenerator.service.ports : [.init(name: "http", port: 80, appProtocol: "https")])
    }

    private static func backend(_ generator: inout RouteGenerator) -> RouteBackendReference {
        RouteBackendReference(
            namespace: generator.random.pick([nil] + namespaces), name: generator.random.pick(names),
            port: generator.random.pick([80, 8080]))
    }

    /// With backends, which the generator leaves out.
    private static func routes(_ generator: inout RouteGenerator) -> [MeshRoute] {
        generator.routes().map { route in
            guard case .http(var http) = route else { return route }
            for index in http.rules.indices {
                if generator.random.chance(60) { http.rules[index].backends = [.init(reference: backend(&generator))] }
                if generator.random.chance(20) {
                    let mirror = RequestMirror(backend: backend(&generator), numerator: 1, denominator: 2)
                    http.rules[index].filters = [.requestMirror(mirror)]
                }
            }
            return .http(http)
        }
    }

    private static func grant(_ generator: inout RouteGenerator) -> ReferenceGrant {
        ReferenceGrant(
            metadata: ObjectMetadata(
                name: "g\(generator.random.pick([1, 2]))", namespace: generator.random.pick(namespaces)),
            from: [.init(kind: "HTTPRoute", namespace: generator.random.pick(namespaces))],
            to: [.init(name: generator.random.pick([nil] + names))])
    }

    private static func changes(_ generator: inout RouteGenerator, _ world: World) -> [RouteChange] {
        switch generator.random.pick(Array(0..<8)) {
        case 0, 1: routes(&generator).map(RouteChange.route)
        case 2:
            routes(&generator).prefix(1).map(RouteChange.route) + routes(&generator).map { .removeRoute($0.reference) }
        case 3: [.service(service(&generator))]
        case 4: [.removeService(service(&generator).namespacedName)]
        case 5: [.grant(grant(&generator))]
        case 6: [.removeGrant(grant(&generator).metadata.namespacedName)]
        default:
            routes(&generator).prefix(2).map(RouteChange.route)
                + [.service(service(&generator)), .grant(grant(&generator))]
        }
    }

    /// What a table says about everything that can be asked.
    private static func answers(_ table: RouteTable, _ requests: [RouteOracle.Request]) -> [String] {
        var answers: [String] = []
        for name in names {
            for namespace in namespaces {
                for port in [80, 8080, 53] as [UInt16] {
                    for client in namespaces + ["far"] {
                        let service = NamespacedName(namespace: namespace, name: name)
                        guard let router = table.router(for: service, port: port, clientNamespace: client) else {
                            answers.append("no route")
                            continue
                        }
                        for request in requests {
                            guard let match = router.match(request) else {
                                answers.append("no rule")
                                continue
                            }
                            let rule = router.rules[match.rule]
                            answers.append(
                                "\(rule.route) \(rule.index) \(match.match) \(String(describing: match.prefixLength)) "
                                    + "\(rule.backends.map(\.target)) \(rule.actions.mirrors.map(\.target))")
                        }
                    }
                }
            }
        }
        return answers
    }

    @Test(arguments: 0..<8 as Range<UInt64>)
    func equalsTheTableBuiltAnew(_ batch: UInt64) {
        var matched = 0
        for seed in batch * 5..<batch * 5 + 5 {
            var generator = RouteGenerator(seed: seed + 1000)
            var world = World()
            for service in [RouteGenerator.service, Self.service(&generator), Self.service(&generator)] {
                world.apply(.service(service))
            }
            var table = RouteTable(world.objects)
            for step in 0..<12 {
                let changes = Self.changes(&generator, world)
                let before = table
                let statuses = table.statuses
                let requests = (0..<6).map { _ in generator.request() }
                let answers = Self.answers(table, requests)
                for change in changes { world.apply(change) }
                table = table.applying(changes)
                let anew = RouteTable(world.objects)
                let found = Self.answers(table, requests)
                #expect(found == Self.answers(anew, requests), "seed \(seed), step \(step): \(changes)")
                #expect(table.statuses == anew.statuses, "seed \(seed), step \(step): \(changes)")
                // Who reads the old table is not disturbed.
                #expect(Self.answers(before, requests) == answers && before.statuses == statuses)
                matched += found.count { $0.hasPrefix("HTTPRoute") || $0.hasPrefix("GRPCRoute") }
            }
        }
        #expect(matched > 500)
    }

    /// A table of routes on as many Services.
    private static func wide(_ count: Int) -> RouteTable {
        RouteTable(
            RouteObjects(
                routes: (0..<count).map { route($0, path: "/") },
                services: (0..<count).map {
                    Service(
                        metadata: ObjectMetadata(name: "s\($0)", namespace: "shop"), ports: [.init(name: "h", port: 80)]
                    )
                }))
    }

    private static func route(_ number: Int, path: String) -> MeshRoute {
        .http(
            HTTPRoute(
                metadata: ObjectMetadata(name: "r\(number)", namespace: "shop"),
                parentRefs: [.init(name: "s\(number)")],
                rules: [.init(matches: [.init(path: .prefix(path))])]))
    }

    @Test func whatIsNotTouchedIsShared() throws {
        let table = Self.wide(50)
        let next = table.applying([.route(Self.route(7, path: "/new"))])
        for number in 0..<50 {
            let service = NamespacedName(namespace: "shop", name: "s\(number)")
            let old = try #require(table.router(for: service, port: 80, clientNamespace: "shop"))
            let new = try #require(next.router(for: service, port: 80, clientNamespace: "shop"))
            #expect((old === new) == (number != 7))
        }
        #expect(next.status(of: Self.route(7, path: "/").reference)?.parents.count == 1)
        let gone = next.applying([.removeRoute(Self.route(7, path: "/").reference)])
        #expect(gone.status(of: Self.route(7, path: "/").reference) == nil)
        #expect(gone.statuses.count == 49)
        #expect(
            gone.router(for: NamespacedName(namespace: "shop", name: "s7"), port: 80, clientNamespace: "shop") == nil)
    }
}
