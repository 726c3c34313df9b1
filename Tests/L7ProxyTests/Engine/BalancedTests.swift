// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel
import Synchronization
import Testing

@testable import L7Proxy

/// Balancing, circuits, outliers and retries as a worker does them.
@Suite(.serialized) struct BalancedTests {
    private static func get(_ client: TestConnection, _ path: String = "/", _ lines: String = "") -> String {
        client.send("GET \(path) HTTP/1.1\r\nHost: web\r\n\(lines)\r\n")
        return client.readMessage()
    }

    private static func policies(_ change: (inout ServicePolicy) -> Void) -> Rig.Policies {
        var policies = Rig.Policies()
        change(&policies.service)
        return policies
    }

    private static func refusingPort() throws -> UInt16 {
        let listener = try StreamSocket.listen(at: .loopback(port: 0))
        return StreamSocket.localEndpoint(listener.rawValue)?.port ?? 0
    }

    @Test func turnsAreTakenByRoundRobin() throws {
        let one = try TestBackend { _ in TestBackend.ok("1") }
        let two = try TestBackend { _ in TestBackend.ok("2") }
        let rig = try Rig([one.port, two.port], policies: Self.policies { $0.cluster.algorithm = .roundRobin })
        let client = rig.client()
        let answers = (0..<6).map { _ in Self.get(client).last }
        #expect(answers.filter { $0 == "1" }.count == 3 && answers[0] != answers[1], "\(answers)")
        // A new version of the configuration begins no new round.
        rig.publish([one.port, two.port], policies: Self.policies { $0.cluster.algorithm = .roundRobin })
        let next = (0..<2).map { _ in Self.get(client).last }
        #expect(next == Array(answers[0...1]))
    }

    @Test func aKeyLeadsToOneEndpoint() throws {
        let backends = try (0..<3).map { number in try TestBackend { _ in TestBackend.ok("\(number)") } }
        let rig = try Rig(
            backends.map(\.port),
            policies: Self.policies {
                $0.cluster.algorithm = .maglev
                $0.cluster.maglevSize = 251
                $0.key = .header("x-user")
            })
        var met: Set<Character?> = []
        for user in 0..<40 {
            let client = rig.client()
            let answers = Set((0..<3).map { _ in Self.get(client, "/", "X-User: \(user)\r\n").last })
            #expect(answers.count == 1, "user \(user)")
            met.formUnion(answers)
        }
        #expect(met.count == 3)
    }

    @Test func whoFailsIsLeftOutAndItsSuccessorIsNot() throws {
        let good = try TestBackend { _ in TestBackend.ok("good") }
        let bad = try TestBackend { _ in "HTTP/1.1 503 Bad\r\nContent-Length: 3\r\n\r\nbad" }
        var outliers = OutlierPolicy()
        outliers.consecutiveGatewayErrors = 2
        let policies = Self.policies {
            $0.cluster.algorithm = .roundRobin
            $0.cluster.outliers = outliers
        }
        let rig = try Rig([good.port, bad.port], policies: policies)
        let client = rig.client()
        for _ in 0..<4 { _ = Self.get(client) }
        #expect(rig.counters().ejections == 1)
        let answers = (0..<10).map { _ in Self.get(client) }
        #expect(answers.allSatisfy { $0.hasSuffix("good") }, "\(answers)")
        // The ejection outlives a new configuration that says the same.
        rig.publish([good.port, bad.port], policies: policies)
        #expect((0..<10).map { _ in Self.get(client) }.allSatisfy { $0.hasSuffix("good") })
    }

    @Test func whoWaitsBeyondTheLimitIsRefused() throws {
        let backend = try TestBackend { backend, connection, _ in
            backend.keep(connection.readHead())
            _ = connection.readToEnd()
        }
        let rig = try Rig(
            [backend.port],
            policies: Self.policies {
                $0.cluster.limits.connections = 1
                $0.cluster.limits.pending = 1
            })
        let clients = (0..<3).map { _ in rig.client() }
        clients[0].send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        #expect(Poll.until { backend.requests.count == 1 })
        clients[1].send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        #expect(Poll.until { rig.counters().exchanges == 2 })
        #expect(Self.get(clients[2]).hasPrefix("HTTP/1.1 503 "))
        #expect(rig.recorder.wait(for: 1)[0].reason == .circuitOpen)
        #expect(rig.counters().upstreams == 1)
    }

