/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Unconnected UDP: translation and policy per datagram, replies by remembered conversations. */
#ifndef MESH_DATAGRAM_H
#define MESH_DATAGRAM_H

#include "connect.h"

/*
 * Remembers that `key->netns` sent to (or received from) its remote, so that the
 * answers pass the other way. Over quota nothing is remembered: answers then need a
 * policy of their own. What a pod receives is no part of its quota: others send that.
 */
__noinline int udp_remember(const struct mesh_udp_key *whom, bool sent, __u32 generation)
{
	struct mesh_udp_flow *flow, fresh = {};
	struct mesh_control *ctl = control();
	struct mesh_usage *usage;
	struct mesh_udp_key copy;
	struct mesh_udp_key *key = &copy;

	if (!ctl || !whom)
		return 0;
	copy = *whom;
	fresh.last_ns = bpf_ktime_get_ns();
	fresh.generation = generation;
	if (!sent) {
		bpf_map_update_elem(&mesh_udp_asked, key, &fresh, BPF_ANY);
		return 0;
	}
	flow = bpf_map_lookup_elem(&mesh_udp_flows, key);
	if (flow) {
		flow->last_ns = fresh.last_ns;
		flow->generation = generation;
		return 0;
	}
	usage = usage_of(key->netns);
	if (usage && used(usage->udp_flows) >= ctl->udp_quota) {
		count(MESH_REASON_QUOTA);
		return 0;
	}
	if (bpf_map_update_elem(&mesh_udp_flows, key, &fresh, BPF_NOEXIST))
		count(MESH_REASON_MAP_FULL);
	else if (usage)
		__sync_fetch_and_add(&usage->udp_flows, 1);
	return 0;
}

/*
 * True if this datagram answers one that the remote sent us (outbound) or that we sent
 * (inbound), and that is still allowed: a policy change since then is looked at again, in
 * the direction of the first datagram. Answers keep the conversation alive.
 */
__noinline int udp_is_reply(const struct mesh_udp_key *whom, bool outbound)
{
	struct mesh_control *ctl = control();
	struct mesh_conn first = {};
	struct mesh_address *entry;
	struct mesh_udp_flow *flow;
	struct mesh_udp_key copy;
	struct mesh_udp_key *key = &copy;
	__u64 now, idle;

	if (!whom)
		return 0;
	copy = *whom;
	flow = outbound ? bpf_map_lookup_elem(&mesh_udp_asked, key) : bpf_map_lookup_elem(&mesh_udp_flows, key);
	if (!flow || !ctl)
		return 0;
	now = bpf_ktime_get_ns();
	idle = now - flow->last_ns;
	if (idle >= ctl->udp_idle_ns)
		return 0;
	/* Not with each datagram: the line is shared between CPUs. */
	if (idle > ctl->udp_idle_ns / 16)
		flow->last_ns = now;
	if (flow->generation == READ_ONCE(ctl->generation))
		return 1;

	/* Outbound: the first datagram came from the remote. Inbound: we sent it. */
	entry = address_of(&key->remote);
	first.protocol = MESH_PROTO_UDP;
	if (outbound) {
		first.source = key->remote;
		first.destination = key->remote; /* of the same family; who is meant says peer_netns */
		first.netns = address_netns_now(entry);
		first.peer_netns = key->netns;
		first.port = key->local_port;
	} else {
		first.destination = key->remote;
		first.netns = key->netns;
		first.peer_netns = address_netns_now(entry);
		first.port = key->remote_port;
	}
	if (conn_redecide(&first) != MESH_REASON_NONE)
		return 0;
	flow->generation = first.generation;
	return 1;
}

