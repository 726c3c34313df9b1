// SPDX-License-Identifier: Apache-2.0

import Glibc
import Identity
import IdentityProviders
import LinuxIO
public import MeshAdmin
import TLSEngine

/// What can be said and done about an authority in a state directory, where no agent is asked. It needs nothing of the
/// kernel that the mesh does.
public struct AuthorityKeeper: Sendable {
    let configuration: AuthorityConfiguration

    public init(_ configuration: AuthorityConfiguration) { self.configuration = configuration }

    /// Makes the authority of a node before its agent starts for the first time.
    ///
    /// - Throws: ``AdminError``; `conflict` if there is one: it is never replaced.
    public func makeAuthority() throws(AdminError) -> AuthorityReport {
        try LocalNode.requireRoot("make an authority")
        let path = configuration.file
        guard access(path, F_OK) != 0 else {
            throw AdminError(
                .conflict, "there is an authority in \(path)",
                hint: "meshctl ca rotate changes its root; nothing replaces it")
        }
        do throws(SystemError) { try Mounts.makeDirectories(configuration.stateDirectory, mode: 0o700) } catch {
            throw AdminError(.failed, "the state directory cannot be made: \(error)")
        }
        return AuthorityReport(try openAuthority().description)
    }

    /// What there is of the authority, whoever keeps it.
    public func showAuthority() throws(AdminError) -> AuthorityReport { AuthorityReport(try readAuthority()) }

    /// Changes what signs of an authority that nobody keeps at the moment.
    ///
    /// - Throws: ``AdminError``; `conflict` if somebody does, or the step cannot be taken now.
    public func rotateAuthority(_ request: RotateAuthorityRequest) throws(AdminError) -> AuthorityReport {
        _ = try readAuthority()
        let authority = try openAuthority()
        try authority.rotate(request)
        return AuthorityReport(authority.description)
    }

    func readAuthority() throws(AdminError) -> AuthorityDescription {
        try LocalNode.requireRoot("read an authority")
        do throws(KeyMemoryError) { _ = try KeyMemory.prepare() } catch { throw AdminError(.failed, "\(error)") }
        let path = configuration.file
        do throws(AuthorityFileError) {
            if let found = try AuthorityDescription.read(path, configuration.trustDomain) { return found }
        } catch { throw AdminError(.failed, "\(error)") }
        throw AdminError(
            .notFound, "there is no authority in \(path)",
            hint: "meshctl ca serve makes one, and so do meshctl ca init and mesh-agent --identity local")
    }

    private func openAuthority() throws(AdminError) -> LocalAuthority {
        do throws(KeyMemoryError) { _ = try KeyMemory.prepare() } catch { throw AdminError(.failed, "\(error)") }
        let path = configuration.file
        do throws(AuthorityFileError) {
            return try LocalAuthority(
                configuration.trustDomain, at: path, holding: LocalAuthority.lock(path), lifetimes: .shared, now: .now)
        } catch {
            throw AdminError(error.isInUse ? .conflict : .failed, "\(error)")
        }
    }
}

extension LocalAuthority {
    /// How long a root is known before it signs, unless somebody insists: nodes ask twice in it; seconds.
    static let leastAnnouncement = 2 * JoinedAuthority.trustSeconds

    /// - Throws: ``AdminError``; `conflict` if the step cannot be taken now.
    func rotate(_ request: RotateAuthorityRequest) throws(AdminError) {
        switch request.step {
        case .announceRoot: try announceRoot()
        case .useRoot: try useRoot(force: request.force)
        case .renewIntermediate:
            do throws(TLSError) { try renewIntermediate(at: .now) } catch {
                throw AdminError(.failed, "there is no other intermediate: \(error)")
            }
        }
    }

    private func announceRoot() throws(AdminError) {
        guard !isChangingRoot else {
            throw AdminError(
                .conflict, "the root of \(trustDomain) is being changed already",
                hint: "wait until meshctl ca show has one root; what the first has signed must expire before")
        }
        do throws(TLSError) { try rotateRoot(at: .now) } catch {
            throw AdminError(.failed, "the next root cannot be announced: \(error)")
        }
    }

    private func useRoot(force: Bool) throws(AdminError) {
        guard let announced = rootAnnounced else {
            throw AdminError(
                .conflict, "no root of \(trustDomain) is announced", hint: "meshctl ca rotate announces the next one")
        }
        let age = UnixTime.now - announced
        guard force || age >= Self.leastAnnouncement else {
            throw AdminError(
                .conflict, "the root was announced \(age) seconds ago, and nodes may not know it yet",
                hint: "come again \(Self.leastAnnouncement - age) seconds later; --force cuts off who does not know it")
        }
        do throws(TLSError) { try useAnnouncedRoot(at: .now) } catch {
            throw AdminError(.failed, "the announced root cannot sign: \(error)")
        }
    }
}
