/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What a pod may not do to a socket: options that redirection cannot honour, and raw sockets. */
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

#endif /* MESH_GUARDS_H */
