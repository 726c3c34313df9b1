// SPDX-License-Identifier: Apache-2.0

import MeshModel
import TestSupport
import Testing

@Suite struct RouteStatusTests {
    private func service(
        _ name: String, _ namespace: String = "shop", kind: Service.Kind = .clusterIP, isHeadless: Bool = false,
        appProtocol: String? = nil
    ) -> Service {
        Service(
            metadata: ObjectMetadata(name: name, namespace: namespace), kind: kind, isHeadless: isHeadless,
            ports: [
                .init(name: "http", port: 80, appProtocol: appProtocol), .init(name: "dns", port: 53, transport: .udp),
            ])
    }

    private var services: [Service] {
        [
            service("web"), service("v1"), service("headless", isHeadless: true), service("tls", appProtocol: "https"),
            service("outside", kind: .externalName), service("ledger", "bank"), service("vault", "bank"),
        ]
    }

    private func route(
        _ name: String = "r", namespace: String = "shop", parents: [RouteParentReference] = [.init(name: "web")],
        rules: [HTTPRoute.Rule]
    ) -> HTTPRoute {
        HTTPRoute(
            metadata: ObjectMetadata(name: name, namespace: namespace), generation: 7, parentRefs: parents, rules: rules
        )
    }

    private func status(
        _ route: HTTPRoute, others: [MeshRoute] = [], grants: [ReferenceGrant] = []
    ) throws -> RouteStatus {
        let table = RouteTable(RouteObjects(routes: [.http(route)] + others, services: services, grants: grants))
        return try #require(table.statuses.first { $0.route == MeshRoute.http(route).reference })
    }

    @Test func acceptedAndResolved() throws {
        let status = try status(route(rules: [.init(backends: [.init(reference: .init(name: "v1", port: 80))])]))
        let parent = try #require(status.parents.first)
        #expect(parent.conditions.map(\.kind) == [.accepted, .resolvedRefs])
        #expect(parent[.accepted]?.isTrue == true && parent[.accepted]?.reason == .accepted)
        #expect(parent[.accepted]?.message == "attached to port 80 of Service shop/web, for all clients")
        #expect(parent[.resolvedRefs]?.isTrue == true && parent[.resolvedRefs]?.reason == .resolvedRefs)
        #expect(parent.conditions.allSatisfy { $0.observedGeneration == 7 })
    }

    @Test(arguments: [
        (RouteParentReference(name: "absent"), "Service shop/absent not found"),
        (RouteParentReference(name: "headless"), "Service shop/headless is headless: it has no address of its own"),
        (RouteParentReference(name: "outside"), "Service shop/outside is an ExternalName"),
        (RouteParentReference(name: "web", port: 81), "Service shop/web has no TCP port 81"),
        (RouteParentReference(name: "web", port: 53), "Service shop/web has no TCP port 53"),
        (RouteParentReference(name: "web", sectionName: "alt"), "Service shop/web has no TCP port named alt"),
        (
            RouteParentReference(name: "web", sectionName: "dns", port: 80),
            "Service shop/web has no TCP port 80 named dns"
        ),
    ])
    func noMatchingParent(_ parent: RouteParentReference, _ message: String) throws {
        let found = try #require(try status(route(parents: [parent], rules: [.init()])).parents.first)
        #expect(found[.accepted]?.isTrue == false)
        #expect(found[.accepted]?.reason == .noMatchingParent && found[.accepted]?.message == message)
        #expect(found[.partiallyInvalid] == nil)
    }

    @Test func otherParentsAreNotOurs() throws {
        let gateway = RouteParentReference(group: RouteParentReference.gatewayGroup, kind: "Gateway", name: "web")
        #expect(try status(route(parents: [gateway], rules: [.init()])).parents.isEmpty)
        #expect(try status(route(parents: [gateway, .init(name: "web")], rules: [.init()])).parents.count == 1)
    }

