/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What a pod may not do to a socket, raw sockets, and what is known of the proxy's own sockets. */
#ifndef MESH_GUARDS_H
#define MESH_GUARDS_H

#include "verdict.h"

/*
 * A datagram of a connected socket meets no hook, and with this option IPV6_PKTINFO may
 * give it any source (net/ipv6/datagram.c, ip6_datagram_send_ctl), with no privilege.
 */
static __always_inline bool may_borrow_addresses(const struct bpf_sockopt *ctx)
{
	return ctx->sk && ctx->sk->type == SOCK_DGRAM &&
	       ((ctx->level == SOL_IP && ctx->optname == IP_FREEBIND) ||
		(ctx->level == SOL_IPV6 && ctx->optname == IPV6_FREEBIND));
}

SEC("cgroup/setsockopt")
int mesh_sockopt(struct bpf_sockopt *ctx)
{
	struct mesh_workload *workload;
	struct mesh_sock *state;
	int error = 0;

	if (may_borrow_addresses(ctx)) {
		workload = workload_of(bpf_get_netns_cookie(ctx));
		if (workload && !(workload->flags & MESH_WL_RAW_SOCKETS)) {
			bpf_set_retval(-EPERM);
			return 0;
		}
	}

	/* A value larger than the copy the kernel made must be left alone (kernel/bpf/cgroup.c). */
	if (ctx->optlen > PAGE_SIZE)
		ctx->optlen = 0;
	if (ctx->level == SOL_SOCKET && ctx->optname == SO_ZEROCOPY)
		error = EOPNOTSUPP; /* a redirected send is copied and its completion never comes */
	else if (ctx->level == SOL_TCP && ctx->optname == TCP_ULP)
		error = ENOENT; /* kernel TLS on a member crashed kernels before 6.12.34 */
	if (!error || !ctx->sk)
		return 1;
	state = bpf_sk_storage_get(&mesh_sock_state, ctx->sk, 0, 0);
	if (!state || !(state->flags & MESH_END_MEMBER))
		return 1;
	bpf_set_retval(-error);
	return 0;
}

/* A raw socket could forge addresses and SYNs. AF_PACKET does not come here: docs/threat-model.md. */
SEC("cgroup/sock_create")
int mesh_sock_create(struct bpf_sock *ctx)
{
	struct mesh_workload *workload;
	struct mesh_conn conn = {};

	if (ctx->type != SOCK_RAW)
		return 1;
	conn.netns = bpf_get_netns_cookie(ctx);
	workload = workload_of(conn.netns);
	if (!workload || (workload->flags & MESH_WL_RAW_SOCKETS))
		return 1;
	conn.protocol = ctx->protocol;
	refuse(&conn, conn.netns, MESH_REASON_RAW_SOCKET);
	bpf_set_retval(-EPERM);
	return 0;
}

/*
 * In the cgroup of the proxy's factory: each socket made there carries a mark that nobody
 * else can give it, for nothing yet. Children of a listener and sockets handed over keep it.
 */
SEC("cgroup/sock_create")
int mesh_factory(struct bpf_sock *ctx)
{
	struct mesh_leg *leg;

	leg = bpf_sk_storage_get(&mesh_leg, ctx, 0, BPF_SK_STORAGE_GET_F_CREATE);
	return leg ? 1 : 0;
}

/*
 * In the same cgroup, whose accepted sockets stay in it whoever holds them: what the proxy
 * asks of a connection. Other sockets never come here.
 */
SEC("cgroup/getsockopt")
int mesh_origin(struct bpf_sockopt *ctx)
{
	struct mesh_origin *origin = ctx->optval;
	struct bpf_sock *sk = ctx->sk;
	struct mesh_flow_key key = {};
	struct mesh_end *end;
	__u64 netns;

	if (ctx->level != MESH_SOL || ctx->optname != MESH_SO_ORIGIN) {
		/* A value larger than the copy the kernel made must be left alone (kernel/bpf/cgroup.c). */
		if (ctx->optlen > PAGE_SIZE)
			ctx->optlen = 0;
		return 1;
	}
	if ((void *)(origin + 1) > ctx->optval_end) {
		bpf_set_retval(-EINVAL);
		return 1;
	}
	if (!sk)
		return 1;
	netns = bpf_get_netns_cookie(ctx);
	sock_flow(sk, &key);
	if (ip_is_loopback(&key.local) || ip_is_loopback(&key.remote))
		key.netns = netns;
	end = bpf_map_lookup_elem(&mesh_ends, &key);
	if (!end || end->role != MESH_ROLE_PROXY || end->netns != netns || end->path == MESH_PATH_DENIED ||
	    (key.netns && !(end->flags & MESH_END_CAPTURED))) {
		bpf_set_retval(-ENOENT);
		return 1;
	}
	__builtin_memset(origin, 0, sizeof(*origin));
	origin->client = key.remote;
	origin->client_port = key.remote_port;
	origin->netns = netns;
	origin->source_netns = end->peer_netns;
	origin->source_identity = end->peer_identity;
	origin->generation = end->generation;
	if (end->flags & MESH_END_CAPTURED) {
		origin->destination = end->service_address;
		origin->port = end->service_port;
		origin->service = end->service;
		origin->direction = MESH_EGRESS;
	} else {
		origin->destination = key.local;
		origin->port = key.local_port;
		origin->direction = MESH_INGRESS;
	}
	ctx->optlen = sizeof(*origin);
	bpf_set_retval(0);
	return 1;
}

#endif /* MESH_GUARDS_H */
