// SPDX-License-Identifier: Apache-2.0

public import Identity

/// What a node's agent and whoever keeps its authority without one are told alike. Of the machine it needs the host name,
/// and none of the file systems that the mesh needs.
public struct AuthorityConfiguration: Equatable, Sendable {
    /// Name of the node, as in `spec.nodeName` of its pods.
    public var node: String
    /// Directory of manifests; `nil`: there is none.
    public var configDirectory: String?
    /// Directory that survives restarts.
    public var stateDirectory: String
    /// Of the mesh, and of the identities of its pods.
    public var trustDomain: TrustDomain

    /// The authority itself.
    public var file: String { "\(stateDirectory)/authority.pem" }
    /// The tokens by which nodes join it.
    var tokenDirectory: String { "\(stateDirectory)/tokens" }
    /// Revocation lists of its certificates, which an operator puts there.
    public var revocationFile: String { "\(stateDirectory)/revoked.pem" }

    /// Completes what the operator said with what was found on the machine.
    ///
    /// - Throws: ``ConfigurationError`` with every problem, not only the first.
    public init(_ options: AgentOptions, on machine: Machine) throws(ConfigurationError) {
        var problems = ConfigurationError(problems: [])
        self.init(options, on: machine, &problems)
        if !problems.problems.isEmpty { throw problems }
    }

    init(_ options: AgentOptions, on machine: Machine, _ problems: inout ConfigurationError) {
        let node = problems.value("--node", else: "") { () throws(ConfigurationError.Rejection) in
            try AgentConfiguration.nodeName(options.node, hostname: machine.hostname)
        }
        self.node = node
        configDirectory = problems.value("--config-dir", else: nil) {
            () throws(ConfigurationError.Rejection) -> String? in
            guard let given = options.configDirectory.map(machine.absolute) else {
                let usual = "/etc/sockmesh/\(node)"
                return machine.isDirectory(usual) ? usual : nil
            }
            guard machine.isDirectory(given) else {
                throw .init("\(given) is not a directory", "create it, or leave the flag out to run without manifests")
            }
            return given
        }
        stateDirectory = machine.absolute(options.stateDirectory ?? "/var/lib/sockmesh/\(node)")
        trustDomain = problems.value("--trust-domain", else: .usual) { () throws(ConfigurationError.Rejection) in
            try AgentConfiguration.trustDomain(options.trustDomain)
        }
    }
}

extension AgentConfiguration {
    var authority: AuthorityConfiguration {
        AuthorityConfiguration(
            node: node, configDirectory: configDirectory, stateDirectory: stateDirectory, trustDomain: trustDomain)
    }
}

extension AuthorityConfiguration {
    fileprivate init(node: String, configDirectory: String?, stateDirectory: String, trustDomain: TrustDomain) {
        self.node = node
        self.configDirectory = configDirectory
        self.stateDirectory = stateDirectory
        self.trustDomain = trustDomain
    }
}

extension ConfigurationError {
    /// What `body` makes of a flag; if it refuses that, the problem is noted.
    mutating func value<Value>(
        _ flag: String, else fallback: Value, _ body: () throws(Rejection) -> Value
    ) -> Value {
        do throws(Rejection) { return try body() } catch {
            problems.append(Problem(flag: flag, message: error.message, hint: error.hint))
            return fallback
        }
    }
}
