// SPDX-License-Identifier: Apache-2.0

/// Stores policies and enforces them: all of them, or none if one is refused. One item, when the kernel enforces them.
public struct ApplyPoliciesRequest: AdminCall {
    public typealias Item = PolicyChangeResult
    public static let method = "policy.apply"
    public static let access = AdminAccess.write

    public var files: [ManifestFile]

    public init(files: [ManifestFile]) {
        self.files = files
    }
}

/// Removes a policy that was applied.
public struct DeletePolicyRequest: AdminCall {
    public typealias Item = PolicyChangeResult
    public static let method = "policy.delete"
    public static let access = AdminAccess.write

    public var policy: PolicyReference

    public init(policy: PolicyReference) {
        self.policy = policy
    }
}

/// Returns the applied policies to what they were in an earlier generation.
///
/// Objects of the configuration directory are not touched: whoever owns the directory decides about them.
public struct RollbackPoliciesRequest: AdminCall {
    public typealias Item = PolicyChangeResult
    public static let method = "policy.rollback"
    public static let access = AdminAccess.write

    /// Absent: the state before the last apply, delete or rollback.
    public var generation: UInt32?

    public init(generation: UInt32? = nil) {
        self.generation = generation
    }
}

/// A change that the kernel enforces.
public struct PolicyChangeResult: Codable, Equatable, Sendable {
    public var changes: [PolicyChange]
    /// The generation in force now. Equals `previousGeneration` if nothing changed.
    public var generation: UInt32
    public var previousGeneration: UInt32
    /// From request read to verdict in force. The answer comes when the change is durable too.
    public var milliseconds: Double
    /// What the policies select but cannot enforce, and why.
    public var findings: [Finding]

    public init(
        changes: [PolicyChange], generation: UInt32, previousGeneration: UInt32, milliseconds: Double,
        findings: [Finding]
    ) {
        self.changes = changes
        self.generation = generation
        self.previousGeneration = previousGeneration
        self.milliseconds = milliseconds
        self.findings = findings
    }
}

/// Asks what applying would change. Changes nothing.
public struct DiffPoliciesRequest: AdminCall {
    public typealias Item = PolicyDiff
    public static let method = "policy.diff"
    public static let access = AdminAccess.read

    public var files: [ManifestFile]

    public init(files: [ManifestFile]) {
        self.files = files
    }
}

/// What applying would change.
public struct PolicyDiff: Codable, Equatable, Sendable {
    /// One policy that differs.
    public struct Entry: Codable, Equatable, Sendable {
        public var change: PolicyChange
        /// The manifest in force; absent if there is none.
        public var before: String?
        public var after: String?

        public init(change: PolicyChange, before: String?, after: String?) {
            self.change = change
            self.before = before
            self.after = after
        }
    }

    public var entries: [Entry]
    public var findings: [Finding]

    public init(entries: [Entry], findings: [Finding]) {
        self.entries = entries
        self.findings = findings
    }

    /// Applying would change something.
    public var differs: Bool { entries.contains { $0.change.action != .unchanged } }
}
