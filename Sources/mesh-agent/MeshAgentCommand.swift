// SPDX-License-Identifier: Apache-2.0

public import ArgumentParser
import Foundation
import Glibc
import Logging
import MeshAdmin
public import MeshAgent
import MeshVersion

/// The command line of the agent: it only turns words into an ``AgentConfiguration``.
@main
struct MeshAgentCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mesh-agent",
        abstract: "Enrols the pods of this node into the mesh and keeps the kernel enforcing their policy.",
        discussion: """
            Runs in the foreground as root until SIGTERM or SIGINT; logs to standard error. SIGHUP reads the configuration \
            again, and starts the proxy's program anew if its file is another one. What it put into the kernel stays when \
            it ends, so that traffic and policy go on: meshctl uninstall removes it.
            """,
        version: SockmeshVersion.current, subcommands: [FactoryCommand.self])

    @Option(
        help: ArgumentHelp(
            "Name of this node, as in spec.nodeName of its pods. (default: the host name)", valueName: "name"))
    var node: String?

    @Option(
        help: ArgumentHelp(
            "Directory of Kubernetes manifests, watched for changes. (default: /etc/sockmesh/NODE if it exists)",
            valueName: "path"))
    var configDir: String?

    @Option(
        help: ArgumentHelp(
            "Directory for what must survive a restart: applied policies, identities, generations. "
                + "(default: /var/lib/sockmesh/NODE)", valueName: "path"))
    var stateDir: String?

    @Option(
        help: ArgumentHelp(
            "Cgroup v2 of the pods' processes; made if it is missing. (default: sockmesh/NODE below the mount of cgroup2)",
            valueName: "path"))
    var cgroup: String?

    @Option(
        help: ArgumentHelp(
            "Directory on a BPF file system for what outlives the agent. (default: /sys/fs/bpf/sockmesh/NODE)",
            valueName: "path"))
    var bpffs: String?

    @Option(help: ArgumentHelp("Admin socket, for meshctl. (default: /run/sockmesh/NODE.sock)", valueName: "path"))
    var socket: String?

    @Option(
        help: ArgumentHelp(
            "Group that may read the state of the node. (default: sockmesh if it exists, else only root)",
            valueName: "group"))
    var adminGroup: String?

    @Option(
        help: ArgumentHelp(
            "Group that may also change it. (default: sockmesh-admin if it exists, else only root)",
            valueName: "group"))
    var writeGroup: String?

    @Option(
        help: ArgumentHelp(
            "Program of the node proxy, which the agent starts and supervises; none: no proxy runs, and routes and policy "
                + "of requests are refused. (default: mesh-proxy beside mesh-agent or in /usr/local/bin; if it is in "
                + "neither, none with a warning)", valueName: "path|none"))
    var proxy: String?

    @Option(
        help: ArgumentHelp("Threads of the proxy. (default: one for two processors)", valueName: "number"))
    var proxyWorkers: Int?

    @Option(
        help: "A line for each request that the proxy serves, on standard error: json, text or off. (default: json)")
    var proxyAccessLog: ProxyOptions.AccessLog?

    @Option(
        help: ArgumentHelp(
            "Where Prometheus finds the metrics of the node, at /metrics: 127.0.0.1:15020 for instance. "
                + "(default: nowhere)", valueName: "address:port"))
    var metrics: String?

    @Option(
        help: ArgumentHelp(
            "Where certificates of the pods come from: local, an authority in the state directory; join:FILE, the "
                + "authority that meshctl ca token has made FILE for. (default: they have none)", valueName: "provider")
    )
    var identity: IdentityChoice?

    @Option(
        help: ArgumentHelp("Trust domain of the pods' identities. (default: cluster.local)", valueName: "name"))
    var trustDomain: String?

    @Option(help: "Form of the log: text or json.")
    var logFormat = AgentConfiguration.LogFormat.text

    @Option(help: "Least severity that is logged: trace, debug, info, notice, warning, error or critical.")
    var logLevel = AgentConfiguration.LogLevel.info

    /// Exit status 2 for flags that are wrong, as meshctl; the parser's own is 64.
    static func main() {
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch  where exitCode(for: error) == .validationFailure {
            FileHandle.standardError.write(Data("\(fullMessage(for: error))\n".utf8))
            Glibc.exit(2)
        } catch {
            exit(withError: error)
        }
    }

    private var options: AgentOptions {
        var options = AgentOptions()
        options.node = node
        options.configDirectory = configDir
        options.stateDirectory = stateDir
        options.cgroup = cgroup
        options.bpffs = bpffs
        options.socket = socket
        options.adminGroup = adminGroup
        options.writeGroup = writeGroup
        options.proxy = proxy
        options.proxyOptions = ProxyOptions(workers: proxyWorkers, accessLog: proxyAccessLog)
        options.metrics = metrics
        options.identity = identity
        options.trustDomain = trustDomain
        options.logFormat = logFormat
        options.logLevel = logLevel
        return options
    }

    func run() throws {
        // Before anything is looked at: without rights even what exists seems not to.
        do throws(AgentError) { try Agent.requireRoot() } catch {
            throw ValidationError(error.description)
        }
        let configuration: AgentConfiguration
        do {
            configuration = try AgentConfiguration(options, on: Machine.current())
        } catch let error as ConfigurationError {
            throw ValidationError(error.description)
        }
        let logger = Logger(label: "mesh-agent") { _ in
            StandardErrorLog(format: configuration.logFormat, level: configuration.logLevel)
        }
        do {
            try Agent(configuration, logger: logger).run()
        } catch {
            logger.critical("\(error)")
            throw ExitCode.failure
        }
    }
}

extension AgentConfiguration.LogFormat: ExpressibleByArgument {}
extension ProxyOptions.AccessLog: ExpressibleByArgument {}
extension IdentityChoice: ExpressibleByArgument {
    public init?(argument: String) { self.init(argument) }
}
extension AgentConfiguration.LogLevel: ExpressibleByArgument {}
