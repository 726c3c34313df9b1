// SPDX-License-Identifier: Apache-2.0

import Identity
import IdentityProviders
import LinuxIO
import Logging
import MeshAdmin
import TLSEngine

extension Agent {
    /// - Throws: ``AdminError`` `conflict` where pods have no certificates.
    func keeper() throws(AdminError) -> IdentityKeeper {
        _ = try running()
        guard let keeper = supervisor?.identities?.keeper else {
            throw AdminError(
                .conflict, "pods of this node have no certificates",
                hint: "start mesh-agent with --identity")
        }
        return keeper
    }

    /// - Throws: ``AdminError`` `conflict` where the authority is none of this node's.
    func localAuthority() throws(AdminError) -> LocalAuthority {
        let provider = try keeper().provider
        guard let authority = provider as? LocalAuthority else {
            throw AdminError(
                .conflict, "certificates come from \(provider.name), not from an authority of this node",
                hint: "ask there")
        }
        return authority
    }

    /// Begins to keep certificates for the pods of the node, where the operator wants them.
    func startIdentities() throws(AgentError) -> IdentityDelivery? {
        guard let source = configuration.identity else { return nil }
        let provider: any IdentityProvider
        do throws(KeyMemoryError) {
            if try KeyMemory.prepare() == .unlocked {
                logger.warning("private keys may be swapped out: memory cannot be locked (raise RLIMIT_MEMLOCK)")
            }
        } catch {
            throw AgentError("--identity: \(error)")
        }
        switch source {
        case .local: provider = try openAuthority()
        case .joined(let file): provider = try joinAuthority(file)
        }
        logger.info(
            "pods get certificates",
            metadata: ["trustDomain": "\(provider.trustDomain)", "provider": "\(provider.name)"])
        return IdentityDelivery(IdentityKeeper(provider, on: loop, logger: logger), on: loop, logger: logger)
    }

    private func openAuthority() throws(AgentError) -> LocalAuthority {
        do throws(AuthorityFileError) {
            return try LocalAuthority(
                configuration.trustDomain, at: configuration.authority.file,
                holding: LocalAuthority.lock(configuration.authority.file),
                revocations: configuration.authority.revocationFile,
                now: .now)
        } catch {
            throw AgentError("--identity: \(error)")
        }
    }

    private func joinAuthority(_ file: String) throws(AgentError) -> JoinedAuthority {
        do throws(JoinError) {
            return try JoinedAuthority(
                configuration.trustDomain, node: configuration.node, joinFile: file,
                keepingIn: configuration.stateDirectory, on: loop,
                endpoint: { try? AgentConfiguration.endpoint($0) })
        } catch {
            throw AgentError("--identity: \(error)")
        }
    }
}
