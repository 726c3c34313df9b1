// SPDX-License-Identifier: Apache-2.0

/// Asks for the state of the node. Without `wait` the answer is one item.
public struct StatusRequest: AdminCall {
    public typealias Item = StatusReport
    public static let method = "status"
    public static let access = AdminAccess.read

    /// Send a report whenever the reasons for not being ready change, and end with the first report that is ready.
    public var wait: Bool
    /// How long to wait, in seconds; after it the call fails with `timeout`.
    public var timeoutSeconds: Double?

    public init(wait: Bool = false, timeoutSeconds: Double? = nil) {
        self.wait = wait
        self.timeoutSeconds = timeoutSeconds
    }
}

/// The state of a node.
public struct StatusReport: Codable, Equatable, Sendable {
    public var node: String
    /// Version of the agent, `0.1.0`.
    public var version: String
    /// Process of the agent.
    public var pid: Int32
    public var uptimeSeconds: Double
    /// Configuration and policy are in force and every pod of this node that opted in is enrolled.
    public var ready: Bool
    /// Why not, one sentence each; empty when `ready`.
    public var notReady: [String]
    /// The generation that the kernel enforces.
    public var generation: UInt32
    /// Release of the running kernel, `6.18.44`.
    public var kernel: String
    public var acceleration: AccelerationReport
    public var workloads: WorkloadCountReport
    public var counters: [CounterReport]
    public var maps: [MapReport]
    /// Objects of the configuration that are refused or only partly enforced.
    public var findings: [Finding]
    public var paths: PathsReport
    /// `nil` where the agent runs no proxy.
    public var proxy: ProxySupervisionReport?
    /// `nil` where pods have no certificates.
    public var identity: IdentitySummaryReport?

    public init(
        node: String, version: String, pid: Int32, uptimeSeconds: Double, ready: Bool, notReady: [String],
        generation: UInt32, kernel: String, acceleration: AccelerationReport, workloads: WorkloadCountReport,
        counters: [CounterReport], maps: [MapReport], findings: [Finding], paths: PathsReport,
        proxy: ProxySupervisionReport? = nil, identity: IdentitySummaryReport? = nil
    ) {
        self.node = node
        self.version = version
        self.pid = pid
        self.uptimeSeconds = uptimeSeconds
        self.ready = ready
        self.notReady = notReady
        self.generation = generation
        self.kernel = kernel
        self.acceleration = acceleration
        self.workloads = workloads
        self.counters = counters
        self.maps = maps
        self.findings = findings
        self.paths = paths
        self.proxy = proxy
        self.identity = identity
    }
}

/// Whether this node moves bytes from socket to socket, and what the self-test said.
public struct AccelerationReport: Codable, Equatable, Sendable {
    /// The gate of the node is open: connections that qualify are redirected.
    public var enabled: Bool
    /// Why the gate is closed.
    public var reason: String?
    public var selfTest: [CheckItem]

    public init(enabled: Bool, reason: String? = nil, selfTest: [CheckItem] = []) {
        self.enabled = enabled
        self.reason = reason
        self.selfTest = selfTest
    }
}

/// How many pods of this node are in which state.
public struct WorkloadCountReport: Codable, Equatable, Sendable {
    public var enabled: Int
    public var pending: Int
    public var failed: Int

    public init(enabled: Int, pending: Int, failed: Int) {
        self.enabled = enabled
        self.pending = pending
        self.failed = failed
    }
}

/// A counter of the kernel programs, summed over the processors since the maps were made.
public struct CounterReport: Codable, Equatable, Sendable {
    /// Name as in docs/errors.md, for example `policy-egress`.
    public var name: String
    public var value: UInt64
    /// What it counts, in one phrase.
    public var meaning: String

    public init(name: String, value: UInt64, meaning: String) {
        self.name = name
        self.value = value
        self.meaning = meaning
    }
}

/// How full a map of the kernel is.
public struct MapReport: Codable, Equatable, Sendable {
    public var name: String
    public var entries: UInt64
    public var capacity: UInt64

    public init(name: String, entries: UInt64, capacity: UInt64) {
        self.name = name
        self.entries = entries
        self.capacity = capacity
    }
}

/// Where the agent keeps its things.
public struct PathsReport: Codable, Equatable, Sendable {
    public var configDirectory: String?
    public var stateDirectory: String
    public var cgroup: String
    public var bpffs: String
    public var socket: String

    public init(
        configDirectory: String?, stateDirectory: String, cgroup: String, bpffs: String, socket: String
    ) {
        self.configDirectory = configDirectory
        self.stateDirectory = stateDirectory
        self.cgroup = cgroup
        self.bpffs = bpffs
        self.socket = socket
    }
}
