// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel
import Testing

@testable import L7Proxy

/// Authorization, rate limits and faults as a worker applies them.
@Suite(.serialized) struct AdmissionTests {
    private static func get(
        _ client: TestConnection, _ path: String = "/", method: String = "GET", _ lines: String = ""
    ) -> String {
        client.send("\(method) \(path) HTTP/1.1\r\nHost: web\r\n\(lines)\r\n")
        return client.readMessage()
    }

    private static func policy(
        _ name: String, _ action: AuthorizationPolicy.Action, isDryRun: Bool = false,
        _ rules: [AuthorizationPolicy.Rule]
    ) -> AuthorizationPolicy {
        AuthorizationPolicy(
            metadata: ObjectMetadata(name: name, namespace: "shop"), action: action, rules: rules, isDryRun: isDryRun)
    }

    private static func to(_ change: (inout AuthorizationPolicy.Operation) -> Void) -> AuthorizationPolicy.Rule {
        var operation = AuthorizationPolicy.Operation()
        change(&operation)
        return .init(to: [operation])
    }

    private static let readers = policy("readers", .allow, [to { $0.methods = ["GET"] }])
    private static let noAdmin = policy("no-admin", .deny, [to { $0.paths = ["/admin*"] }])

    // MARK: - Authorization

    @Test func whatPoliciesDenyIs403WithoutAWord() throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let rig = try Rig([backend.port], policies: .init(authorization: [Self.noAdmin, Self.readers]))
        let client = rig.client()
        #expect(Self.get(client).hasPrefix("HTTP/1.1 200 "))
        let denied = Self.get(client, "/admin/x")
        #expect(denied.hasPrefix("HTTP/1.1 403 ") && denied.hasSuffix("\r\n\r\nForbidden\n"))
        #expect(Self.get(client, method: "DELETE").hasPrefix("HTTP/1.1 403 "))
        #expect(Self.get(client, "/x").hasPrefix("HTTP/1.1 200 "), "the connection lives on")
        // The spellings of a path are one path, and what can be read in two ways is under both.
        #expect(Self.get(client, "/%61dmin").hasPrefix("HTTP/1.1 403 "))
        #expect(Self.get(client, "/x/../admin").hasPrefix("HTTP/1.1 403 "))
        #expect(Self.get(client, "//admin").hasPrefix("HTTP/1.1 403 "))
        #expect(Self.get(client, "/a/..%2Fadmin").hasPrefix("HTTP/1.1 400 "))
        let records = rig.recorder.wait(for: 8)
        #expect(
            records.map(\.reason) == [
                .forwarded, .denied, .denied, .forwarded, .denied, .denied, .denied, .ambiguousPath,
            ])
        #expect(backend.requests.count == 2)
        let snapshot = Rig.snapshot(
            [backend.port], others: [:], rules: nil, policies: .init(authorization: [Self.noAdmin, Self.readers]),
            generation: 9)
        func text(_ index: Int32) -> String? {
            snapshot.decisionText(index).map { String(decoding: $0, as: UTF8.self) }
        }
        #expect(text(records[1].decision) == "AuthorizationPolicy shop/no-admin rule 0")
        #expect(text(records[2].decision) == "no rule that allows it")
        #expect(text(records[0].decision) == nil)
    }

    @Test func whoSendsIsKnownByItsNamespace() throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        var own = AuthorizationPolicy.Source()
        own.principals = ["cluster.local/ns/shop/sa/default"]
        var other = AuthorizationPolicy.Source()
        other.namespaces = ["other"]
        let allowed = try Rig(
            [backend.port], policies: .init(authorization: [Self.policy("p", .allow, [.init(from: [own])])]))
        #expect(Self.get(allowed.client()).hasPrefix("HTTP/1.1 200 "))
        let denied = try Rig(
            [backend.port], policies: .init(authorization: [Self.policy("p", .allow, [.init(from: [other])])]))
        #expect(Self.get(denied.client()).hasPrefix("HTTP/1.1 403 "))
    }

    /// A connection that is not to a Service has the policies of where it goes.
    @Test func aPodsOwnAddressHasItsPolicies() throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let rig = try Rig(
            [], policies: .init(authorization: [Self.noAdmin]), destination: .loopback(port: backend.port))
        let client = rig.client()
        #expect(Self.get(client).hasPrefix("HTTP/1.1 200 "))
        #expect(Self.get(client, "/admin").hasPrefix("HTTP/1.1 403 "))
    }

    /// What the pod would receive is judged, not what the client wrote.
    @Test func aRouteCannotLeadPastAPolicy() throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let secret = Self.policy(
            "secret", .deny, [.init(when: [.init(key: "request.headers[x-secret]", values: ["*"])])])
        let insiders = Self.policy(
            "internal", .allow, [.init(when: [.init(key: "request.headers[x-internal]", values: ["yes"])])])
        func rig(_ filters: [RouteFilter], _ policy: AuthorizationPolicy) throws -> Rig {
            try Rig(
                [backend.port], rules: [.init(matches: [HTTPRouteMatch(path: .prefix("/"))], filters: filters)],
                policies: .init(authorization: [policy]))
        }
        let rewritten = try rig([.urlRewrite(URLRewrite(path: .replaceFullPath("/admin")))], Self.noAdmin)
        #expect(Self.get(rewritten.client(), "/harmless").hasPrefix("HTTP/1.1 403 "))
        let away = try rig([.urlRewrite(URLRewrite(path: .replaceFullPath("/harmless")))], Self.noAdmin)
        #expect(Self.get(away.client(), "/admin").hasPrefix("HTTP/1.1 200 "))
        let added = try rig([.requestHeaderModifier(HeaderModifier(set: [HeaderField("X-Secret", "1")]))], secret)
        #expect(Self.get(added.client()).hasPrefix("HTTP/1.1 403 "))
        let removed = try rig([.requestHeaderModifier(HeaderModifier(remove: ["x-internal"]))], insiders)
        #expect(Self.get(removed.client(), "/", "X-Internal: yes\r\n").hasPrefix("HTTP/1.1 403 "))
        let kept = try rig([], insiders)
        #expect(Self.get(kept.client(), "/", "X-Internal: yes\r\n").hasPrefix("HTTP/1.1 200 "))
    }

    @Test func aDryRunDeniesNothing() throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let dry = Self.policy("dry", .deny, isDryRun: true, [Self.to { $0.paths = ["/x"] }])
        let rig = try Rig([backend.port], policies: .init(authorization: [dry]))
        let client = rig.client()
        #expect(Self.get(client, "/x").hasPrefix("HTTP/1.1 200 ") && Self.get(client, "/y").hasPrefix("HTTP/1.1 200 "))
        let records = rig.recorder.wait(for: 2)
        #expect(records.map { $0.flags.contains(.dryRunDiffers) } == [true, false])
        #expect(rig.counters().dryRunRefusals == 1)
    }

    @Test func aNewPolicyHoldsForOpenConnections() throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let rig = try Rig([backend.port])
        let client = rig.client()
        #expect(Self.get(client, "/admin").hasPrefix("HTTP/1.1 200 "))
        rig.publish([backend.port], policies: .init(authorization: [Self.noAdmin]))
        #expect(Self.get(client, "/admin").hasPrefix("HTTP/1.1 403 "))
    }

    /// An attempt that waits while a policy comes is judged by it.
    @Test func aNewPolicyHoldsForAttemptsToCome() throws {
        let backend = try TestBackend { _ in "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n" }
        let rules: [HTTPRoute.Rule] = [
            .init(
                matches: [HTTPRouteMatch(path: .prefix("/"))],
                retry: RouteRetry(codes: [503], attempts: 50, backoff: GatewayDuration(milliseconds: 100)))
        ]
        let rig = try Rig([backend.port], rules: rules)
        let client = rig.client()
        client.send("GET /admin HTTP/1.1\r\nHost: web\r\n\r\n")
        #expect(Poll.until { rig.counters().retries == 1 })
        rig.publish([backend.port], rules: rules, policies: .init(authorization: [Self.noAdmin]))
        #expect(client.readMessage().hasPrefix("HTTP/1.1 403 "))
    }

    // MARK: - Rate limits

    private static func limited(
        _ subject: RateLimiter.Subject, rate: UInt32 = 1, burst: UInt32, isDryRun: Bool = false
    ) throws -> Rig.Policies {
        var policies = Rig.Policies()
        policies.service.limits = [
            .init(
                subject, try #require(RateLimit(requestsPerSecond: rate, burst: burst)), isDryRun: isDryRun)
        ]
        return policies
    }

    /// Asks until a request is too many: a token comes back each second, however slow the machine is.
    private static func refused(_ client: TestConnection, _ lines: String = "") -> String? {
        for _ in 0..<200 {
            let answer = get(client, "/", lines)
            if answer.hasPrefix("HTTP/1.1 429 ") { return answer.lowercased() }
            guard answer.hasPrefix("HTTP/1.1 200 ") else { return nil }
        }
        return nil
    }

    @Test func whatIsTooOftenIs429AndSaysWhenToComeBack() throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let rig = try Rig([backend.port], policies: try Self.limited(.route, burst: 2))
        let client = rig.client()
        #expect(Self.get(client).hasPrefix("HTTP/1.1 200 ") && Self.get(client).hasPrefix("HTTP/1.1 200 "))
        let refused = try #require(Self.refused(client))
        #expect(refused.contains("\r\nretry-after: 1\r\n"))
        #expect(refused.contains("\r\nratelimit-policy: \"route\";q=2;w=2\r\n"))
        #expect(refused.contains("\r\nratelimit: \"route\";r=0;t="), "\(refused)")
        #expect(Poll.until { rig.recorder.all.last?.reason == .rateLimited })
        // What was used up stays so under the next configuration.
        rig.publish([backend.port], policies: try Self.limited(.route, burst: 2))
        #expect(Self.refused(client) != nil)
    }

    @Test func workersShareALimit() throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let limits = NodeLimits()
        let policies = try Self.limited(.route, rate: 1, burst: 1)
        let workers = try (0..<2).map { _ in
            try Rig([backend.port], policies: policies) { configuration in
                configuration.nodeLimits = limits
            }
        }
        let clients = workers.map { $0.client() }
        let began = SystemClock.monotonic
        var passed = 0
        for _ in 0..<50 { for client in clients where Self.get(client).hasPrefix("HTTP/1.1 200 ") { passed += 1 } }
        // One is there, and one comes each second.
        let seconds = Int((SystemClock.monotonic - began) / 1_000_000_000)
        #expect(passed >= 1 && passed <= seconds + 2)
    }

    @Test func headersHaveTheirOwnBuckets() throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let rig = try Rig([backend.port], policies: try Self.limited(.header("x-user"), burst: 1))
        let client = rig.client()
        #expect(Self.refused(client, "X-User: a\r\n") != nil && Self.refused(client, "x-user: b\r\n") != nil)
        #expect(Self.get(client, "/", "X-User: c\r\n").hasPrefix("HTTP/1.1 200 "))
        #expect(Self.get(client).hasPrefix("HTTP/1.1 200 ") && Self.refused(client) != nil)
    }

    @Test func aLimitInADryRunRefusesNothing() throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let rig = try Rig([backend.port], policies: try Self.limited(.sourceIdentity, burst: 1, isDryRun: true))
        let client = rig.client()
        for _ in 0..<50 { #expect(Self.get(client).hasPrefix("HTTP/1.1 200 ")) }
        let flags = rig.recorder.wait(for: 50).map { $0.flags.contains(.dryRunLimited) }
        #expect(!flags[0] && flags.contains(true))
    }

    /// Order: the refused do not use up what the allowed have.
    @Test func authorizationComesBeforeLimits() throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        var policies = try Self.limited(.route, burst: 1)
        policies.authorization = [Self.noAdmin]
        let rig = try Rig([backend.port], policies: policies)
        let client = rig.client()
        for _ in 0..<3 { #expect(Self.get(client, "/admin").hasPrefix("HTTP/1.1 403 ")) }
        #expect(Self.get(client).hasPrefix("HTTP/1.1 200 ") && Self.refused(client) != nil)
    }

    // MARK: - Faults

    private static func faulty(_ delay: UInt64?, _ answer: FaultInjection.Answer?, of share: UInt32) -> Rig.Policies {
        var policies = Rig.Policies()
        guard let share = FaultInjection.Share(perMillion: share) else { return policies }
        policies.service.fault = FaultInjection(
            delay: delay.map { .init(nanoseconds: $0 * 1_000_000, share: share) },
            abort: answer.map { .init($0, share: share) })
        return policies
    }

    @Test func abortsAreAnsweredAndNobodyElseIsAsked() throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let rig = try Rig([backend.port], policies: Self.faulty(nil, .status(418), of: 1_000_000))
        #expect(Self.get(rig.client()).hasPrefix("HTTP/1.1 418 "))
        #expect(rig.recorder.wait(for: 1)[0].reason == .faultInjected)
        let grpc = try Rig([backend.port], policies: Self.faulty(nil, .grpcStatus(14), of: 1_000_000))
        let answer = Self.get(grpc.client())
        #expect(answer.hasPrefix("HTTP/1.1 200 ") && answer.contains("\r\ngrpc-status: 14\r\n"))
        #expect(backend.requests.isEmpty)
    }

    @Test func delaysAreWaitedForAndTheRequestGoesOn() throws {
        let backend = try TestBackend { TestBackend.ok($0.hasSuffix("body") ? "whole" : "cut") }
        let rig = try Rig([backend.port], policies: Self.faulty(40, nil, of: 1_000_000))
        let client = rig.client()
        client.send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\n\r\nbo")
        client.send("dy")
        #expect(client.readMessage().hasSuffix("whole"))
        let record = rig.recorder.wait(for: 1)[0]
        #expect(record.endedAt - record.startedAt > 39_000_000 && record.attempts == 1)
        let both = try Rig([backend.port], policies: Self.faulty(30, .status(500), of: 1_000_000))
        #expect(Self.get(both.client()).hasPrefix("HTTP/1.1 500 "))
        let aborted = both.recorder.wait(for: 1)[0]
        #expect(aborted.endedAt - aborted.startedAt > 29_000_000 && aborted.attempts == 0)
    }

    @Test func sharesAreKept() throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let rig = try Rig([backend.port], policies: Self.faulty(nil, .status(500), of: 250_000))
        let client = rig.client()
        let failed = (0..<400).filter { _ in Self.get(client).hasPrefix("HTTP/1.1 500 ") }.count
        // 100 expected, deviation 8.7: five of them.
        #expect(failed > 56 && failed < 144)
    }
}
