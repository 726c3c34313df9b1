// SPDX-License-Identifier: Apache-2.0

/// Makes a place for a process in a pod: the cgroup in which every hook sees it.
///
/// Fails with `busy` as long as the pod asks for the mesh and its policy is not in force: a process would go without.
public struct PrepareRunRequest: AdminCall {
    public typealias Item = RunTarget
    public static let method = "run.prepare"
    public static let access = AdminAccess.write

    public var namespace: String
    public var name: String

    public init(namespace: String, name: String) {
        self.namespace = namespace
        self.name = name
    }
}

/// Where a process of a pod belongs.
public struct RunTarget: Codable, Equatable, Sendable {
    /// Absolute path of the pod's network namespace.
    public var netns: String
    /// Cookie of that namespace: whoever enters it checks that it is still the same one.
    public var netnsCookie: UInt64
    /// Absolute path of the cgroup, which exists when the answer arrives.
    public var cgroup: String
    public var redirection: RedirectionReport

    public init(netns: String, netnsCookie: UInt64, cgroup: String, redirection: RedirectionReport) {
        self.netns = netns
        self.netnsCookie = netnsCookie
        self.cgroup = cgroup
        self.redirection = redirection
    }
}
