// SPDX-License-Identifier: Apache-2.0

import CMeshABI
import FoundationEssentials
import Glibc
import IdentityProviders
import LinuxIO
public import MeshAdmin
import SockOps

/// What can be said and done about a node while its agent does not run.
public struct LocalNode: Sendable {
    let configuration: AgentConfiguration

    /// A node as `mesh-agent` with the same flags would have it.
    public init(_ configuration: AgentConfiguration) {
        self.configuration = configuration
    }

    /// What is still there of the node; empty if nothing is.
    ///
    /// - Throws: ``AdminError`` `permissionDenied` without root.
    public func leftovers() throws(AdminError) -> [UninstallStep] {
        try Self.requireRoot("look for what is left")
        let found: [String]
        do throws(BPFError) {
            found = try uninstaller().leftovers()
        } catch {
            throw AdminError(.failed, "cannot look for what is left: \(error)")
        }
        var steps = found.map { UninstallStep($0, .present) }
        for proxy in RunningProxy.all(of: configuration.proxySocket) {
            steps.append(UninstallStep(Self.subject(proxy), .present))
        }
        for socket in [configuration.socket, configuration.proxySocket] where access(socket, F_OK) == 0 {
            steps.append(UninstallStep("socket: \(socket)", .present))
        }
        return steps
    }

    /// Takes the node out of the kernel. The agent must have ended.
    ///
    /// - Parameters:
    ///   - purge: remove the state directory as well.
    ///   - report: called with each step when it is done.
    /// - Throws: ``AdminError``; running it again continues.
    public func uninstall(purge: Bool, _ report: (UninstallStep) -> Void) throws(AdminError) {
        try Self.requireRoot("uninstall")
        endProxies(report)
        let before: [UninstallStep]
        let left: Set<String>
        var unread = 0
        do throws(BPFError) {
            before = try leftoverSteps()
            left = Set(
                try uninstaller().run { (maps) throws(BPFError) in
                    unread = try RedirectDrain.wait(maps)
                })
        } catch {
            throw AdminError(.failed, "cannot uninstall: \(error)", hint: "run it again; it continues where it stopped")
        }
        for step in before {
            let isLeft = left.contains(step.subject)
            report(UninstallStep(step.subject, isLeft ? .failed : .removed, detail: isLeft ? "still there" : nil))
        }
        if unread > 0 {
            report(
                UninstallStep(
                    "redirected bytes", .failed,
                    detail: "\(unread) sockets did not read theirs in time and have lost them"))
        }
        if before.isEmpty { report(UninstallStep("programs, links and maps of node \(configuration.node)", .absent)) }
        removeFile(configuration.socket, report)
        removeFile("\(configuration.socket).lock", report)
        removeFile(configuration.proxySocket, report)
        removeFile("\(configuration.proxySocket).lock", report)
        if purge { removeState(report) }
    }

    /// Before the programs go: afterwards nothing would hold what they serve.
    private func endProxies(_ report: (UninstallStep) -> Void) {
        for proxy in RunningProxy.all(of: configuration.proxySocket) {
            let hasEnded = proxy.end(socket: configuration.proxySocket)
            report(
                UninstallStep(
                    Self.subject(proxy), hasEnded ? .removed : .failed,
                    detail: hasEnded ? nil : "killed, and still there after two seconds"))
        }
    }

    private static func subject(_ proxy: RunningProxy) -> String { "process: mesh-proxy \(proxy.pid)" }

    private func leftoverSteps() throws(BPFError) -> [UninstallStep] {
        try uninstaller().leftovers().map { UninstallStep($0, .present) }
    }

    private func uninstaller() -> Uninstaller {
        Uninstaller(
            DataPlaneConfiguration(
                cgroup: Cgroup(path: configuration.cgroup), rootCgroup: nil, bpffs: configuration.bpffs))
    }

    private func removeFile(_ path: String, _ report: (UninstallStep) -> Void) {
        guard access(path, F_OK) == 0 else { return }
        let status = unlink(path)
        let reason = status == 0 ? nil : SystemError.message(of: errno)
        report(UninstallStep("file: \(path)", status == 0 ? .removed : .failed, detail: reason))
    }

    private func removeState(_ report: (UninstallStep) -> Void) {
        let path = configuration.stateDirectory
        guard access(path, F_OK) == 0 else { return }
        if access(configuration.authority.file, F_OK) == 0 {
            do throws(AuthorityFileError) { _ = try LocalAuthority.lock(configuration.authority.file) } catch {
                return report(
                    UninstallStep("directory: \(path)", .failed, detail: "\(error); end that first, or keep it"))
            }
        }
        do {
            try FileManager.default.removeItem(atPath: path)
            report(UninstallStep("directory: \(path)", .removed))
        } catch {
            report(UninstallStep("directory: \(path)", .failed, detail: "\(error)"))
        }
    }

    static func requireRoot(_ deed: String) throws(AdminError) {
        guard geteuid() != 0 else { return }
        throw AdminError(
            .permissionDenied, "only root may \(deed) without an agent", hint: "run it as root, or start mesh-agent")
    }
}
