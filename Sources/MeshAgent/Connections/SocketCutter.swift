// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import Logging
import MeshModel

/// A socket to destroy: by namespace, exact addresses and cookie, so that no other can be meant.
struct CutTarget: Hashable, Sendable {
    var netns: NetnsCookie
    var transport: SockDiag.Transport
    var tuple: SocketTuple
    /// `SO_COOKIE`.
    var cookie: UInt64
}

/// Opens the namespace of an enrolled pod for the length of one operation.
protocol NamespaceOpening {
    /// - Returns: `nil` if the pod is not enrolled, or its path leads to another namespace now.
    func openNamespace(_ cookie: NetnsCookie) -> NetworkNamespace?
}

/// Destroys sockets with SOCK_DESTROY (sock_diag(7)) inside the namespaces that they belong to.
struct SocketCutter {
    let logger: Logger

    /// - Returns: how many were destroyed; the others had ended by themselves.
    func cut(_ targets: [CutTarget], in namespaces: some NamespaceOpening) -> Int {
        var destroyed = 0
        for (netns, targets) in Dictionary(grouping: targets, by: \.netns) {
            guard let namespace = namespaces.openNamespace(netns) else { continue }
            do throws(SystemError) {
                destroyed += try namespace.run { () throws(SystemError) -> Int in
                    let diag = try SockDiag()
                    var count = 0
                    for target in targets
                    where try diag.destroy(target.transport, target.tuple, cookie: target.cookie) { count += 1 }
                    return count
                }
            } catch {
                // The kernel programs go on refusing what these sockets send by redirect; TCP's would go on.
                logger.error(
                    "denied connections could not be cut", metadata: ["netns": "\(netns)", "error": "\(error)"])
            }
        }
        return destroyed
    }
}
