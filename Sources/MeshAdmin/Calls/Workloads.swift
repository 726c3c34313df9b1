// SPDX-License-Identifier: Apache-2.0

/// Asks for the pods that the agent knows; one item each.
public struct WorkloadsRequest: AdminCall {
    public typealias Item = WorkloadReport
    public static let method = "workloads"
    public static let access = AdminAccess.read

    /// Only pods of this namespace.
    public var namespace: String?
    /// Pods of other nodes and pods that have not opted in, too.
    public var all: Bool

    public init(namespace: String? = nil, all: Bool = false) {
        self.namespace = namespace
        self.all = all
    }
}

/// A pod as the mesh sees it.
public struct WorkloadReport: Codable, Equatable, Sendable {
    public var namespace: String
    public var name: String
    public var serviceAccount: String
    /// Text forms, in the order of `status.podIPs`.
    public var addresses: [String]
    public var node: String?
    /// Path of the network namespace, for pods of this node.
    public var netns: String?
    /// Cookie of that namespace, once it was opened.
    public var netnsCookie: UInt64?
    public var identity: IdentityReport
    public var redirection: RedirectionReport
    public var acceleration: WorkloadAccelerationReport
    /// Number of the policy set in the kernel; 0: no policy, everything is allowed.
    public var policySet: UInt32
    /// Policies that select this pod.
    public var policies: [PolicyReference]
    public var connections: ConnectionCountReport
    /// Flow events of this pod that were dropped, by rate limit or full buffer.
    public var lostEvents: UInt64
    /// Processes in the pod's network namespace that no hook sees, because they are outside the hooked cgroup.
    public var outsideProcesses: [ProcessReport]

    public init(
        namespace: String, name: String, serviceAccount: String, addresses: [String], node: String?,
        netns: String? = nil, netnsCookie: UInt64? = nil, identity: IdentityReport, redirection: RedirectionReport,
        acceleration: WorkloadAccelerationReport, policySet: UInt32, policies: [PolicyReference],
        connections: ConnectionCountReport, lostEvents: UInt64, outsideProcesses: [ProcessReport] = []
    ) {
        self.namespace = namespace
        self.name = name
        self.serviceAccount = serviceAccount
        self.addresses = addresses
        self.node = node
        self.netns = netns
        self.netnsCookie = netnsCookie
        self.identity = identity
        self.redirection = redirection
        self.acceleration = acceleration
        self.policySet = policySet
        self.policies = policies
        self.connections = connections
        self.lostEvents = lostEvents
        self.outsideProcesses = outsideProcesses
    }
}

/// How far a pod's enrolment has come.
public struct RedirectionReport: Codable, Equatable, Sendable {
    public enum State: String, Codable, Sendable {
        /// Has not opted in, or belongs to another node.
        case disabled
        /// Identity or policy is not in force yet; everything but self-traffic is refused.
        case pending
        case enabled
        case failed
    }

    public var state: State
    /// Why it failed, or what it waits for.
    public var reason: String?

    public init(_ state: State, reason: String? = nil) {
        self.state = state
        self.reason = reason
    }

    /// As in the annotation `sockmesh.io/redirection`: `enabled`, `failed: no such netns`.
    public var text: String { reason.map { "\(state.rawValue): \($0)" } ?? state.rawValue }
}

/// Whether connections of a pod may be redirected.
public struct WorkloadAccelerationReport: Codable, Equatable, Sendable {
    /// The annotation `sockmesh.io/accelerate`: `auto`, `enabled`, `disabled`.
    public var requested: String
    public var effective: Bool
    /// Why not, where it is not.
    public var reason: String?

    public init(requested: String, effective: Bool, reason: String? = nil) {
        self.requested = requested
        self.effective = effective
        self.reason = reason
    }
}

/// Connections of a pod, TCP and UDP flows together.
public struct ConnectionCountReport: Codable, Equatable, Sendable {
    /// Open now.
    public var open: UInt64
    /// Opened since the pod was enrolled; so also the next two.
    public var opened: UInt64
    public var denied: UInt64
    public var closed: UInt64

    public init(open: UInt64, opened: UInt64, denied: UInt64, closed: UInt64) {
        self.open = open
        self.opened = opened
        self.denied = denied
        self.closed = closed
    }
}

/// A process by number and command line.
public struct ProcessReport: Codable, Equatable, Sendable {
    public var pid: Int32
    public var command: String
    /// Its cgroup, as in `/proc/PID/cgroup`.
    public var cgroup: String?

    public init(pid: Int32, command: String, cgroup: String? = nil) {
        self.pid = pid
        self.command = command
        self.cgroup = cgroup
    }
}
