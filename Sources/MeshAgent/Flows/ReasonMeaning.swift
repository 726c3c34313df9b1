// SPDX-License-Identifier: Apache-2.0
import CMeshABI

/// What each counter of `mesh_stats` counts, in one phrase; docs/errors.md says more.
enum ReasonMeaning {
    /// - Returns: an empty text for a number that a newer kernel program uses.
    static func of(_ number: UInt32) -> String { meanings[number] ?? "" }

    private static let meanings: [UInt32: String] = [
        MESH_REASON_POLICY_EGRESS.rawValue: "connections refused by the source's policy",
        MESH_REASON_POLICY_INGRESS.rawValue: "connections refused by the destination's policy",
        MESH_REASON_NO_ENDPOINT.rawValue: "connections to a service without a ready endpoint",
        MESH_REASON_NO_SERVICE_PORT.rawValue: "connections to a service address on a port it does not have",
        MESH_REASON_NOT_READY.rawValue: "connections before identity or policy were in force",
        MESH_REASON_NO_RECORD.rawValue: "SYNs from a local pod's address that no local pod sent",
        MESH_REASON_SPOOFED.rawValue: "connections from an address of another pod",
        MESH_REASON_QUOTA.rawValue: "connections beyond a pod's share of the maps",
        MESH_REASON_NEEDS_PROXY.rawValue: "connections that only a proxy could decide",
        MESH_REASON_RAW_SOCKET.rawValue: "raw sockets refused",
        MESH_REASON_UNPROVEN.rawValue: "connections that met someone else than the destination pod",
        MESH_REASON_REVOKED.rawValue: "live connections that a new policy denies",
        MESH_REASON_LEG.rawValue: "sockets of the proxy's factory, to where they were not sent",
        MESH_REASON_LISTENER.rawValue: "connections to the proxy's own ports that were not led there",
        MESH_REASON_ACCEL_DISABLED.rawValue: "directions on TCP: a pod has accelerate: disabled",
        MESH_REASON_ACCEL_AUTO.rawValue: "directions on TCP: accelerate: auto without tripwires",
        MESH_REASON_NODE_GATE.rawValue: "directions on TCP: the self-test failed on this node",
        MESH_REASON_PEER_REMOTE.rawValue: "directions on TCP: the peer is no meshed pod of this node",
        MESH_REASON_PEER_UNKNOWN.rawValue: "directions on TCP: the peer has not registered",
        MESH_REASON_NOT_VIRGIN.rawValue: "directions on TCP: TCP carried bytes first",
        MESH_REASON_SEQUENCE.rawValue: "directions on TCP: sequence numbers do not prove the pair",
        MESH_REASON_SOCKET_STATE.rawValue: "directions on TCP: the socket is closing",
        MESH_REASON_HIGH_WATER.rawValue: "directions on TCP: the receiver holds as much as TCP could",
        MESH_REASON_MESSAGE_CAP.rawValue: "directions on TCP: the receiver holds too many messages",
        MESH_REASON_SMALL_WRITES.rawValue: "directions on TCP: a stream of small writes",
        MESH_REASON_RCVLOWAT.rawValue: "directions on TCP: SO_RCVLOWAT is set",
        MESH_REASON_MPTCP.rawValue: "directions on TCP: MPTCP",
        MESH_REASON_ZEROCOPY.rawValue: "directions on TCP: SO_ZEROCOPY is set",
        MESH_REASON_HELPER.rawValue: "directions on TCP: the redirect helper refused",
        MESH_REASON_KILL_SWITCH.rawValue: "directions on TCP: redirection was switched off",
        MESH_REASON_MAP_FULL.rawValue: "directions on TCP: a map is full",
        MESH_REASON_PEER_CLOSED.rawValue: "directions on TCP: the peer has closed",
        MESH_REASON_LEFT_MAP.rawValue: "directions on TCP: the other direction is, and this end left the sockhash",
        MESH_REASON_SHORT_LIVED.rawValue: "directions on TCP: a rush of short connections",
        MESH_REASON_LARGE_WRITES.rawValue: "directions on TCP: a stream of large writes between two processors",
        MESH_STAT_CONNECT.rawValue: "connects of enrolled pods",
        MESH_STAT_TRANSLATED.rawValue: "of those, to a service address",
        MESH_STAT_PASSIVE.rawValue: "connections accepted by enrolled pods",
        MESH_STAT_LATCHED.rawValue: "directions that began to redirect",
        MESH_STAT_LEFT_MAP.rawValue: "sockets that left the sockhash without loss",
        MESH_STAT_EVENT_LOST.rawValue: "flow events lost",
        MESH_STAT_REDECIDED.rawValue: "redirected connections decided again after a change",
        MESH_STAT_UDP_REPLY.rawValue: "datagrams let through as replies",
        MESH_STAT_DRY_RUN.rawValue: "verdicts that a dry-run policy would have changed",
        MESH_STAT_CAPTURED.rawValue: "connects led to the proxy",
        MESH_STAT_CAPTURED_INBOUND.rawValue: "connections from outside the mesh led to the proxy",
        MESH_STAT_LEGS.rawValue: "connects of the proxy",
    ]
}
