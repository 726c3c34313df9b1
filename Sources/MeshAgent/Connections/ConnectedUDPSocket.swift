// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import MeshModel

/// A connected UDP socket of an enrolled pod.
struct ConnectedUDPSocket: Sendable {
    let netns: NetnsCookie
    let tuple: SocketTuple
    /// `SO_COOKIE`.
    let cookie: UInt64
    /// The service that led it to its remote end; `nil` if none did.
    let service: ServiceKey?
    /// The remote end sent first and was allowed to; then the question decides, not the answer.
    let wasAsked: Bool

    var local: IPAddress { IPAddress(wide: tuple.localAddress) }
    var remote: IPAddress { IPAddress(wide: tuple.remoteAddress) }

    /// The flow from its initiator's side.
    ///
    /// - Parameter peer: the workload that the remote address belongs to.
    func flow(peer: NetnsCookie?) -> KernelTables.FlowQuestion {
        wasAsked
            ? KernelTables.FlowQuestion(
                sourceNetns: peer, source: remote, destinationNetns: netns, destination: local, port: tuple.localPort,
                transport: .udp)
            : KernelTables.FlowQuestion(
                sourceNetns: netns, source: local, destinationNetns: peer, destination: remote,
                port: tuple.remotePort, transport: .udp)
    }

    var target: CutTarget { CutTarget(netns: netns, transport: .udp, tuple: tuple, cookie: cookie) }
}
