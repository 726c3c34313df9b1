// SPDX-License-Identifier: Apache-2.0

import Glibc
import Identity
import IdentityProviders
import LinuxIO
public import MeshAdmin

extension LocalNode {
    /// Makes the authority of a node before its agent starts for the first time.
    ///
    /// - Throws: ``AdminError``; `conflict` if there is one: it is never replaced.
    public func makeAuthority() throws(AdminError) -> AuthorityReport {
        try Self.requireRoot("make an authority")
        let path = configuration.authorityFile
        guard access(path, F_OK) != 0 else {
            throw AdminError(
                .conflict, "there is an authority in \(path)",
                hint: "meshctl ca rotate changes its root; nothing replaces it")
        }
        do throws(SystemError) { try Mounts.makeDirectories(configuration.stateDirectory, mode: 0o700) } catch {
            throw AdminError(.failed, "the state directory cannot be made: \(error)")
        }
        do throws(KeyMemoryError) { _ = try KeyMemory.prepare() } catch { throw AdminError(.failed, "\(error)") }
        do throws(AuthorityFileError) {
            return AuthorityReport(
                try LocalAuthority(
                    configuration.trustDomain, at: path, holding: LocalAuthority.lock(path), now: .now
                ).description)
        } catch {
            throw AdminError(.failed, "\(error)")
        }
    }
}
