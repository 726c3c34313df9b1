// SPDX-License-Identifier: Apache-2.0

/// Takes the mesh off the node. One item per step as it is done; the agent ends after the last.
public struct UninstallRequest: AdminCall {
    public typealias Item = UninstallStep
    public static let method = "uninstall"
    public static let access = AdminAccess.write

    /// Remove the state directory too: what `meshctl policy apply` stored is lost.
    public var purge: Bool

    public init(purge: Bool = false) {
        self.purge = purge
    }
}

/// Something that uninstalling removes.
public struct UninstallStep: Codable, Equatable, Sendable {
    public enum Outcome: String, Codable, Sendable {
        case removed
        /// There was nothing to remove.
        case absent
        /// With `--check`: is still there.
        case present
        case failed
    }

    /// What it is about: `link mesh_sockops`, `directory /sys/fs/bpf/sockmesh/n1`.
    public var subject: String
    public var outcome: Outcome
    /// Why it failed, or more about what is there.
    public var detail: String?

    public init(_ subject: String, _ outcome: Outcome, detail: String? = nil) {
        self.subject = subject
        self.outcome = outcome
        self.detail = detail
    }
}
