// SPDX-License-Identifier: Apache-2.0

/// One thing that was looked at, by `meshctl check` or by the self-test of the fast path.
public struct CheckItem: Codable, Equatable, Sendable {
    public enum Outcome: String, Codable, Sendable {
        case passed
        /// Sockmesh works without it, but worse; `detail` says how.
        case warning
        /// Sockmesh does not work without it.
        case failed
        /// Could not be looked at; `detail` says why.
        case skipped
    }

    /// Short and stable, for example `cgroup2` or `program sk_lookup`.
    public var name: String
    public var outcome: Outcome
    /// What was found.
    public var detail: String
    /// What to do about it.
    public var hint: String?

    public init(_ name: String, _ outcome: Outcome, _ detail: String, hint: String? = nil) {
        self.name = name
        self.outcome = outcome
        self.detail = detail
        self.hint = hint
    }
}

/// The answer of `meshctl check`: can Sockmesh run here?
public struct CheckReport: Codable, Equatable, Sendable {
    public var items: [CheckItem]

    public init(items: [CheckItem]) {
        self.items = items
    }

    /// Nothing that Sockmesh needs is missing.
    public var passed: Bool { items.allSatisfy { $0.outcome != .failed } }
}
