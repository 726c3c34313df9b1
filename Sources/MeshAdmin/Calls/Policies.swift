// SPDX-License-Identifier: Apache-2.0

/// Asks for policies; one item each.
public struct PoliciesRequest: AdminCall {
    public typealias Item = PolicyReport
    public static let method = "policy.get"
    public static let access = AdminAccess.read

    /// Only this kind.
    public var kind: String?
    public var namespace: String?
    /// Needs `kind` and `namespace`; then a policy that does not exist is an error.
    public var name: String?

    public init(kind: String? = nil, namespace: String? = nil, name: String? = nil) {
        self.kind = kind
        self.namespace = namespace
        self.name = name
    }
}

/// A policy and what becomes of it.
public struct PolicyReport: Codable, Equatable, Sendable {
    public enum Origin: String, Codable, Sendable {
        /// A file of the configuration directory.
        case directory
        /// `meshctl policy apply`.
        case applied
    }

    public enum State: String, Codable, Sendable {
        case enforced
        /// The newest version is refused; the last good one is in force.
        case lastGood
        /// Refused, and there never was a good version: what it selects is denied.
        case invalid
    }

    public var policy: PolicyReference
    public var origin: Origin
    /// File that holds it, for `directory`.
    public var file: String?
    public var state: State
    /// Pods of this node that it selects, `NAMESPACE/NAME`.
    public var selects: [String]
    public var findings: [Finding]
    /// The version in force, as YAML.
    public var manifest: String

    public init(
        policy: PolicyReference, origin: Origin, file: String? = nil, state: State, selects: [String],
        findings: [Finding], manifest: String
    ) {
        self.policy = policy
        self.origin = origin
        self.file = file
        self.state = state
        self.selects = selects
        self.findings = findings
        self.manifest = manifest
    }
}

/// A file of manifests as the user gave it.
public struct ManifestFile: Codable, Equatable, Sendable {
    /// For messages: the path as given, `<stdin>` for standard input.
    public var name: String
    /// One or more YAML documents.
    public var content: String

    public init(name: String, content: String) {
        self.name = name
        self.content = content
    }
}

/// What happened, or would happen, to one policy.
public struct PolicyChange: Codable, Equatable, Sendable {
    public enum Action: String, Codable, Sendable {
        case created
        case updated
        case deleted
        case unchanged
    }

    public var policy: PolicyReference
    public var action: Action

    public init(_ policy: PolicyReference, _ action: Action) {
        self.policy = policy
        self.action = action
    }
}
