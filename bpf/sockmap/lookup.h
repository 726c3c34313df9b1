/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * sk_lookup in the namespace of each enrolled pod: ingress policy before a socket is
 * found. SK_DROP makes TCP answer with RST. It runs for SYNs, for stray segments that
 * no established socket takes, and for every datagram to an unconnected UDP socket.
 */
#ifndef MESH_LOOKUP_H
#define MESH_LOOKUP_H

#include "datagram.h"

/* The name that the initiator's end of a flow has. */
static __always_inline void initiator_key(const struct mesh_conn *conn, struct mesh_flow_key *key)
{
	key->local = conn->source;
	key->remote = conn->destination;
	key->local_port = conn->source_port;
	key->remote_port = conn->port;
}

/*
 * Loopback inside a pod. The proxy's ports there are for captured connections: connect()
 * has kept others off, this holds against whatever did not pass it. The pod is known by
 * the source address; where that is loopback too, on_passive looks at the record.
 */
static __noinline int loopback_decide(struct mesh_conn *conn)
{
	struct mesh_listener *listener;
	struct mesh_flow_key client = {};
	struct mesh_address *source;
	struct mesh_end *record;

	if (conn->protocol != MESH_PROTO_TCP || ip_is_loopback(&conn->source))
		return SK_PASS;
	source = bpf_map_lookup_elem(&mesh_addresses, &conn->source);
	client.netns = address_netns_now(source);
	if (!client.netns)
		return SK_PASS;
	listener = listener_of(client.netns);
	if (!listener || !is_listener_port(listener, conn->port))
		return SK_PASS;
	initiator_key(conn, &client);
	record = bpf_map_lookup_elem(&mesh_ends, &client);
	if (record && (record->flags & MESH_END_CAPTURED))
		return SK_PASS;
	if (bpf_map_lookup_elem(&mesh_aborted, &client))
		return SK_DROP; /* a late segment of a connection that was cut or reset */
	conn->netns = conn->peer_netns = client.netns;
	refuse(conn, conn->netns, MESH_REASON_LISTENER);
	return SK_DROP;
}

/* The proxy of the destination pod takes it, if there is one. */
#define SK_CAPTURE 2

static __noinline int inbound_decide(struct mesh_conn *conn)
{
	struct mesh_address *address = bpf_map_lookup_elem(&mesh_addresses, &conn->destination);
	struct mesh_flow_key initiator = {};
	struct mesh_udp_key flow = {};
	struct mesh_workload *workload, *source;
	struct mesh_control *ctl = control();
	struct mesh_end *record = NULL;
	__u32 reason;

	if (ip_is_loopback(&conn->destination))
		return loopback_decide(conn);
	if (ip_is_multicast(&conn->destination))
		return SK_PASS;
	if (!ctl)
		return SK_DROP;
	conn->generation = READ_ONCE(ctl->generation);
	/* An address that is given up stays its pod's here until nobody is on the way to it any more. */
	conn->peer_netns = address_netns(address, conn->generation);
	if (!conn->peer_netns)
		conn->peer_netns = address_netns(address, conn->generation + 1);
	if (!conn->peer_netns) {
		/* An address of the pod that the mesh does not know: no policy could speak of it. */
		count(MESH_REASON_NOT_READY);
		return SK_DROP;
	}
	workload = workload_of(conn->peer_netns);
	address = address_of(&conn->source);
	if (is_own(&conn->source, address, conn->peer_netns, conn->generation))
		return SK_PASS;
	if (!workload) {
		count(MESH_REASON_NOT_READY);
		return SK_DROP;
	}

	conn->peer_identity = workload_identity(workload, conn->generation, &conn->destination);
	conn->identity = address ? address->identity[conn->generation & 1] : MESH_IDENTITY_WORLD;
	if (conn->protocol == MESH_PROTO_TCP) {
		/* The record of this attempt, if this node made it. */
		initiator_key(conn, &initiator);
		record = bpf_map_lookup_elem(&mesh_ends, &initiator);
		/*
		 * A late segment of a connection that this node knows, whose socket here has gone:
		 * TCP answers it with RST. Were it a SYN all the same, no child without the proof
		 * of its sequence number survives PASSIVE_ESTABLISHED.
		 */
		if (record && (MESH_ROLE_IS_SERVER(record->role) || (record->flags & MESH_END_CLOSED)))
			return SK_PASS;
		if (record && (record->flags & MESH_END_SPOOFED)) {
			refuse(conn, conn->peer_netns, MESH_REASON_SPOOFED);
			return SK_DROP;
		}
		if (!record && address && (address->flags & MESH_ADDR_NEEDS_RECORD)) {
			if (bpf_map_lookup_elem(&mesh_aborted, &initiator))
				return SK_DROP; /* a late segment of a connection that was cut or reset */
			refuse(conn, conn->peer_netns, MESH_REASON_NO_RECORD);
			return SK_DROP;
		}
		if (record) {
			conn->netns = record->flags & MESH_END_HOST ? 0 : record->netns;
			if (record->role == MESH_ROLE_LEG) {
				conn->proxied = true;
			} else {
				conn->service_address = record->service_address;
				conn->service_port = record->service_port;
			}
			source = record->flags & MESH_END_HOST ? NULL : workload_of(record->netns);
			if (record->flags & MESH_END_HOST)
				conn->identity = MESH_IDENTITY_HOST;
			else if (source)
				conn->identity = workload_identity(source, conn->generation, &conn->destination);
		}
	} else {
		flow.netns = conn->peer_netns;
		flow.remote = conn->source;
		flow.local_port = conn->port;
		flow.remote_port = conn->source_port;
		if (udp_is_reply(&flow, false)) {
			count(MESH_STAT_UDP_REPLY);
			return SK_PASS;
		}
		conn->netns = address_netns(address, conn->generation);
	}

	if (conn->identity == MESH_IDENTITY_HOST && port_probed(workload, conn->peer_netns, conn->port))
		conn->proxied = true;
	reason = conn_decide_reporting(conn, NULL, workload, conn->peer_netns);
	/* What a pod of this node sends has been through the proxy on its own side. */
	if (reason == MESH_REASON_NEEDS_PROXY && conn->protocol == MESH_PROTO_TCP && !conn->netns)
		return SK_CAPTURE;
	if (reason != MESH_REASON_NONE) {
		refuse(conn, conn->peer_netns, reason);
		return SK_DROP;
	}
	if (conn->protocol == MESH_PROTO_UDP)
		udp_remember(&flow, false, conn->generation);
	else if (record)
		record->flags |= MESH_END_STAMPED;
	return SK_PASS;
}