static __always_inline int sendmsg_run(struct bpf_sock_addr *ctx, struct mesh_conn *conn)
{
	struct mesh_workload *workload;
	struct mesh_udp_key flow = {};
	struct mesh_leg *leg;
	int error;

	conn->netns = bpf_get_netns_cookie(ctx);
	workload = workload_of(conn->netns);
	if (!workload)
		return 1;
	conn->port = bpf_ntohs(ctx->user_port);
	conn->protocol = MESH_PROTO_UDP;
	conn->source_port = ctx->sk->src_port;
	conn->cookie = bpf_get_socket_cookie(ctx);
	leg = bpf_sk_storage_get(&mesh_leg, ctx->sk, 0, 0);
	if (leg) {
		bpf_set_retval(-leg_decide(conn, leg)); /* no datagrams of the proxy */
		return 0;
	}

	flow.netns = conn->netns;
	flow.remote = conn->destination;
	flow.local_port = conn->source_port;
	flow.remote_port = conn->port;
	if (udp_is_reply(&flow, true)) {
		count(MESH_STAT_UDP_REPLY);
		return 1;
	}
	error = outbound_decide(conn, workload);
	if (error) {
		bpf_set_retval(-error);
		return 0;
	}
	if (conn->peer_netns == conn->netns)
		return 1;
	if (conn->service_port)
		udp_remember_service(conn);
	flow.remote = conn->destination;
	flow.remote_port = conn->port;
	udp_remember(&flow, true, conn->generation);
	return 1;
}

SEC("cgroup/sendmsg4")
int mesh_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct mesh_conn conn = {};

	ip_from_v4(&conn.destination, ctx->user_ip4);
	/* Of the datagram, which IP_PKTINFO may choose, not of the socket. */
	ip_from_v4(&conn.source, ctx->msg_src_ip4);
	if (!sendmsg_run(ctx, &conn))
		return 0;
	if (conn.service_port && ip_is_mapped(&conn.destination))
		user_store4(ctx, &conn.destination, conn.port);
	return 1;
}

SEC("cgroup/sendmsg6")
int mesh_sendmsg6(struct bpf_sock_addr *ctx)
{
	struct mesh_conn conn = {};

	user_load6(ctx, &conn.destination);
	conn.source.word[0] = ctx->msg_src_ip6[0];
	conn.source.word[1] = ctx->msg_src_ip6[1];
	conn.source.word[2] = ctx->msg_src_ip6[2];
	conn.source.word[3] = ctx->msg_src_ip6[3];
	if (!sendmsg_run(ctx, &conn))
		return 0;
	if (conn.service_port)
		user_store6(ctx, &conn.destination, conn.port);
	return 1;
}

/* The service address that a datagram from `ip`:`port` answers for, or null. */
static __always_inline bool reply_source(struct bpf_sock_addr *ctx, struct mesh_ip *ip, __u16 *port)
{
	struct mesh_udp_reverse_key key = {};
	struct mesh_udp_reverse *original;
	struct mesh_sock *state;

	state = translated_peer(ctx, ip, *port);
	if (state) {
		*ip = state->service_address;
		*port = state->service_port;
		return true;
	}
	key.cookie = bpf_get_socket_cookie(ctx);
	key.backend = *ip;
	key.backend_port = *port;
	original = bpf_map_lookup_elem(&mesh_udp_rev, &key);
	if (!original)
		return false;
	*ip = original->service_address;
	*port = original->service_port;
	return true;
}

SEC("cgroup/recvmsg4")
int mesh_recvmsg4(struct bpf_sock_addr *ctx)
{
	__u16 port = bpf_ntohs(ctx->user_port);
	struct mesh_ip ip;

	ip_from_v4(&ip, ctx->user_ip4);
	if (reply_source(ctx, &ip, &port))
		user_store4(ctx, &ip, port);
	return 1;
}

SEC("cgroup/recvmsg6")
int mesh_recvmsg6(struct bpf_sock_addr *ctx)
{
	__u16 port = bpf_ntohs(ctx->user_port);
	struct mesh_ip ip;

	user_load6(ctx, &ip);
	if (reply_source(ctx, &ip, &port))
		user_store6(ctx, &ip, port);
	return 1;
}

#endif /* MESH_DATAGRAM_H */
