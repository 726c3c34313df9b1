// SPDX-License-Identifier: Apache-2.0

import AdminTestSupport
import Testing

@testable import MeshAdmin

@Suite struct WireTests {
    /// Sends a value through the encoder and back.
    private static func roundTrip<Value: Codable & Equatable>(_ value: Value) throws {
        let line = try WireJSON.line(value)
        #expect(line.count { $0 == UInt8(ascii: "\n") } == 1 && line.last == UInt8(ascii: "\n"))
        #expect(try WireJSON.decode(Value.self, from: Array(line.dropLast()), what: "it") == value)
    }

    @Test func everyReportSurvivesTheWire() throws {
        try Self.roundTrip(Samples.status(notReady: ["a", "b"]))
        try Self.roundTrip(Samples.generation)
        try Self.roundTrip(Samples.workload(number: 1))
        try Self.roundTrip(Samples.service)
        try Self.roundTrip(Samples.connection)
        try Self.roundTrip(Samples.flow(number: 1))
        try Self.roundTrip(Samples.policyReport)
        try Self.roundTrip(Samples.change)
        try Self.roundTrip(Samples.diff)
        try Self.roundTrip(Samples.explain)
        try Self.roundTrip(Samples.step)
        try Self.roundTrip(Samples.run)
        try Self.roundTrip(Samples.check)
        try Self.roundTrip(AdminError(.conflict, "a\nb", hint: "c", findings: [Finding(.info, "d")]))
    }

    private static func decoded<Call: AdminCall>(_ call: Call) throws -> AdminRequest? {
        let line = try WireJSON.line(RequestFrame(id: 3, arguments: call))
        let decoded = try WireJSON.decode(DecodedRequest.self, from: line, what: "it")
        #expect(decoded.id == 3)
        #expect(decoded.request?.access == Call.access)
        return decoded.request
    }

    @Test func everyCallIsDecodedAsItWasEncoded() throws {
        let status = StatusRequest(wait: true, timeoutSeconds: 1.5)
        #expect(try Self.decoded(status) == .status(status))
        let generations = GenerationsRequest(limit: 3)
        #expect(try Self.decoded(generations) == .generations(generations))
        let workloads = WorkloadsRequest(namespace: "shop", all: true)
        #expect(try Self.decoded(workloads) == .workloads(workloads))
        let services = ServicesRequest(namespace: "shop")
        #expect(try Self.decoded(services) == .services(services))
        let routes = RoutesRequest(namespace: "shop")
        #expect(try Self.decoded(routes) == .routes(routes))
        let identities = IdentitiesRequest(namespace: "shop")
        #expect(try Self.decoded(identities) == .identities(identities))
        #expect(try Self.decoded(AuthorityRequest()) == .authority(AuthorityRequest()))
        let renewal = RenewIdentitiesRequest(namespace: "shop")
        #expect(try Self.decoded(renewal) == .renewIdentities(renewal))
        let rotation = RotateAuthorityRequest(.useRoot, force: true)
        #expect(try Self.decoded(rotation) == .rotateAuthority(rotation))
        let connections = ConnectionsRequest(workload: try EndSelector("10.0.0.0/8"), limit: 5)
        #expect(try Self.decoded(connections) == .connections(connections))
        let flows = FlowsRequest(
            follow: true, last: 2, filter: FlowFilter(from: .namespace("shop"), to: nil, verdict: .denied))
        #expect(try Self.decoded(flows) == .flows(flows))
        let policies = PoliciesRequest(kind: "NetworkPolicy", namespace: "shop", name: "a")
        #expect(try Self.decoded(policies) == .policies(policies))
        let files = [ManifestFile(name: "a.yaml", content: "kind: X\n---\n\u{1F600}\u{2028}\r\n\"")]
        #expect(try Self.decoded(ApplyPoliciesRequest(files: files)) == .applyPolicies(.init(files: files)))
        #expect(try Self.decoded(DiffPoliciesRequest(files: files)) == .diffPolicies(.init(files: files)))
        let delete = DeletePolicyRequest(policy: Samples.policy)
        #expect(try Self.decoded(delete) == .deletePolicy(delete))
        let rollback = RollbackPoliciesRequest(generation: 4)
        #expect(try Self.decoded(rollback) == .rollbackPolicies(rollback))
        let explain = ExplainRequest(source: "a/b", destination: "c/d", port: 53, protocol: "UDP")
        #expect(try Self.decoded(explain) == .explain(explain))
        let request = ExplainRequest(
            source: "a/b", destination: "c/d", port: 80, protocol: "TCP",
            request: RequestQuestion(method: "GET", path: "/x?y", headers: ["a: b"]))
        #expect(try Self.decoded(request) == .explain(request))
        let run = PrepareRunRequest(namespace: "shop", name: "web")
        #expect(try Self.decoded(run) == .prepareRun(run))
        #expect(try Self.decoded(MetricsRequest()) == .metrics(MetricsRequest()))
        let uninstall = UninstallRequest(purge: true)
        #expect(try Self.decoded(uninstall) == .uninstall(uninstall))
    }

    /// These names are the public API of `-o json`: this test is the place where a change of one is noticed.
    @Test func fieldNamesStay() throws {
        #expect(
            String(decoding: try WireJSON.line(Samples.connection), as: UTF8.self) == """
                {"ageSeconds":61.5,"bytesReceived":2048,"bytesRedirected":1048576,"bytesSent":1048576,\
                "destination":{"address":"10.1.0.9",\
                "identity":{"name":"spiffe://cluster.local/ns/shop/sa/web","number":256},\
                "port":5432,"workload":"data/db"},"generation":7,"protocol":"TCP",\
                "received":{"path":"tcp","reason":"small-writes"},"sent":{"path":"redirect"},\
                "serviceAddress":{"address":"10.96.0.9","port":5432,"service":"data/db"},\
                "source":{"address":"10.1.0.2",\
                "identity":{"name":"spiffe://cluster.local/ns/shop/sa/web","number":256},\
                "port":4000,"workload":"shop/web-1"}}

                """)
    }

    @Test func aMethodThatIsNotKnownIsNotAnError() throws {
        let line = Array("{\"id\":1,\"method\":\"dance\",\"arguments\":{}}".utf8)
        let decoded = try WireJSON.decode(DecodedRequest.self, from: line, what: "it")
        #expect(decoded.request == nil)
        #expect(decoded.method == "dance")
    }

    @Test func anErrorCodeThatIsNotKnownIsAFailure() throws {
        let line = Array("{\"code\":\"purple\",\"message\":\"m\"}".utf8)
        #expect(try WireJSON.decode(AdminError.self, from: line, what: "it") == AdminError(.failed, "m"))
    }

    @Test(arguments: [
        ("", "it is not understood"), ("{}", "has no field 'id'"), ("{\"id\":-1}", "id"),
        ("{\"id\":1,\"method\":\"policy.delete\",\"arguments\":{}}", "arguments has no field 'policy'"),
        ("{\"id\":1,\"method\":\"policy.apply\",\"arguments\":{\"files\":[{\"name\":1}]}}", "arguments.files[0].name"),
        ("{\"id\":1,\"method\":\"connections\",\"arguments\":{\"workload\":\"A B\"}}", "'A B' selects nothing"),
    ])
    func whatIsWrongIsNamed(text: String, expected: String) {
        let error = #expect(throws: AdminError.self) {
            try WireJSON.decode(DecodedRequest.self, from: Array(text.utf8), what: "it")
        }
        #expect(error?.code == .invalidRequest)
        #expect(error?.message.contains(expected) == true, "\(error?.message ?? "")")
    }
}
