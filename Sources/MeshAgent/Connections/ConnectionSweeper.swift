// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import LinuxIO
import MeshModel

/// Finds the connections that the generation in force does not allow, or whose service has given their endpoint up.
///
/// Runs after every change and once after a restart (the agent before may have died in between). Decides on the copy
/// of the maps, with the look-ups of the kernel, for all open connections at once; of services it asks only for those
/// that open connections use.
struct ConnectionSweeper {
    private let tables: KernelTables
    private let prefixes: PrefixIndex<KernelTables.Address>
    private let service: (ServiceKey) -> CompiledService?

    /// - Parameter service: what an address leads to by the objects in force. The maps do not say which endpoints are
    ///   listed, only which are used.
    init(_ tables: KernelTables, service: @escaping (ServiceKey) -> CompiledService?) {
        self.tables = tables
        self.service = service
        prefixes = PrefixIndex(tables.cidrs.lazy.map { ($0.key, $0.value) })
    }

    /// The generation that the verdicts are of.
    var generation: UInt32 { tables.generation }

    /// What must be cut, and why: `enum mesh_reason`.
    func verdict(on connection: ConnectionEnd) -> mesh_reason {
        if connection.isHost || connection.isClosed { return MESH_REASON_NONE }
        if connection.isCaptured { return verdict(onCaptured: connection) }
        if !connection.isWithinPod {
            let reason = tables.reason(connection.flow, prefixes)
            guard reason == MESH_REASON_NONE || Self.isAllowed(reason, connection) else { return reason }
        }
        // The other end has no verdict of its own: it goes with this one.
        guard connection.isClient else { return MESH_REASON_NONE }
        return reason(
            connection.service,
            ServiceEndpoint(address: connection.remote, port: connection.key.remote_port))
    }

    /// The same for one that the proxy carries. Of those to a service each leg is decided for itself, and the proxy
    /// chooses among its endpoints.
    private func verdict(onCaptured connection: ConnectionEnd) -> mesh_reason {
        guard connection.end.service == 0 else { return MESH_REASON_NONE }
        var flow = connection.flow
        if let netns = tables.pod(at: flow.destination) { flow.destinationNetns = netns }
        let reason = tables.reason(flow, prefixes)
        return Self.isAllowed(reason, connection) ? MESH_REASON_NONE : reason
    }

    private static func isAllowed(_ reason: mesh_reason, _ connection: ConnectionEnd) -> Bool {
        reason == MESH_REASON_NEEDS_PROXY && connection.isProxied
    }

    /// The same for a connected UDP socket.
    func verdict(on socket: ConnectedUDPSocket) -> mesh_reason {
        if socket.remote.isLoopback { return MESH_REASON_NONE }
        if peer(of: socket) != socket.netns {
            let reason = tables.reason(flow(of: socket), prefixes)
            guard reason == MESH_REASON_NONE else { return reason }
        }
        return reason(socket.service, ServiceEndpoint(address: socket.remote, port: socket.tuple.remotePort))
    }

    /// The workload that the remote end belongs to.
    func peer(of socket: ConnectedUDPSocket) -> NetnsCookie? {
        tables.pod(at: socket.remote)
    }

    func flow(of socket: ConnectedUDPSocket) -> KernelTables.FlowQuestion { socket.flow(peer: peer(of: socket)) }

    /// Whether a connection to a service may stay where it is.
    private func reason(_ key: ServiceKey?, _ endpoint: ServiceEndpoint) -> mesh_reason {
        // A service that is gone as a whole has taken nobody's connection with it.
        guard let key, let service = service(key) else { return MESH_REASON_NONE }
        return service.lists(endpoint) ? MESH_REASON_NONE : MESH_REASON_NO_ENDPOINT
    }
}