/* Gives a SYN from outside the mesh to the proxy's listener in its destination's pod. */
static __always_inline int inbound_capture(struct bpf_sk_lookup *ctx, struct mesh_conn *conn)
{
	struct mesh_control *ctl = control();
	__u64 netns = conn->peer_netns;
	struct bpf_sock *listener;
	long failed;

	if (ctl && READ_ONCE(ctl->proxy_live)) {
		if (ctx->family == AF_INET)
			listener = bpf_map_lookup_elem(&mesh_inbound4, &netns);
		else
			listener = bpf_map_lookup_elem(&mesh_inbound6, &netns);
		if (listener) {
			failed = bpf_sk_assign(ctx, listener, 0);
			bpf_sk_release(listener);
			if (!failed) {
				count(MESH_STAT_CAPTURED_INBOUND);
				return SK_PASS;
			}
		}
	}
	refuse(conn, conn->peer_netns, MESH_REASON_NEEDS_PROXY);
	return SK_DROP;
}

SEC("sk_lookup")
int mesh_lookup(struct bpf_sk_lookup *ctx)
{
	struct mesh_conn conn = {};
	int decided;

	if (ctx->family == AF_INET) {
		ip_from_v4(&conn.source, ctx->remote_ip4);
		ip_from_v4(&conn.destination, ctx->local_ip4);
	} else {
		conn.source.word[0] = ctx->remote_ip6[0];
		conn.source.word[1] = ctx->remote_ip6[1];
		conn.source.word[2] = ctx->remote_ip6[2];
		conn.source.word[3] = ctx->remote_ip6[3];
		conn.destination.word[0] = ctx->local_ip6[0];
		conn.destination.word[1] = ctx->local_ip6[1];
		conn.destination.word[2] = ctx->local_ip6[2];
		conn.destination.word[3] = ctx->local_ip6[3];
	}
	conn.source_port = bpf_ntohs(ctx->remote_port);
	conn.port = ctx->local_port;
	conn.protocol = ctx->protocol;
	decided = inbound_decide(&conn);
	return decided == SK_CAPTURE ? inbound_capture(ctx, &conn) : decided;
}

#endif /* MESH_LOOKUP_H */