    /// A dual-stack Service has endpoints of its first family; a pod that has only the other one reaches them by that.
    @Test(arguments: [(["fd00::1"], "::1"), (["fd00::1", "10.1.0.1"], "127.0.0.1"), (["10.1.0.1"], "127.0.0.1")])
    func podsOfOneFamilyReachEndpointsByIt(_ addresses: [String], _ reached: String) throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let asked = Mutex<[String]>([])
        let rig = try Rig(
            [],
            legs: { request in
                asked.withLock { $0.append("\(request.address)") }
                let descriptor = StreamSocket.connect(to: .loopback(port: request.port))
                return descriptor < 0 ? .refused : .descriptor(CInt(descriptor))
            })
        let endpoint = IPAddress("127.0.0.1")!
        let service = ProxyService(
            name: Rig.service, port: 80, addresses: [Rig.address],
            endpoints: [ClusterEndpoint(endpoint, port: backend.port)],
            alternates: [ProxyEndpoint(address: endpoint, port: backend.port): IPAddress("::1")!])
        let pod = ProxyWorkload(
            name: NamespacedName(namespace: "shop", name: "client"), serviceAccount: "default",
            addresses: addresses.map { IPAddress($0)! })
        rig.worker.publish(ProxySnapshot(generation: 9, services: [service], workloads: [Rig.network: pod]))
        #expect(Self.get(rig.client()).hasPrefix("HTTP/1.1 200 "))
        #expect(asked.withLock { $0 } == [reached])
        #expect("\(rig.recorder.wait(for: 1)[0].endpoint.address)" == reached)
    }

    /// What a policy allows it allows the node, however many workers there are.
    @Test func workersHaveOneLimitTogether() throws {
        let gate = Gate()
        let backend = try TestBackend { backend, connection, _ in
            while true {
                let request = connection.readMessage()
                if request.isEmpty { return }
                backend.keep(request)
                gate.wait()
                connection.send(TestBackend.ok())
            }
        }
        let limits = NodeLimits()
        let policies = Self.policies { $0.cluster.limits.requests = 3 }
        let workers = try (0..<2).map { _ in
            try Rig([backend.port], policies: policies) { $0.nodeLimits = limits }
        }
        var clients: [TestConnection] = []
        for index in 0..<3 {
            let client = workers[index % 2].client()
            client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
            clients.append(client)
            #expect(Poll.until { backend.requests.count == index + 1 })
        }
        for worker in workers {
            #expect(Self.get(worker.client()).hasPrefix("HTTP/1.1 503 "))
            #expect(worker.recorder.wait(for: 1)[0].reason == .circuitOpen)
        }
        gate.open()
        for client in clients { #expect(client.readMessage().hasPrefix("HTTP/1.1 200 ")) }
        for worker in workers { #expect(Poll.until { worker.counters().exchanges == 0 }) }
        for worker in workers { #expect(Self.get(worker.client()).hasPrefix("HTTP/1.1 200 ")) }
    }

    @Test func whatWasCountedIsGivenBack() throws {
        let backend = try TestBackend { _ in "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok" }
        let rig = try Rig(
            [backend.port],
            policies: Self.policies {
                $0.cluster.limits = CircuitLimits(connections: 1, pending: 1, requests: 1, retries: 1)
            })
        for _ in 0..<5 {
            let client = rig.client()
            #expect(Self.get(client).hasPrefix("HTTP/1.1 200 "))
            client.close()
        }
        #expect(Poll.until { rig.counters().exchanges == 0 })
    }

    @Test func retriesHaveABudget() throws {
        let backend = try TestBackend { _ in "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n" }
        let rig = try Rig(
            [backend.port],
            rules: [
                .init(
                    matches: [HTTPRouteMatch(path: .prefix("/"))],
                    retry: RouteRetry(codes: [503], attempts: 3, backoff: GatewayDuration(milliseconds: 1)))
            ],
            policies: Self.policies {
                $0.cluster.retryBudget = RetryBudget.Policy(
                    percent: 0, minimumCount: 2, minimumInterval: 60_000_000_000)
            })
        let client = rig.client()
        #expect(Self.get(client).hasPrefix("HTTP/1.1 503 "))
        #expect(Self.get(client).hasPrefix("HTTP/1.1 503 "))
        #expect(rig.recorder.wait(for: 2).map(\.attempts) == [3, 1])
        #expect(rig.counters().retries == 2)
    }

    @Test func withoutABudgetAnAttemptThatFailsSaysSo() throws {
        let rig = try Rig(
            [try Self.refusingPort()],
            rules: [
                .init(
                    matches: [HTTPRouteMatch(path: .prefix("/"))],
                    retry: RouteRetry(codes: [], attempts: 3, backoff: GatewayDuration(milliseconds: 1)))
            ],
            policies: Self.policies {
                $0.cluster.retryBudget = RetryBudget.Policy(percent: 0, minimumCount: 0)
            })
        #expect(Self.get(rig.client()).hasPrefix("HTTP/1.1 503 "))
        #expect(rig.recorder.wait(for: 1)[0].reason == .retryBudgetSpent)
    }

    @Test func aServiceThatGoesWhileItIsAskedIsForgottenAfterwards() throws {
        let backend = try TestBackend { _, connection, _ in
            _ = connection.readHead()
            if connection.read(until: "go").hasSuffix("go") { connection.send(TestBackend.ok()) }
        }
        let rig = try Rig(
            [], others: ["other": [backend.port]],
            rules: [
                .init(
                    matches: [HTTPRouteMatch(path: .prefix("/"))],
                    backends: [RouteBackend(reference: RouteBackendReference(name: "other", port: 80))])
            ])
        let client = rig.client()
        client.send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 2\r\n\r\n")
        #expect(Poll.until { backend.connections == 1 })
        rig.publish([])
        rig.publish([backend.port])
        client.send("go")
        #expect(client.readMessage().hasSuffix("ok"))
        #expect(Poll.until { rig.counters().exchanges == 0 })
    }

    @Test func policyTimesAreForRulesThatSayNothing() throws {
        let backend = try TestBackend { _, connection, _ in _ = connection.readToEnd() }
        let rig = try Rig([backend.port], policies: Self.policies { $0.requestTimeout = 30 })
        #expect(Self.get(rig.client()).hasPrefix("HTTP/1.1 504 "))
        #expect(rig.recorder.wait(for: 1)[0].reason == .requestTimeout)
        let attempt = try Rig([backend.port], policies: Self.policies { $0.backendTimeout = 30 })
        #expect(Self.get(attempt.client()).hasPrefix("HTTP/1.1 504 "))
        #expect(attempt.recorder.wait(for: 1)[0].reason == .backendTimeout)
    }
}
