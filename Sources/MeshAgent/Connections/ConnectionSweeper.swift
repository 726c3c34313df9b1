// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import LinuxIO
import MeshModel

/// Finds the connections that the generation in force does not allow, or whose backend has gone.
///
/// Runs after every flip and once after a restart (the agent before may have died in between). Decides on the
/// copy of the maps, with the look-ups of the kernel, for all open connections at once.
struct ConnectionSweeper {
    private let tables: KernelTables
    private let prefixes: PrefixIndex<KernelTables.Address>
    private let isPod: (IPAddress) -> Bool
    private var backends: [UInt32: Set<BackendAddress>] = [:]

    private struct BackendAddress: Hashable {
        var address: IPAddress
        var port: UInt16
    }

    /// - Parameters:
    ///   - isPod: whether a pod, on any node, has the address. A pod that is only not ready, or terminating, keeps
    ///     the connections it has; they are cut when it has gone.
    init(_ tables: KernelTables, isPod: @escaping (IPAddress) -> Bool) {
        self.tables = tables
        self.isPod = isPod
        prefixes = PrefixIndex(tables.cidrs.lazy.map { ($0.key, $0.value) })
    }

    /// What must be cut, and why: `enum mesh_reason`.
    mutating func verdict(on connection: ConnectionEnd) -> mesh_reason {
        if connection.isWithinPod || connection.isHost || connection.isClosed { return MESH_REASON_NONE }
        let reason = tables.reason(connection.flow, prefixes)
        guard reason == MESH_REASON_NONE else { return reason }
        let end = connection.end
        guard end.service_port != 0, connection.isClient else { return MESH_REASON_NONE }
        let service = ServiceKey(
            address: IPAddress(end.service_address), port: end.service_port, transport: .tcp)
        return isServed(service, by: connection.remote, connection.key.remote_port)
            ? MESH_REASON_NONE : MESH_REASON_NO_ENDPOINT
    }

    /// The same for a connected UDP socket.
    ///
    /// - Parameters:
    ///   - state: what the kernel programs keep of the socket if it is connected to a service.
    ///   - wasAsked: the remote end sent first and was allowed to; then the question decides, not the answer.
    mutating func verdict(
        onConnectedUDP tuple: SocketTuple, netns: NetnsCookie, state: mesh_sock?, wasAsked: Bool
    ) -> mesh_reason {
        let remote = IPAddress(wide: tuple.remoteAddress)
        let local = IPAddress(wide: tuple.localAddress)
        let peer = tables.addresses[remote].flatMap { $0.netns == 0 ? nil : $0.netns }
        if remote.isLoopback || peer == netns { return MESH_REASON_NONE }
        let question = KernelTables.FlowQuestion(
            sourceNetns: netns, source: local, destinationNetns: peer, destination: remote, port: tuple.remotePort,
            transport: .udp)
        let inverse = KernelTables.FlowQuestion(
            sourceNetns: peer, source: remote, destinationNetns: netns, destination: local, port: tuple.localPort,
            transport: .udp)
        let reason = tables.reason(wasAsked ? inverse : question, prefixes)
        guard reason == MESH_REASON_NONE, let state, state.service_port != 0 else { return reason }
        let service = ServiceKey(
            address: IPAddress(state.service_address), port: state.service_port, transport: .udp)
        return isServed(service, by: remote, tuple.remotePort) ? MESH_REASON_NONE : MESH_REASON_NO_ENDPOINT
    }

    /// Whether a connection to a service may stay where it is.
    private mutating func isServed(_ key: ServiceKey, by address: IPAddress, _ port: UInt16) -> Bool {
        // A service that is gone as a whole has taken nobody's connection with it.
        guard let row = tables.services[key] else { return true }
        let backend = BackendAddress(address: address, port: port)
        if row.slots > 0 {
            if backends[row.backendSet] == nil {
                backends[row.backendSet] = Set(
                    (tables.backendSets[row.backendSet] ?? [:]).values.map {
                        BackendAddress(address: $0.address, port: $0.port)
                    })
            }
            if backends[row.backendSet]?.contains(backend) == true { return true }
        }
        return isPod(address)
    }
}
