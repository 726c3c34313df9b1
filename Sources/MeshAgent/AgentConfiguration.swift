// SPDX-License-Identifier: Apache-2.0

public import Identity
public import LinuxIO
public import MeshAdmin

/// Everything that an agent is told when it starts: checked, and complete.
///
/// The values follow from ``AgentOptions`` (what the operator said) and ``Machine`` (what was found).
public struct AgentConfiguration: Equatable, Sendable {
    /// Form of the log lines on standard error.
    public enum LogFormat: String, CaseIterable, Sendable {
        case text
        /// One object per line.
        case json
    }

    /// Least severity that is logged.
    public enum LogLevel: String, CaseIterable, Sendable {
        case trace, debug, info, notice, warning, error, critical
    }

    /// Name of the node, as in `spec.nodeName` of its pods.
    public var node: String
    /// Directory of manifests, watched; `nil`: only what `meshctl policy apply` stored.
    public var configDirectory: String?
    /// Directory that survives restarts: applied objects, identities, generations.
    public var stateDirectory: String
    /// Cgroup whose processes the programs see. Made if absent.
    public var cgroup: String
    /// Directory of pinned objects on a BPF file system. Made if absent.
    public var bpffs: String
    /// Path of the admin socket.
    public var socket: String
    /// Who may use the admin socket.
    public var authorization: AdminAuthorization
    /// The node proxy, if one runs.
    public var proxyChoice: ProxyChoice
    /// What the proxy is told on its command line.
    public var proxyOptions: ProxyOptions
    /// Where Prometheus finds the metrics of the node; `nil`: nowhere.
    public var metrics: StreamEndpoint?
    /// Of the mesh, and of the identities of its pods.
    public var trustDomain: TrustDomain
    /// Where pods' certificates come from; `nil`: they have none.
    public var identity: IdentitySource?
    public var logFormat: LogFormat
    public var logLevel: LogLevel

    /// Completes what the operator said with what was found on the machine.
    ///
    /// - Throws: ``ConfigurationError`` with every problem, not only the first.
    public init(_ options: AgentOptions, on machine: Machine) throws(ConfigurationError) {
        var problems = ConfigurationError(problems: [])
        let common = AuthorityConfiguration(options, on: machine, &problems)
        let node = common.node
        self.node = node
        configDirectory = common.configDirectory
        stateDirectory = common.stateDirectory
        trustDomain = common.trustDomain
        let path = machine.absolute
        cgroup = problems.value("--cgroup", else: "") { () throws(ConfigurationError.Rejection) in
            try Self.cgroup(options.cgroup.map(path), node: node, mount: machine.cgroup2Mount)
        }
        bpffs = path(options.bpffs ?? "/sys/fs/bpf/sockmesh/\(node)")
        socket = problems.value("--socket", else: "") { () throws(ConfigurationError.Rejection) in
            let socket = path(options.socket ?? "/run/sockmesh/\(node).sock")
            guard socket.utf8.count <= Self.longestSocketPath else {
                throw .init(
                    "\(socket) has \(socket.utf8.count) bytes, more than a Unix socket address holds",
                    "choose a path of at most \(Self.longestSocketPath) bytes")
            }
            return socket
        }
        let adminGroup = problems.value("--admin-group", else: nil) { () throws(ConfigurationError.Rejection) in
            try Self.group(options.adminGroup, usual: "sockmesh", on: machine)
        }
        let writeGroup = problems.value("--write-group", else: nil) { () throws(ConfigurationError.Rejection) in
            try Self.group(options.writeGroup, usual: "sockmesh-admin", on: machine)
        }
        authorization = AdminAuthorization(adminGroup: adminGroup, writeGroup: writeGroup)
        let proxyChoice = ProxyChoice(options.proxy, on: machine, path: path)
        self.proxyChoice = proxyChoice
        proxyOptions = options.proxyOptions
        problems.value("--proxy-workers", else: ()) { () throws(ConfigurationError.Rejection) in
            try Self.check(options.proxyOptions, of: proxyChoice)
        }
        metrics = problems.value("--metrics", else: nil) { () throws(ConfigurationError.Rejection) in
            try options.metrics.map(Self.endpoint)
        }
        identity = problems.value("--identity", else: nil) { () throws(ConfigurationError.Rejection) in
            try Self.identity(options.identity, proxy: proxyChoice, path: path)
        }
        logFormat = options.logFormat
        logLevel = options.logLevel
        if !problems.problems.isEmpty { throw problems }
    }

    /// Program of the node proxy; `nil`: none runs.
    public var proxy: String? { proxyChoice.program }

    /// Bytes of `sun_path` less the terminating zero, unix(7).
    private static let longestSocketPath = 107
}

/// How the agent starts its proxy; `nil`: as the proxy itself has it.
public struct ProxyOptions: Equatable, Hashable, Sendable {
    public enum AccessLog: String, CaseIterable, Sendable {
        case json, text, off
    }

    /// Threads that serve.
    public var workers: Int?
    /// A line for each request, on the agent's standard error.
    public var accessLog: AccessLog?

    public init(workers: Int? = nil, accessLog: AccessLog? = nil) {
        self.workers = workers
        self.accessLog = accessLog
    }

    /// Of the proxy's command line.
    var arguments: [String] {
        (workers.map { ["--workers", "\($0)"] } ?? []) + (accessLog.map { ["--access-log", $0.rawValue] } ?? [])
    }
}

/// What the operator said on the command line; `nil` where nothing was said.
public struct AgentOptions: Equatable, Sendable {
    public var node: String?
    public var configDirectory: String?
    public var stateDirectory: String?
    public var cgroup: String?
    public var bpffs: String?
    public var socket: String?
    /// Name or number of a group.
    public var adminGroup: String?
    /// Name or number of a group.
    public var writeGroup: String?
    /// Path of a program, or `none`.
    public var proxy: String?
    public var proxyOptions = ProxyOptions()
    /// `127.0.0.1:15020`, `[::1]:15020`.
    public var metrics: String?
    public var trustDomain: String?
    public var identity: IdentityChoice?
    public var logFormat = AgentConfiguration.LogFormat.text
    public var logLevel = AgentConfiguration.LogLevel.info

    /// Nothing said.
    public init() {}
}
