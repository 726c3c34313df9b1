// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import LinuxIO
import MeshModel

/// One entry of `mesh_ends`: one end of a TCP connection.
struct ConnectionEnd: Sendable {
    let key: mesh_flow_key
    let end: mesh_end

    /// MESH_ROLE_IS_SERVER
    var isClient: Bool { end.role & 1 == 0 }
    /// A flow inside one pod: no policy speaks of it, unless it is captured.
    var isWithinPod: Bool { key.netns != 0 }
    /// Led to the proxy of its own pod; ``flow`` says where it wanted to go.
    var isCaptured: Bool { has(MESH_END_CAPTURED) }
    /// Rules of L7 are decided by the proxy, or do not concern it: MESH_ROLE_IS_PROXY and others.
    var isProxied: Bool { end.role & 2 != 0 || isCaptured || has(MESH_END_PROXIED) }
    /// Of the node's own namespace, recorded for the pod's sake.
    var isHost: Bool { has(MESH_END_HOST) }
    /// Its socket has ended; the entry waits for the other end.
    var isClosed: Bool { has(MESH_END_CLOSED) }
    var isMember: Bool { has(MESH_END_MEMBER) }

    private func has(_ flag: mesh_end_flags) -> Bool { UInt32(end.flags) & flag.rawValue != 0 }

    /// Under which the other end of a local connection is recorded.
    var peerKey: mesh_flow_key {
        mesh_flow_key(
            local: key.remote, remote: key.local, local_port: key.remote_port, remote_port: key.local_port, zero: 0,
            netns: key.netns)
    }

    var local: IPAddress { IPAddress(key.local) }
    var remote: IPAddress { IPAddress(key.remote) }

    /// The flow from its initiator's side.
    var flow: KernelTables.FlowQuestion {
        if isCaptured {
            return KernelTables.FlowQuestion(
                sourceNetns: end.netns, source: isClient ? local : remote, destinationNetns: nil,
                destination: IPAddress(end.service_address), port: end.service_port, transport: .tcp)
        }
        let own: NetnsCookie? = end.netns
        let peer: NetnsCookie? = end.peer_netns == 0 ? nil : end.peer_netns
        return KernelTables.FlowQuestion(
            sourceNetns: isClient ? own : peer, source: isClient ? local : remote,
            destinationNetns: isClient ? peer : own, destination: isClient ? remote : local,
            port: isClient ? key.remote_port : key.local_port, transport: .tcp)
    }

    /// What the initiator asked for; `nil` if it was no service.
    var service: ServiceKey? {
        end.service_port == 0 || end.role == UInt8(MESH_ROLE_LEG.rawValue)
            ? nil : ServiceKey(address: IPAddress(end.service_address), port: end.service_port, transport: .tcp)
    }

    var target: CutTarget {
        CutTarget(
            netns: end.netns, transport: .tcp,
            tuple: SocketTuple(
                localAddress: local.wide, localPort: key.local_port, remoteAddress: remote.wide,
                remotePort: key.remote_port),
            cookie: end.cookie)
    }
}

extension IPAddress {
    /// The 16 bytes as a number, first byte most significant, as ``SocketTuple`` has them.
    var wide: UInt128 { UInt128(high) << 64 | UInt128(low) }

    init(wide: UInt128) {
        self.init(high: UInt64(truncatingIfNeeded: wide >> 64), low: UInt64(truncatingIfNeeded: wide))
    }
}
