// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

/// What routes make of services and of the pods that use them.
@Suite struct CompiledRouteTests {
    typealias Fixture = PolicyFixture

    static let web = NamespacedName(namespace: "shop", name: "s")

    static func compiler(hasProxy: Bool = true, _ objects: [MeshObject] = []) -> MeshCompiler {
        var compiler = MeshCompiler(
            configuration: .init(nodeName: "here", nodeAddresses: [Fixture.node], hasProxy: hasProxy))
        let service = ServiceTests.service {
            $0.clusterIPs = [Fixture.address("10.96.0.1"), Fixture.address("fd96::1")]
            $0.ports[0].nodePort = 30080
        }
        let pods = [
            ServiceTests.pod("a", ["10.1.0.1", "fd01::1"]), Fixture.pod("bank", "b", ["10.1.0.2"], app: "x"),
        ]
        _ = compiler.update(
            MeshChange(
                changed: [.service(service)] + pods.map { .pod($0) } + objects,
                enrolled: Set(pods.map(\.namespacedName))))
        return compiler
    }

    static func route(_ namespace: String = "shop", _ name: String = "r") -> MeshObject {
        .route(
            .route(
                .http(
                    HTTPRoute(
                        metadata: ObjectMetadata(name: name, namespace: namespace),
                        parentRefs: [
                            RouteParentReference(group: "", kind: "Service", namespace: "shop", name: "s", port: 80)
                        ],
                        rules: [.init(backends: [.init(reference: .init(namespace: "shop", name: "s", port: 80))])]))))
    }

    private static func captures(_ compiler: MeshCompiler) -> [ServiceCapture] {
        compiler.mesh.services.filter { $0.value.origin == .clusterIP }.map(\.value.capture)
    }

    @Test func aProducersRouteIsForEverybody() {
        var compiler = Self.compiler()
        #expect(Self.captures(compiler) == [.none, .none])
        let changes = compiler.update(MeshChange(changed: [Self.route()]))
        #expect(Self.captures(compiler) == [.all, .all])
        #expect(changes.routes == [Self.route().reference] && changes.services.count == 2 && changes.workloads.isEmpty)
        // The port of a node is not that of the Service.
        let nodePorts = compiler.mesh.services.values.filter { $0.origin == .nodePort }
        #expect(!nodePorts.isEmpty && nodePorts.allSatisfy { $0.capture == .none })
        #expect(compiler.update(MeshChange(changed: [Self.route()])).isEmpty)
        let removal = compiler.update(MeshChange(removed: [Self.route().reference]))
        #expect(Self.captures(compiler) == [.none, .none] && removal.routes == [Self.route().reference])
        #expect(compiler.routeObjects.isEmpty)
    }

    @Test func aConsumersRouteIsForItsNamespace() throws {
        var compiler = Self.compiler()
        let changes = compiler.update(MeshChange(changed: [Self.route("bank")]))
        let bank = NamespacedName(namespace: "bank", name: "b")
        #expect(changes.workloads == [bank])
        let number = try #require(compiler.mesh.workloads[bank]?.routeClass)
        #expect(number != 0 && Self.captures(compiler) == [.classes([number]), .classes([number])])
        #expect(compiler.mesh.workloads[.init(namespace: "shop", name: "a")]?.routeClass == 0)
        // With a producer's, all go to the proxy, which knows whose routes are whose.
        _ = compiler.update(MeshChange(changed: [Self.route()]))
        #expect(Self.captures(compiler) == [.all, .all])
        _ = compiler.update(MeshChange(removed: [Self.route("bank").reference]))
        #expect(compiler.mesh.workloads[bank]?.routeClass == 0)
        _ = compiler.update(MeshChange(changed: [Self.route("bank")], removed: [Self.route().reference]))
        #expect(compiler.mesh.workloads[bank]?.routeClass == number, "numbers are kept")
        // A second one is in the same class, and outlives the first.
        _ = compiler.update(
            MeshChange(changed: [Self.route("bank", "second")], removed: [Self.route("bank").reference]))
        #expect(compiler.mesh.workloads[bank]?.routeClass == number)
    }

    @Test func withoutAProxyRoutesAreNothing() {
        let compiler = Self.compiler(hasProxy: false, [Self.route(), Self.route("bank")])
        #expect(Self.captures(compiler) == [.none, .none])
        #expect(compiler.routeObjects.isEmpty && compiler.mesh.servicePorts.isEmpty)
        #expect(compiler.mesh.workloads.values.allSatisfy { $0.routeClass == 0 })
    }

    @Test func theProxyKnowsEveryPort() throws {
        var compiler = Self.compiler()
        let port = try #require(compiler.mesh.servicePorts[Self.web]?.first)
        #expect(port.port == 80 && port.addresses.map(\.description) == ["10.96.0.1", "fd96::1"])
        // A pod with two addresses is one backend.
        let endpoints = port.endpoints.map { "\($0.address) \($0.port) \($0.weight) \($0.isTerminating)" }
        #expect(endpoints == ["10.1.0.1 8080 1 false"])
        // Clients without IPv4 reach it by its other address.
        #expect(port.endpoints.map { $0.alternate?.description } == ["fd01::1"])
        let headless = ServiceTests.service("h") {
            $0.clusterIPs = []
            $0.isHeadless = true
        }
        let changes = compiler.update(MeshChange(changed: [.service(headless)]))
        let name = headless.namespacedName
        #expect(changes.servicePorts == [name] && changes.services.isEmpty)
        let found = try #require(compiler.mesh.servicePorts[name]?.first)
        #expect(found.addresses.isEmpty && found.endpoints == port.endpoints)
        let removal = compiler.update(MeshChange(removed: [MeshObject.service(headless).reference]))
        #expect(removal.servicePorts == [name] && compiler.mesh.servicePorts[name] == nil)
    }

    @Test(arguments: [
        (ServiceCapture.none, ServiceCapture.all, ServiceCapture.none), (.all, .all, .all),
        (.all, .classes([1]), .classes([1])), (.classes([1, 2]), .classes([2, 3]), .classes([2])),
        (.classes([1]), .classes([2]), .none), (.classes([1]), .none, .none),
    ])
    func captureIsWhatBothSay(_ left: ServiceCapture, _ right: ServiceCapture, _ both: ServiceCapture) {
        #expect(left.intersection(right) == both && right.intersection(left) == both)
    }
}
