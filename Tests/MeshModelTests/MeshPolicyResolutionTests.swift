// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import MeshModel

@Suite struct MeshPolicyResolutionTests {
    typealias Subject = MeshPolicyResolution.Subject

    static func policy(
        _ name: String, in namespace: String = "shop", time: String? = nil, _ targets: [MeshPolicy.Target],
        _ set: (inout MeshPolicySettings) -> Void
    ) -> MeshPolicy {
        var policy = MeshPolicy(
            metadata: ObjectMetadata(name: name, namespace: namespace, creationTimestamp: time), targets: targets)
        set(&policy.settings)
        return policy
    }

    static let web = LabelSelector(matchLabels: ["app": "web"])
    /// One of each level; the number is the level's.
    static let levels: [MeshPolicy] = [
        policy("mesh", in: "root", [.namespace]) { $0.maxConnections = 4 },
        policy("namespace", [.namespace]) { $0.maxConnections = 3 },
        policy("service", [.service("web", port: nil)]) { $0.maxConnections = 2 },
        policy("port", [.service("web", port: "http")]) { $0.maxConnections = 1 },
        policy("pod", [.pods(web)]) { $0.maxConnections = 0 },
    ]

    @Test(
        arguments: [
            (Subject(namespace: "bank"), 4), (Subject(namespace: "shop"), 3),
            (Subject(namespace: "shop", service: "web"), 2), (Subject(namespace: "shop", service: "other"), 3),
            (Subject(namespace: "bank", service: "web"), 4),
            (Subject(namespace: "shop", service: "web", port: "http"), 1),
            (Subject(namespace: "shop", service: "web", port: "admin"), 2),
            (Subject(namespace: "shop", service: "web", port: "http", labels: ["app": "web"]), 0),
            (Subject(namespace: "shop", service: "web", labels: ["app": "db"]), 2),
            (Subject(namespace: "bank", labels: ["app": "web"]), 4), (Subject(namespace: "root"), 4),
        ] as [(Subject, UInt32)])
    func theNearestTargetWins(_ subject: Subject, _ expected: UInt32) {
        for policies in [Self.levels, Self.levels.reversed()] {
            let resolution = MeshPolicyResolution(policies, for: subject, rootNamespace: "root")
            #expect(resolution.settings.maxConnections == expected)
            #expect(resolution.conflicts.isEmpty)
        }
    }

    @Test func fieldsAreDecidedApart() {
        let policies = [
            Self.policy("a", [.namespace]) {
                $0.maxPending = 7
                $0.fault = .init(abort: .httpStatus(503))
            },
            Self.policy("b", [.service("web", port: nil)]) { $0.maxPending = 8 },
        ]
        let resolution = MeshPolicyResolution(
            policies, for: Subject(namespace: "shop", service: "web"), rootNamespace: "root")
        #expect(resolution.settings.maxPending == 8)
        #expect(resolution.settings.fault == .init(abort: .httpStatus(503)))
        #expect(resolution.sources == [.maxPending: policies[1].reference, .fault: policies[0].reference])
    }

    @Test func ofEqualsTheOldestWinsAndTheOtherIsConflicted() {
        let old = Self.policy("z", time: "2024-01-01T00:00:00Z", [.namespace]) { $0.maxPending = 1 }
        let new = Self.policy("a", time: "2025-01-01T00:00:00Z", [.namespace]) {
            $0.maxPending = 2
            $0.maxConnections = 9
        }
        let undated = Self.policy("b", [.service("web", port: nil), .namespace]) { $0.maxPending = 3 }
        let here = MeshPolicyResolution([undated, new, old], for: Subject(namespace: "shop"), rootNamespace: "root")
        #expect(here.settings.maxPending == 1)
        // What it does not lose of it holds.
        #expect(here.settings.maxConnections == 9)
        let conflict = MeshPolicyResolution.Conflict(field: .maxPending, winner: old.reference)
        #expect(here.conflicts == [new.reference: [conflict], undated.reference: [conflict]])
        // By another of its targets it is nearer, and has no rival there.
        let web = MeshPolicyResolution(
            [undated, new, old], for: Subject(namespace: "shop", service: "web"), rootNamespace: "root")
        #expect(web.settings.maxPending == 3)
        #expect(web.conflicts == [new.reference: [conflict]])
    }

    @Test func everyFieldCanBeSetAndCopied() {
        let all = Self.full
        for field in MeshPolicyField.allCases {
            var one = MeshPolicySettings()
            #expect(field.copy(from: all, to: &one) == true)
            let set = MeshPolicyField.allCases.filter { $0.isSet(in: one) }
            #expect(set == [field])
        }
        var copy = MeshPolicySettings()
        for field in MeshPolicyField.allCases { _ = field.copy(from: all, to: &copy) }
        #expect(copy == all)
    }

