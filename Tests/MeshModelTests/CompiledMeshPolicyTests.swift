// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

/// What MeshPolicies, and policies about requests, make of what the node proxy is told.
@Suite struct CompiledMeshPolicyTests {
    private static let web = CompiledRouteTests.web

    private static func policy(
        _ name: String, _ target: MeshPolicy.Target, in namespace: String = "shop",
        _ change: (inout MeshPolicySettings) -> Void
    ) -> MeshObject {
        var settings = MeshPolicySettings()
        change(&settings)
        return .meshPolicy(
            MeshPolicy(
                metadata: ObjectMetadata(name: name, namespace: namespace), targets: [target], settings: settings))
    }

    private static func settings(_ compiler: MeshCompiler) -> MeshPolicySettings? {
        compiler.mesh.servicePorts[web]?.first?.settings
    }

    @Test func theNearestPolicyHolds() throws {
        var compiler = CompiledRouteTests.compiler()
        #expect(Self.settings(compiler) == MeshPolicySettings())
        let wide = Self.policy("wide", .namespace, in: "shop") {
            $0.maxConnections = 1
            $0.maxPending = 2
        }
        let changes = compiler.update(MeshChange(changed: [wide]))
        #expect(changes.servicePorts.contains(Self.web) && changes.services.isEmpty, "the kernel has nothing to do")
        let near = Self.policy("near", .service("s", port: nil)) { $0.maxConnections = 3 }
        _ = compiler.update(MeshChange(changed: [near]))
        #expect(Self.settings(compiler)?.maxConnections == 3 && Self.settings(compiler)?.maxPending == 2)
        // Of another namespace.
        let other = Self.policy("other", .namespace, in: "bank") { $0.maxPending = 9 }
        #expect(compiler.update(MeshChange(changed: [other])).servicePorts.isEmpty)
        _ = compiler.update(MeshChange(removed: [near.reference]))
        #expect(Self.settings(compiler)?.maxConnections == 1)
        _ = compiler.update(MeshChange(removed: [wide.reference]))
        #expect(Self.settings(compiler) == MeshPolicySettings())
        // Of the mesh's namespace: for all.
        let mesh = Self.policy("mesh", .namespace, in: "sockmesh-system") { $0.maxPending = 7 }
        _ = compiler.update(MeshChange(changed: [mesh]))
        #expect(Self.settings(compiler)?.maxPending == 7)
    }

    /// What is said of a port by its number goes before what is said of all.
    @Test func aPortsOwnProtocolHolds() {
        var compiler = CompiledRouteTests.compiler()
        let port = compiler.mesh.servicePorts[Self.web]?.first?.port ?? 0
        let wide = Self.policy("wide", .namespace) { $0.protocolOverrides = [port: .tcp, port + 1: .tls] }
        let near = Self.policy("near", .service("s", port: nil)) { $0.detect = .http2 }
        _ = compiler.update(MeshChange(changed: [wide, near]))
        #expect(Self.settings(compiler)?.detect == .tcp && Self.settings(compiler)?.protocolOverrides == nil)
        #expect(compiler.findings().isEmpty)
        _ = compiler.update(MeshChange(removed: [wide.reference]))
        #expect(Self.settings(compiler)?.detect == .http2)
    }

    @Test func withoutAProxyNothingIsKept() {
        var compiler = CompiledRouteTests.compiler(hasProxy: false)
        let policy = Self.policy("p", .namespace) { $0.maxPending = 2 }
        #expect(compiler.update(MeshChange(changed: [policy])).isEmpty)
        #expect(compiler.findings().isEmpty)
    }

    @Test func whatNobodyActsOnIsSaid() {
        var compiler = CompiledRouteTests.compiler()
        let policy = Self.policy("p", .pods(LabelSelector(matchLabels: ["app": "s"]))) {
            $0.maxConcurrentStreams = 1
            $0.maxPending = 1
        }
        _ = compiler.update(MeshChange(changed: [policy]))
        #expect(
            compiler.findings(for: [policy.reference]).map { "\($0.path ?? "") \($0.reason)" } == [
                "spec.connection.http.maxConcurrentStreams notSupported", "spec.targetRefs[0] notSupported",
            ])
    }

    @Test func theYoungerOfTwoEqualPoliciesLosesAndIsTold() {
        var compiler = CompiledRouteTests.compiler()
        let one = Self.policy("a", .service("s", port: nil)) { $0.maxPending = 1 }
        let two = Self.policy("b", .service("s", port: nil)) { $0.maxPending = 2 }
        _ = compiler.update(MeshChange(changed: [two, one]))
        #expect(Self.settings(compiler)?.maxPending == 1)
        #expect(compiler.findings(for: [one.reference]).isEmpty)
        #expect(compiler.findings(for: [two.reference]).map(\.reason) == [.conflicted])
    }

    // MARK: - Policies about requests

    private static func authorization(_ method: String) -> MeshObject {
        var operation = AuthorizationPolicy.Operation()
        operation.methods = [method]
        return .authorizationPolicy(
            AuthorizationPolicy(
                metadata: ObjectMetadata(name: "p", namespace: "shop"), rules: [.init(to: [operation])]))
    }

    /// Also where the kernel need not know the difference.
    @Test func everyChangeOfAPolicyNamesItsPods() {
        var compiler = CompiledRouteTests.compiler()
        let pod = NamespacedName(namespace: "shop", name: "a")
        let other = NamespacedName(namespace: "bank", name: "b")
        #expect(compiler.requestPolicies(of: pod) == nil)
        #expect(compiler.update(MeshChange(changed: [Self.authorization("GET")])).requestPolicies.contains(pod))
        #expect(compiler.requestPolicies(of: pod)?.count == 1 && compiler.requestPolicies(of: other) == nil)
        let changes = compiler.update(MeshChange(changed: [Self.authorization("PUT")]))
        #expect(changes.requestPolicies.contains(pod) && !changes.requestPolicies.contains(other))
        #expect(compiler.requestPolicies(of: pod)?.first?.rules.first?.to.first?.methods == ["PUT"])
        let removal = compiler.update(MeshChange(removed: [Self.authorization("PUT").reference]))
        #expect(removal.requestPolicies.contains(pod) && compiler.requestPolicies(of: pod) == nil)
    }
}
