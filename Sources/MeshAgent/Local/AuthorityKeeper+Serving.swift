// SPDX-License-Identifier: Apache-2.0

import Glibc
import Identity
import IdentityProviders
import LinuxIO
public import Logging
public import MeshAdmin
import MeshModel
import TLSEngine

extension AuthorityKeeper {
    /// Serves the authority of this state directory to nodes until SIGTERM or SIGINT. It is made if there is none.
    ///
    /// - Parameter listen: address and port.
    /// - Throws: ``AdminError``; `conflict` if an agent or another one serves it already.
    public func serveAuthority(at listen: String, logger: Logger) throws(AdminError) {
        try LocalNode.requireRoot("serve an authority")
        let endpoint = try Self.endpoint(listen, "--listen")
        guard let directory = configuration.configDirectory else {
            throw AdminError(
                .invalidRequest, "there is no configuration that says which pods are on which node",
                hint: "give --config-dir, the directory of manifests with all Pods of the mesh")
        }
        let path = configuration.file
        do throws(KeyMemoryError) {
            if try KeyMemory.prepare() == .unlocked {
                logger.warning("private keys may be swapped out: memory cannot be locked (raise RLIMIT_MEMLOCK)")
            }
        } catch { throw AdminError(.failed, "\(error)") }
        do {
            let loop = try EventLoop()
            try loop.watchSignals([SIGTERM, SIGINT]) { [unowned loop] _ in loop.stop() }
            let authority = try LocalAuthority(
                configuration.trustDomain, at: path, holding: LocalAuthority.lock(path),
                revocations: configuration.revocationFile, lifetimes: .shared, now: .now)
            let service = try AuthorityService(
                authority, tokens: NodeTokens(configuration.tokenDirectory),
                placement: ManifestPlacement(directory, on: loop, logger: logger), at: endpoint, on: loop,
                addressText: Self.text
            ) { event in
                logger.log(
                    level: Logger.Level(event.severity), "\(event.message)",
                    metadata: event.details.mapValues { "\($0)" })
            }
            logger.info(
                "the authority is served",
                metadata: [
                    "address": "\(Self.text(service.endpoint))", "trustDomain": "\(authority.trustDomain)",
                    "file": "\(path)",
                ])
            try loop.run()
            logger.info("the authority is served no more")
        } catch let error as AuthorityFileError {
            throw AdminError(error.isInUse ? .conflict : .failed, "\(error)")
        } catch {
            throw AdminError(.failed, "\(error)")
        }
    }

    /// Makes the join file of a node.
    ///
    /// - Parameters:
    ///   - node: whose; as in `spec.nodeName` of its pods.
    ///   - address: where nodes reach the authority, address and port.
    ///   - path: of the file; it must not exist.
    /// - Throws: ``AdminError``; `notFound` if there is no authority yet.
    public func makeJoinFile(
        for node: String, authority address: String, lasting seconds: Double, at path: String
    ) throws(AdminError) -> JoinReport {
        try LocalNode.requireRoot("make a token")
        _ = try Self.endpoint(address, "--address")
        do throws(ConfigurationError.Rejection) { _ = try AgentConfiguration.nodeName(node, hostname: "") } catch {
            throw AdminError(.invalidRequest, error.message, hint: error.hint)
        }
        guard (1...Double(NodeTokens.longestLife)).contains(seconds) else {
            throw AdminError(.invalidRequest, "a token lives from 1 second to 7 days", hint: "give another --ttl")
        }
        guard access(path, F_OK) != 0 else {
            throw AdminError(.conflict, "\(path) exists", hint: "remove it, or give another --out")
        }
        let authority = try readAuthority()
        do {
            let now = UnixTime.now
            let token = try NodeTokens(configuration.tokenDirectory).make(for: node, lasting: Int64(seconds), at: now)
            let file = JoinFile(
                authority: address, node: node, trustDomain: configuration.trustDomain, token: token,
                expires: now + Int64(seconds), roots: authority.generations.map(\.root.der))
            try file.write(path)
            return JoinReport(
                file: path, node: node, authority: address, trustDomain: configuration.trustDomain.name,
                expires: Timestamp(file.expires), fingerprints: authority.generations.map(\.root.fingerprint))
        } catch { throw AdminError(.failed, "\(error)") }
    }

    private static func endpoint(_ text: String, _ flag: String) throws(AdminError) -> StreamEndpoint {
        do throws(ConfigurationError.Rejection) { return try AgentConfiguration.endpoint(text) } catch {
            throw AdminError(.invalidRequest, "\(flag): \(error.message)", hint: error.hint)
        }
    }

    private static func text(_ endpoint: StreamEndpoint) -> String {
        let address = IPAddress(high: endpoint.high, low: endpoint.low)
        return address.isIPv4 ? "\(address):\(endpoint.port)" : "[\(address)]:\(endpoint.port)"
    }
}

extension Logger.Level {
    fileprivate init(_ severity: AuthorityEvent.Severity) {
        switch severity {
        case .debug: self = .debug
        case .info: self = .info
        case .notice: self = .notice
        case .warning: self = .warning
        case .error: self = .error
        }
    }
}
