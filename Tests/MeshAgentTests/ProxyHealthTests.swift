// SPDX-License-Identifier: Apache-2.0
import MeshAdmin
import MeshModel
import Testing

@testable import MeshAgent

/// What is said of a proxy that does not serve, and whether that keeps the node from being ready.
@Suite struct ProxyHealthTests {
    private static func health(_ isServing: Bool?, failures: Int = 0, lastEnd: String? = nil) -> ProxyHealth {
        ProxyHealth(
            program: "/opt/mesh-proxy", isServing: isServing, failures: failures, lastEnd: lastEnd, version: nil,
            agentVersion: "1.0.0")
    }

    private static let needed = ProxyNeeds(["this", "that"])
    private static let nothing = ProxyNeeds([])

    @Test func whoNeedsItWaitsUntilItServes() {
        #expect(Self.health(true).notReady(Self.needed) == nil)
        #expect(Self.health(nil).notReady(Self.nothing)?.contains("an earlier agent") == true)
        #expect(Self.health(false).notReady(Self.nothing) == nil && Self.health(false).findings.isEmpty)
        #expect(
            Self.health(false).notReady(Self.needed)
                == "the node's proxy is starting; it is needed for this, that: refused, or without effect, until it serves"
        )
        let failing = Self.health(false, failures: 3, lastEnd: "exit status 127")
        #expect(
            failing.notReady(Self.needed)
                == "the node's proxy, /opt/mesh-proxy, does not run: exit status 127 (it has ended 3 times in a row); "
                + "it is needed for this, that: refused, or without effect, until it serves")
        // It is said, and nothing waits for it.
        #expect(failing.notReady(Self.nothing) == nil)
    }

    @Test func whatFailsIsAFindingWithWhatToDo() throws {
        let failing = try #require(Self.health(false, failures: 1, lastEnd: "exit status 127").findings.first)
        #expect(failing.severity == .warning)
        #expect(
            failing.message
                == "degraded: the node's proxy, /opt/mesh-proxy, does not run: exit status 127 (it has ended once)")
        #expect(failing.hint?.contains("the agent's log") == true && failing.hint?.contains("--proxy") == true)
        // One that was replaced is nobody's trouble; one that ends again and again is.
        #expect(Self.health(true, failures: 1, lastEnd: "killed by signal 9").findings.isEmpty)
        let flapping = try #require(Self.health(true, failures: 2, lastEnd: "killed by signal 6").findings.first)
        #expect(
            flapping.message
                == "degraded: the node's proxy does not stay up: it has ended 2 times in a row, the last time: "
                + "killed by signal 6")
    }

    @Test func anotherVersionIsAFinding() throws {
        var health = Self.health(true)
        health.version = "1.0.0"
        #expect(health.findings.isEmpty)
        health.version = "0.9.0"
        let finding = try #require(health.findings.first)
        #expect(finding.severity == .warning && finding.hint?.contains("install both from one release") == true)
        #expect(
            finding.message
                == "the node's proxy, /opt/mesh-proxy, is of version 0.9.0, and the agent of 1.0.0: what only one of them "
                + "knows does not work")
    }

    @Test func failuresAreForgottenWhenOneHasLivedLong() throws {
        var supervision = ProxySupervision()
        _ = supervision.handle(.start, at: .zero)
        _ = supervision.handle(.timer(.adoption), at: .zero)
        for _ in 0..<3 {
            guard let id = supervision.current else { break }
            _ = supervision.handle(.proxyLost(id), at: .seconds(1))
            _ = supervision.handle(.timer(.restartProxy), at: .seconds(1))
        }
        let id = try #require(supervision.current)
        #expect(supervision.proxyFailures(at: .seconds(60)) == 3, "it has said nothing yet")
        for input: ProxySupervision.Input in [.attached(id), .listenersReturned(id), .ready(id)] {
            _ = supervision.handle(input, at: .seconds(1))
        }
        #expect(supervision.proxyFailures(at: .seconds(2)) == 3)
        #expect(supervision.proxyFailures(at: .seconds(11)) == 0)
    }

    // MARK: - What needs it

    private static func pod(_ name: String, _ last: UInt32, on node: String) -> MeshObject {
        var pod = Pod(
            metadata: ObjectMetadata(name: name, namespace: "shop", labels: ["app": name]), nodeName: node,
            podIPs: [IPAddress(v4: 0x0a00_0000 + last)])
        pod.mesh.membership = .enabled
        return .pod(pod)
    }

    private static func needs(_ objects: [MeshObject], hasTunnels: Bool = false, isEnrolled: Bool = true) -> [String] {
        var compiler = MeshCompiler(
            configuration: .init(nodeName: "here", l7: .enforced, hasProxy: true, hasTunnels: hasTunnels))
        let own = NamespacedName(namespace: "shop", name: "web")
        _ = compiler.update(
            MeshChange(changed: [pod("web", 1, on: "here")] + objects, enrolled: isEnrolled ? [own] : []))
        return ProxyNeeds(compiler.mesh).what
    }

    @Test func routesPoliciesAndTunnelsNeedIt() {
        let service = Service(
            metadata: ObjectMetadata(name: "web", namespace: "shop"), clusterIPs: [IPAddress("10.96.0.1")!],
            ports: [.init(port: 80)])
        let route = HTTPRoute(
            metadata: ObjectMetadata(name: "web", namespace: "shop"), parentRefs: [.init(name: "web")], rules: [])
        let routed: [MeshObject] = [.service(service), .route(.route(.http(route)))]
        func policy(_ change: (inout AuthorizationPolicy.Operation) -> Void) -> MeshObject {
            var operation = AuthorizationPolicy.Operation()
            change(&operation)
            return .authorizationPolicy(
                AuthorizationPolicy(
                    metadata: ObjectMetadata(name: "p", namespace: "shop"), action: .deny,
                    rules: [.init(to: [operation])]))
        }
        #expect(Self.needs([]) == [] && Self.needs([.service(service)]) == [])
        #expect(Self.needs(routed) == ["connections to Services with routes"])
        #expect(Self.needs(routed, isEnrolled: false) == [])
        #expect(
            Self.needs([policy { $0.paths = ["/admin"] }])
                == ["connections to 1 pods whose policies decide about requests"])
        #expect(Self.needs([policy { $0.ports = [81] }]) == [])
        let far = Self.pod("far", 2, on: "there")
        #expect(Self.needs([far]) == [] && Self.needs([], hasTunnels: true) == [])
        #expect(Self.needs([far], hasTunnels: true) == ["tunnels to and from 1 pods"])
    }
}
