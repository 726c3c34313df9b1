// SPDX-License-Identifier: Apache-2.0

/// Asks for the generations that the agent remembers, newest first; one item each.
public struct GenerationsRequest: AdminCall {
    public typealias Item = GenerationReport
    public static let method = "generations"
    public static let access = AdminAccess.read

    /// At most so many.
    public var limit: Int?

    public init(limit: Int? = nil) {
        self.limit = limit
    }
}

/// A generation of policy: everything the kernel enforced between two changes.
public struct GenerationReport: Codable, Equatable, Sendable {
    public var generation: UInt32
    /// When it came into force.
    public var time: Timestamp
    /// Why there was a change: `apply by root (uid 0)`, `configuration directory`, `rollback to 12`.
    public var cause: String
    public var changes: [PolicyChange]
    /// In force now.
    public var current: Bool
    /// `meshctl policy rollback --to` can return to it.
    public var restorable: Bool

    public init(
        generation: UInt32, time: Timestamp, cause: String, changes: [PolicyChange], current: Bool, restorable: Bool
    ) {
        self.generation = generation
        self.time = time
        self.cause = cause
        self.changes = changes
        self.current = current
        self.restorable = restorable
    }
}
