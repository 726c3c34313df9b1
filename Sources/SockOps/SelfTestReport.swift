// SPDX-License-Identifier: Apache-2.0

/// What the start-up test of the fast path found on this kernel.
public struct SelfTestReport: Hashable, Sendable {
    /// What a failed check takes away.
    public enum Gate: String, Sendable {
        /// Order and memory: without it no connection is redirected at all.
        case enabled
        /// Transparency to any application: without it only workloads with `accelerate: enabled` are redirected.
        case auto
    }

    /// One property of the kernel.
    public struct Check: Hashable, Sendable {
        /// Short and stable, for machines: `order-deferred-accept`.
        public let name: String
        /// What was tried.
        public let title: String
        /// What it gates.
        public let gate: Gate
        /// Whether the kernel behaved.
        public let passed: Bool
        /// What was seen, or what it means; never empty if the check failed.
        public let detail: String

        /// Memberwise.
        public init(name: String, title: String, gate: Gate, passed: Bool, detail: String) {
            self.name = name
            self.title = title
            self.gate = gate
            self.passed = passed
            self.detail = detail
        }
    }

    /// In the order of their running.
    public let checks: [Check]
    /// Wall-clock time of the whole test.
    public let duration: Duration

    /// Memberwise.
    public init(checks: [Check], duration: Duration) {
        self.checks = checks
        self.duration = duration
    }

    /// Whether workloads with `accelerate: enabled` may be redirected on this node.
    public var allowsEnabled: Bool { !checks.isEmpty && checks.allSatisfy { $0.passed || $0.gate == .auto } }

    /// Whether workloads with `accelerate: auto` may be redirected too.
    public var allowsAuto: Bool { !checks.isEmpty && checks.allSatisfy(\.passed) }

    /// The checks that failed.
    public var failures: [Check] { checks.filter { !$0.passed } }
}
