// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

/// Routes whose connections are passed on without a look at them.
@Suite struct OpaquePortTests {
    private static let route = CompiledRouteTests.route()

    private static func service(_ appProtocol: String?) -> MeshObject {
        .service(ServiceTests.service { $0.ports[0].appProtocol = appProtocol })
    }

    private static func policy(_ change: (inout MeshPolicySettings) -> Void) -> MeshObject {
        var settings = MeshPolicySettings()
        change(&settings)
        return .meshPolicy(
            MeshPolicy(
                metadata: ObjectMetadata(name: "p", namespace: "shop"), targets: [.service("s", port: nil)],
                settings: settings))
    }

    private static func condition(_ compiler: MeshCompiler) -> RouteCondition? {
        compiler.routeStatuses.first?.parents.first?[.passedBy]
    }

    private static func prefix(_ name: String) -> String {
        "connections to port 80 of Service shop/s pass by the route, for it speaks \(name): "
    }

    @Test(
        arguments: [
            ("tcp", "TCP"), ("mysql", "TCP"), ("https", "TLS"), ("http", nil), ("grpc", nil), ("of-somebody", nil),
            (nil, nil),
        ] as [(String?, String?)])
    func aServiceMaySayIt(_ appProtocol: String?, _ spoken: String?) throws {
        var compiler = CompiledRouteTests.compiler()
        _ = compiler.update(MeshChange(changed: [Self.service(appProtocol), Self.route]))
        let condition = Self.condition(compiler)
        guard let spoken else {
            #expect(condition == nil && compiler.findings().isEmpty)
            return
        }
        let message = Self.prefix(spoken) + "its appProtocol is \(appProtocol ?? "")"
        #expect(condition?.isTrue == true && condition?.reason == .opaquePort && condition?.message == message)
        let findings = compiler.findings(for: [Self.route.reference])
        #expect(findings.map(\.description) == ["\(Self.route.reference), spec.parentRefs[0]: \(message)"])
        #expect(findings.map(\.reason) == [.passedBy] && compiler.findings() == findings)
    }

    @Test func aPolicyMaySayIt() throws {
        var compiler = CompiledRouteTests.compiler()
        let all = Self.policy { $0.detect = .tls }
        _ = compiler.update(MeshChange(changed: [Self.route, all]))
        let message = Self.prefix("TLS") + "MeshPolicy shop/p says so in spec.protocol.detect"
        #expect(Self.condition(compiler)?.message == message)
        // Whichever of the two is applied.
        for reference in [Self.route.reference, all.reference] {
            #expect(compiler.findings(for: [reference]).map(\.message) == [message])
            #expect(compiler.findings(for: [reference]).map(\.policy) == [Self.route.reference])
        }
        let own = Self.policy { $0.protocolOverrides = [80: .tcp] }
        _ = compiler.update(MeshChange(changed: [own]))
        let overridden = Self.prefix("TCP") + "MeshPolicy shop/p says so in spec.protocol.appProtocolOverrides"
        #expect(compiler.findings().map(\.message) == [overridden])
        // Another port's is nothing to this one.
        _ = compiler.update(MeshChange(changed: [Self.policy { $0.protocolOverrides = [81: .tcp] }]))
        #expect(Self.condition(compiler) == nil && compiler.findings().isEmpty)
    }

    @Test func aPolicyGoesBeforeTheService() {
        var compiler = CompiledRouteTests.compiler()
        let policy = Self.policy { $0.detect = .http1 }
        _ = compiler.update(MeshChange(changed: [Self.service("tcp"), Self.route, policy]))
        #expect(Self.condition(compiler) == nil && compiler.findings().isEmpty)
        _ = compiler.update(MeshChange(removed: [policy.reference]))
        #expect(Self.condition(compiler) != nil)
        // It is no affair of a policy that says nothing of it.
        let other = Self.policy { $0.maxPending = 1 }
        _ = compiler.update(MeshChange(changed: [other]))
        #expect(compiler.findings(for: [other.reference]).isEmpty)
    }

    /// What is not accepted is not passed by.
    @Test func aRouteThatIsNotAttachedIsNotReported() {
        var compiler = CompiledRouteTests.compiler()
        _ = compiler.update(MeshChange(changed: [Self.route], removed: [Self.service(nil).reference]))
        #expect(Self.condition(compiler) == nil && compiler.findings().isEmpty)
        var headless = ServiceTests.service { $0.ports[0].appProtocol = "tcp" }
        headless.isHeadless = true
        _ = compiler.update(MeshChange(changed: [.service(headless)]))
        #expect(compiler.routeStatuses.first?.parents.first?[.accepted]?.isTrue == false)
        #expect(Self.condition(compiler) == nil && compiler.findings().isEmpty)
    }
}