    static var full: MeshPolicySettings {
        var all = MeshPolicySettings()
        all.maxConnections = 1
        all.maxPending = 2
        all.connectTimeout = .init(milliseconds: 3)
        all.idleTimeout = .init(milliseconds: 4)
        all.poolPerClient = true
        all.maxRequestHeadersKb = 5
        all.maxConcurrentStreams = 6
        all.requestTimeout = .init(milliseconds: 7)
        all.backendRequestTimeout = .init(milliseconds: 8)
        all.retryBudget = .init()
        all.outlierDetection = .init()
        all.algorithm = .maglev(.sourceAddress)
        all.locality = .node
        all.rateLimits = []
        all.fault = .init()
        all.protocolOverrides = [80: .grpc]
        all.detect = .auto
        all.detectTimeout = .init(milliseconds: 9)
        return all
    }

    // MARK: - Oracle

    /// For one field: of the policies that set it, the best by a list of preferences, compared pair by pair.
    private func oracle(
        _ policies: [MeshPolicy], _ subject: Subject, _ value: (MeshPolicySettings) -> UInt32?
    ) -> (value: UInt32?, losers: Set<String>) {
        func rank(_ policy: MeshPolicy) -> Int? {
            var best: Int?
            for target in policy.targets {
                var rank: Int?
                let isHere = policy.metadata.namespace == subject.namespace
                switch target {
                case .pods(let selector) where isHere: rank = subject.labels.map(selector.matches) == true ? 1 : nil
                case .service(subject.service, port: subject.port) where isHere && subject.port != nil: rank = 2
                case .service(subject.service, port: nil) where isHere: rank = 3
                case .namespace where policy.metadata.namespace == "root": rank = 5
                case .namespace where isHere: rank = 4
                default: break
                }
                if let rank, rank < best ?? 9 { best = rank }
            }
            return best
        }
        func isOlder(_ one: MeshPolicy, _ other: MeshPolicy) -> Bool {
            let times = (one.metadata.creationTimestamp ?? "9", other.metadata.creationTimestamp ?? "9")
            return times.0 == times.1
                ? one.metadata.namespacedName.description < other.metadata.namespacedName.description
                : times.0 < times.1
        }
        let setting = policies.filter { value($0.settings) != nil && rank($0) != nil }
        let losers = setting.filter { one in setting.contains { rank($0) == rank(one) && isOlder($0, one) } }
        let winner = setting.first { one in
            setting.allSatisfy { other in
                one == other || (rank(one) ?? 9) < (rank(other) ?? 9)
                    || (rank(one) == rank(other) && isOlder(one, other))
            }
        }
        return (winner.flatMap { value($0.settings) }, Set(losers.map(\.metadata.namespacedName.description)))
    }

    @Test(arguments: 0..<4 as Range<UInt64>) func randomPoliciesAgree(_ batch: UInt64) {
        var random = SplitMix64(seed: batch)
        var found = 0
        var lost = 0
        for _ in 0..<400 {
            let policies = (0..<Int.random(in: 0...7, using: &random)).map { number in
                let targets: [MeshPolicy.Target] = random.list(atLeast: 1, atMost: 2) { random in
                    random.pick([
                        .namespace, .service("web", port: nil), .service("web", port: "http"),
                        .service("db", port: nil),
                        .pods(Self.web), .pods(LabelSelector(matchLabels: ["tier": "1"])),
                    ])
                }
                return Self.policy(
                    "p\(number)", in: random.pick(["shop", "shop", "bank", "root"]),
                    time: random.pick([nil, "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"]), targets
                ) {
                    if random.chance(60) { $0.maxPending = UInt32(number) }
                    if random.chance(60) { $0.maxConnections = UInt32(number + 100) }
                }
            }
            let subject = Subject(
                namespace: random.pick(["shop", "shop", "bank", "root"]),
                service: random.pick([nil, "web", "web", "db"]),
                port: random.pick([nil, "http"]),
                labels: random.pick([nil, [:], ["app": "web"], ["app": "web", "tier": "1"]]))
            let resolution = MeshPolicyResolution(policies, for: subject, rootNamespace: "root")
            for (field, value) in [
                (MeshPolicyField.maxPending, \.maxPending), (.maxConnections, \.maxConnections),
            ] as [(MeshPolicyField, KeyPath<MeshPolicySettings, UInt32?>)] {
                let expected = oracle(policies, subject) { $0[keyPath: value] }
                #expect(resolution.settings[keyPath: value] == expected.value)
                let losers = resolution.conflicts.filter { $0.value.contains { $0.field == field } }
                #expect(Set(losers.keys.map(\.namespacedName.description)) == expected.losers)
                found += expected.value == nil ? 0 : 1
                lost += expected.losers.count
            }
        }
        #expect(found > 200 && lost > 20)
    }
}