    @Test(
        arguments: [
            (RouteBackendReference(name: "absent", port: 80), .backendNotFound, "Service shop/absent not found"),
            (.init(name: "v1", port: 81), .backendNotFound, "Service shop/v1 has no TCP port 81"),
            (.init(name: "v1", port: 53), .backendNotFound, "Service shop/v1 has no TCP port 53"),
            (
                .init(name: "outside", port: 80), .backendNotFound,
                "Service shop/outside is an ExternalName, which has no endpoints"
            ),
            (
                .init(group: "example.com", kind: "Bucket", name: "b"), .invalidKind,
                "Bucket of example.com cannot be a backend, only a Service"
            ),
            (.init(name: "tls", port: 80), .unsupportedProtocol, "Service shop/tls speaks https on port 80"),
            (
                .init(namespace: "bank", name: "ledger", port: 80), .refNotPermitted,
                "Service bank/ledger is in another namespace, and no ReferenceGrant there permits it to a HTTPRoute of shop"
            ),
            // Whether a Service that one may not refer to exists is not told.
            (
                .init(namespace: "bank", name: "absent", port: 80), .refNotPermitted,
                "Service bank/absent is in another namespace, and no ReferenceGrant there permits it to a HTTPRoute of shop"
            ),
        ] as [(RouteBackendReference, RouteCondition.Reason, String)])
    func unresolved(_ reference: RouteBackendReference, _ reason: RouteCondition.Reason, _ message: String) throws {
        let good = RouteBackend(reference: .init(name: "v1", port: 80))
        let asBackend = try status(route(rules: [.init(backends: [good, .init(reference: reference)])]))
        let condition = try #require(asBackend.parents.first?[.resolvedRefs])
        #expect(!condition.isTrue && condition.reason == reason)
        #expect(condition.message == "spec.rules[0].backendRefs[1]: \(message)")
        // The route is accepted all the same: the other backends serve.
        #expect(asBackend.parents.first?[.accepted]?.isTrue == true)
        let asMirror = try status(route(rules: [.init(filters: [.requestMirror(.init(backend: reference))])]))
        #expect(
            asMirror.parents.first?[.resolvedRefs]?.message
                == "spec.rules[0].filters[0].requestMirror.backendRef: \(message)")
    }

    @Test func referenceGrants() throws {
        func reason(_ grant: ReferenceGrant?, to name: String = "ledger") throws -> RouteCondition.Reason? {
            let backend = RouteBackend(reference: .init(namespace: "bank", name: name, port: 80))
            return try status(route(rules: [.init(backends: [backend])]), grants: [grant].compactMap(\.self))
                .parents.first?[.resolvedRefs]?.reason
        }
        func grant(
            in namespace: String = "bank", kind: String = "HTTPRoute", from: String = "shop",
            to: ReferenceGrant.To = .init()
        ) -> ReferenceGrant {
            ReferenceGrant(
                metadata: ObjectMetadata(name: "g", namespace: namespace), from: [.init(kind: kind, namespace: from)],
                to: [to])
        }
        #expect(try reason(grant()) == .resolvedRefs)
        #expect(try reason(grant(to: .init(name: "ledger"))) == .resolvedRefs)
        #expect(try reason(grant(to: .init(name: "ledger")), to: "vault") == .refNotPermitted)
        #expect(try reason(grant(), to: "absent") == .backendNotFound)
        #expect(try reason(grant(in: "shop")) == .refNotPermitted)
        #expect(try reason(grant(kind: "GRPCRoute")) == .refNotPermitted)
        #expect(try reason(grant(from: "blog")) == .refNotPermitted)
        #expect(try reason(grant(to: .init(kind: "Secret"))) == .refNotPermitted)
    }

    /// A consumer's route may send to the Service that it is for: its clients went there before.
    @Test func theParentNeedsNoGrant() throws {
        let backend = RouteBackend(reference: .init(namespace: "bank", name: "ledger", port: 80))
        let parent = RouteParentReference(namespace: "bank", name: "ledger")
        let found = try status(route(parents: [parent], rules: [.init(backends: [backend])])).parents.first
        #expect(found?[.resolvedRefs]?.isTrue == true)
        #expect(
            found?[.accepted]?.message == "attached to port 80 of Service bank/ledger, for clients of its namespace")
    }

    @Test func grpcGoesBeforeHTTP() throws {
        let grpc = MeshRoute.grpc(
            GRPCRoute(
                metadata: ObjectMetadata(name: "g", namespace: "shop"), parentRefs: [.init(name: "web")],
                rules: [.init()]))
        let condition = try status(route(rules: [.init()]), others: [grpc]).parents.first?[.accepted]
        #expect(condition?.isTrue == false && condition?.reason == .conflicted)
        // Of another namespace it decides for other clients.
        let consumer = route("c", namespace: "bank", parents: [.init(namespace: "shop", name: "web")], rules: [.init()])
        #expect(try status(consumer, others: [grpc]).parents.first?[.accepted]?.isTrue == true)
    }

    @Test func unsupportedValues() throws {
        let match = UnsupportedRouteValue(
            part: .match, field: "spec.rules[0].matches[0].path", reason: "no such syntax")
        let action = UnsupportedRouteValue(part: .action, field: "spec.rules[1].filters[0]", reason: "no such filter")
        let all = try status(route(rules: [.init(unsupported: [match]), .init(unsupported: [action])])).parents[0]
        #expect(all[.accepted]?.isTrue == false && all[.accepted]?.reason == .unsupportedValue)
        #expect(all[.partiallyInvalid] == nil)

        let some = try status(
            route(rules: [.init(unsupported: [match]), .init(name: "n", unsupported: [action]), .init()])
        ).parents[0]
        #expect(some[.accepted]?.isTrue == true)
        #expect(some[.partiallyInvalid]?.isTrue == true && some[.partiallyInvalid]?.reason == .unsupportedValue)
        #expect(
            some[.partiallyInvalid]?.message
                == "Dropped Rule 0: spec.rules[0].matches[0].path: no such syntax; 1 (n), its requests are refused: "
                + "spec.rules[1].filters[0]: no such filter")
    }

    /// A filter that is not there must not be passed by.
    @Test func rulesWithoutTheirFilterFail() throws {
        let action = UnsupportedRouteValue(part: .action, field: "f", reason: "no such filter")
        let matches = [HTTPRouteMatch(path: .prefix("/a"))]
        let object = route(rules: [.init(matches: matches, unsupported: [action]), .init()])
        let router = try #require(
            RouteTable(RouteObjects(routes: [.http(object)], services: services))
                .router(for: NamespacedName(namespace: "shop", name: "web"), port: 80, clientNamespace: "x"))
        let match = try #require(router.match(.init(method: "GET", path: "/a/b")))
        #expect(router.rules[match.rule].index == 0 && router.rules[match.rule].failure == "f: no such filter")
    }
}
