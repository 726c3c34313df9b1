// SPDX-License-Identifier: Apache-2.0
import CMeshABI

/// Names of `enum mesh_reason` as operators see them; docs/errors.md explains each.
enum ReasonName {
    /// - Returns: the name, or `reason-N` for a number that a newer kernel program uses.
    static func of(_ reason: UInt32) -> String { names[reason] ?? "reason-\(reason)" }

    /// - Returns: `nil` for NONE.
    static func of(_ reason: UInt8) -> String? { reason == 0 ? nil : of(UInt32(reason)) }

    /// Everything that `mesh_stats` counts, by number.
    static let counters: [(number: UInt32, name: String)] = names.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }

    private static let names: [UInt32: String] = [
        MESH_REASON_POLICY_EGRESS.rawValue: "policy-egress",
        MESH_REASON_POLICY_INGRESS.rawValue: "policy-ingress",
        MESH_REASON_NO_ENDPOINT.rawValue: "no-endpoint",
        MESH_REASON_NO_SERVICE_PORT.rawValue: "no-service-port",
        MESH_REASON_NOT_READY.rawValue: "not-ready",
        MESH_REASON_NO_RECORD.rawValue: "no-record",
        MESH_REASON_SPOOFED.rawValue: "spoofed",
        MESH_REASON_QUOTA.rawValue: "quota",
        MESH_REASON_NEEDS_PROXY.rawValue: "needs-proxy",
        MESH_REASON_RAW_SOCKET.rawValue: "raw-socket",
        MESH_REASON_UNPROVEN.rawValue: "unproven",
        MESH_REASON_REVOKED.rawValue: "revoked",
        MESH_REASON_LEG.rawValue: "leg",
        MESH_REASON_LISTENER.rawValue: "listener",
        MESH_REASON_ACCEL_DISABLED.rawValue: "accel-disabled",
        MESH_REASON_ACCEL_AUTO.rawValue: "accel-auto",
        MESH_REASON_NODE_GATE.rawValue: "node-gate",
        MESH_REASON_PEER_REMOTE.rawValue: "peer-remote",
        MESH_REASON_PEER_UNKNOWN.rawValue: "peer-unknown",
        MESH_REASON_NOT_VIRGIN.rawValue: "not-virgin",
        MESH_REASON_SEQUENCE.rawValue: "sequence",
        MESH_REASON_SOCKET_STATE.rawValue: "socket-state",
        MESH_REASON_HIGH_WATER.rawValue: "high-water",
        MESH_REASON_MESSAGE_CAP.rawValue: "message-cap",
        MESH_REASON_SMALL_WRITES.rawValue: "small-writes",
        MESH_REASON_RCVLOWAT.rawValue: "rcvlowat",
        MESH_REASON_MPTCP.rawValue: "mptcp",
        MESH_REASON_ZEROCOPY.rawValue: "zerocopy",
        MESH_REASON_HELPER.rawValue: "helper",
        MESH_REASON_KILL_SWITCH.rawValue: "kill-switch",
        MESH_REASON_MAP_FULL.rawValue: "map-full",
        MESH_REASON_PEER_CLOSED.rawValue: "peer-closed",
        MESH_REASON_LEFT_MAP.rawValue: "left-map",
        MESH_REASON_SHORT_LIVED.rawValue: "short-lived",
        MESH_REASON_LARGE_WRITES.rawValue: "large-writes",
        MESH_STAT_CONNECT.rawValue: "connects",
        MESH_STAT_TRANSLATED.rawValue: "translated",
        MESH_STAT_PASSIVE.rawValue: "accepted",
        MESH_STAT_LATCHED.rawValue: "latched",
        MESH_STAT_LEFT_MAP.rawValue: "left-sockhash",
        MESH_STAT_EVENT_LOST.rawValue: "events-lost",
        MESH_STAT_REDECIDED.rawValue: "redecided",
        MESH_STAT_UDP_REPLY.rawValue: "udp-replies",
        MESH_STAT_DRY_RUN.rawValue: "dry-run-differences",
        MESH_STAT_CAPTURED.rawValue: "captured",
        MESH_STAT_CAPTURED_INBOUND.rawValue: "captured-inbound",
        MESH_STAT_LEGS.rawValue: "legs",
    ]
}
