/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* connect() of an enrolled pod: translation, policy of both ends, capture, and what getpeername() shows. */
#ifndef MESH_CONNECT_H
#define MESH_CONNECT_H

#include "capture.h"

/*
 * Decides where a pod's flow goes and whether it may. On entry conn names the
 * destination the application asked for; on return the backend, or the proxy's listener.
 * `workload` is the source, null if the pod is not enrolled.
 *
 * Returns 0 if allowed, else the errno for the application.
 */
static __noinline int outbound_decide(struct mesh_conn *conn, struct mesh_workload *workload)
{
	struct mesh_address *address, *source;
	struct mesh_control *ctl = control();
	struct mesh_workload *peer = NULL;
	__u32 reason;
	__u64 owner;

	if (!workload || !ctl)
		return 0;
	conn->generation = READ_ONCE(ctl->generation);
	address = bpf_map_lookup_elem(&mesh_addresses, &conn->destination);
	if (is_self(&conn->destination, address, conn->netns, conn->generation)) {
		conn->peer_netns = conn->netns;
		return self_decide(conn);
	}
	if (port_skipped(workload, conn->netns, conn->port, MESH_EGRESS))
		return 0;
	if (!(workload->flags & MESH_WL_READY)) {
		refuse(conn, conn->netns, MESH_REASON_NOT_READY);
		return EPERM;
	}
	if (!ip_is_any(&conn->source)) {
		source = bpf_map_lookup_elem(&mesh_addresses, &conn->source);
		owner = address_netns(source, conn->generation);
		if (owner && owner != conn->netns) {
			refuse(conn, conn->netns, MESH_REASON_SPOOFED);
			return EPERM;
		}
	}

	switch (service_translate(conn, address, workload)) {
	case SERVICE_NO_ENDPOINT:
		refuse(conn, conn->netns, MESH_REASON_NO_ENDPOINT);
		return ECONNREFUSED;
	case SERVICE_NO_PORT:
		refuse(conn, conn->netns, MESH_REASON_NO_SERVICE_PORT);
		return ECONNREFUSED;
	case SERVICE_CAPTURED:
		conn->identity = workload_identity(workload, conn->generation, &conn->destination);
		return capture(conn);
	case SERVICE_TRANSLATED:
		count(MESH_STAT_TRANSLATED);
		address = NULL;
		break;
	}

	conn->identity = workload_identity(workload, conn->generation, &conn->destination);
	if (!address)
		address = address_of(&conn->destination);
	conn->peer_identity = address ? address->identity[conn->generation & 1] : MESH_IDENTITY_WORLD;
	conn->peer_netns = address_netns(address, conn->generation);
	if (conn->peer_netns) {
		if (conn->peer_netns == conn->netns)
			return 0; /* hairpin through its own service */
		peer = workload_of(conn->peer_netns);
		if (!peer) {
			refuse(conn, conn->netns, MESH_REASON_NOT_READY);
			return ECONNREFUSED;
		}
	}
	reason = conn_decide_reporting(conn, workload, peer, conn->netns);
	if (reason == MESH_REASON_NEEDS_PROXY && conn->protocol == MESH_PROTO_TCP)
		return capture(conn);
	/* Without a record it could not be proved to its destination, nor decided again. */
	if (reason == MESH_REASON_NONE && conn->protocol == MESH_PROTO_TCP &&
	    (conn->peer_netns || workload->policy_set[conn->generation & 1]) && !ends_permitted(conn->netns)) {
		refuse(conn, conn->netns, MESH_REASON_QUOTA);
		return EPERM;
	}
	if (reason != MESH_REASON_NONE) {
		refuse(conn, conn->netns, reason);
		return refusal_errno(reason);
	}
	return 0;
}

/*
 * Keeps what getpeername(), recvmsg() and the record need to know of a translated
 * socket. Storage costs about a microsecond in a socket's life, so others get none;
 * what an earlier connect() of this socket left is cleared.
 */
static __always_inline void sock_remember(struct bpf_sock_addr *ctx, const struct mesh_conn *conn)
{
	struct mesh_sock *state;

	state = bpf_sk_storage_get(&mesh_sock_state, ctx->sk, 0,
				   conn->service_port ? BPF_SK_STORAGE_GET_F_CREATE : 0);
	if (!state)
		return; /* without memory the connection goes on by TCP, its record is made without the service */
	__builtin_memset(state, 0, sizeof(*state));
	if (!conn->service_port)
		return;
	state->netns = conn->netns;
	state->cookie = conn->cookie;
	state->peer_netns = conn->peer_netns;
	state->service_address = conn->service_address;
	state->service_port = conn->service_port;
	state->backend_address = conn->destination;
	state->backend_port = conn->port;
	state->service = conn->service;
	state->generation = conn->generation;
	state->identity = conn->identity;
	state->peer_identity = conn->peer_identity;
	state->role = MESH_ROLE_CLIENT;
	if (conn->captured)
		state->flags = MESH_END_CAPTURED;
}

/*
 * The same of a connected UDP socket, where the agent can read it: the kernel's list of
 * UDP sockets does not carry their storage (net/ipv4/inet_diag.c, inet_sk_diag_fill).
 * A connect() past the service takes back what an earlier one left.
 */
__noinline int udp_remember_service(const struct mesh_conn *conn)
{
	struct mesh_udp_reverse_key reverse = {};
	struct mesh_udp_reverse original = {};

	if (!conn)
		return 0;
	reverse.cookie = conn->cookie;
	reverse.backend = conn->destination;
	reverse.backend_port = conn->port;
	if (!conn->service_port) {
		bpf_map_delete_elem(&mesh_udp_rev, &reverse);
		return 0;
	}
	original.service_address = conn->service_address;
	original.service_port = conn->service_port;
	bpf_map_update_elem(&mesh_udp_rev, &reverse, &original, BPF_ANY);
	return 0;
}

static __always_inline int connect_run(struct bpf_sock_addr *ctx, struct mesh_conn *conn)
{
	struct mesh_workload *workload;
	struct mesh_leg *leg;
	int error;

	conn->netns = bpf_get_netns_cookie(ctx);
	workload = workload_of(conn->netns);
	leg = bpf_sk_storage_get(&mesh_leg, ctx->sk, 0, 0);
	/* In two steps: or-ed pointers are none to the verifier. */
	if (!workload) {
		barrier();
		if (!leg)
			return 1;
	}
	conn->port = bpf_ntohs(ctx->user_port);
	conn->protocol = ctx->type == SOCK_DGRAM ? MESH_PROTO_UDP : MESH_PROTO_TCP;
	conn->source_port = ctx->sk->src_port;
	conn->cookie = bpf_get_socket_cookie(ctx);
	if (leg) {
		error = leg_decide(conn, leg);
	} else {
		count(MESH_STAT_CONNECT);
		error = outbound_decide(conn, workload);
		/* To loopback it would leave by that device, and nobody would answer. */
		if (conn->captured && ctx->sk->bound_dev_if) {
			refuse(conn, conn->netns, MESH_REASON_NEEDS_PROXY);
			error = ECONNREFUSED;
		}
	}
	if (error) {
		bpf_set_retval(-error);
		return 0;
	}
	sock_remember(ctx, conn);
	if (conn->protocol == MESH_PROTO_UDP)
		udp_remember_service(conn);
	return 1;
}

SEC("cgroup/connect4")
int mesh_connect4(struct bpf_sock_addr *ctx)
{
	struct mesh_conn conn = {};

	ip_from_v4(&conn.destination, ctx->user_ip4);
	ip_from_v4(&conn.source, ctx->sk->src_ip4);
	if (!connect_run(ctx, &conn))
		return 0;
	if (conn.captured)
		captured_bind(ctx, &conn);
	if (conn.service_port && ip_is_mapped(&conn.destination))
		user_store4(ctx, &conn.destination, conn.port);
	return 1;
}

SEC("cgroup/connect6")
int mesh_connect6(struct bpf_sock_addr *ctx)
{
	struct mesh_conn conn = {};

	user_load6(ctx, &conn.destination);
	bound_load6(ctx, &conn.source);
	if (!connect_run(ctx, &conn))
		return 0;
	if (conn.captured)
		captured_bind(ctx, &conn);
	if (conn.service_port)
		user_store6(ctx, &conn.destination, conn.port);
	return 1;
}

/*
 * The service address the application connected to, if `ip`:`port` is the backend that
 * was chosen for it. The hooks of getpeername also run for the address that accept()
 * fills in (net/ipv4/af_inet.c, inet_getname): those sockets have no service.
 */
static __always_inline struct mesh_sock *translated_peer(struct bpf_sock_addr *ctx, const struct mesh_ip *ip, __u16 port)
{
	struct mesh_sock *state;

	if (!ctx->sk)
		return NULL;
	state = bpf_sk_storage_get(&mesh_sock_state, ctx->sk, 0, 0);
	if (!state || !state->service_port || state->backend_port != port)
		return NULL;
	return ip_equal(&state->backend_address, ip) ? state : NULL;
}

SEC("cgroup/getpeername4")
int mesh_getpeer4(struct bpf_sock_addr *ctx)
{
	struct mesh_sock *state;
	struct mesh_ip ip;

	ip_from_v4(&ip, ctx->user_ip4);
	state = translated_peer(ctx, &ip, bpf_ntohs(ctx->user_port));
	if (state)
		user_store4(ctx, &state->service_address, state->service_port);
	return 1;
}

SEC("cgroup/getpeername6")
int mesh_getpeer6(struct bpf_sock_addr *ctx)
{
	struct mesh_sock *state;
	struct mesh_ip ip;

	user_load6(ctx, &ip);
	state = translated_peer(ctx, &ip, bpf_ntohs(ctx->user_port));
	if (state)
		user_store6(ctx, &state->service_address, state->service_port);
	return 1;
}

/*
 * The address of the pod for a captured socket that could not be bound to it: applications
 * must not see that they are led over loopback.
 */
static __always_inline bool captured_own(struct bpf_sock_addr *ctx, struct mesh_ip *ip)
{
	struct mesh_listener *listener;
	struct mesh_sock *state;
	bool v4;

	if (!ctx->sk || !ip_is_loopback(ip))
		return false;
	state = bpf_sk_storage_get(&mesh_sock_state, ctx->sk, 0, 0);
	if (!state || !(state->flags & MESH_END_CAPTURED))
		return false;
	listener = listener_of(state->netns);
	v4 = ip_is_mapped(ip);
	if (!listener || ip_is_any(&listener->address[v4 ? 0 : 1]))
		return false;
	*ip = listener->address[v4 ? 0 : 1];
	return true;
}

SEC("cgroup/getsockname4")
int mesh_getsock4(struct bpf_sock_addr *ctx)
{
	struct mesh_ip ip;

	ip_from_v4(&ip, ctx->user_ip4);
	if (captured_own(ctx, &ip))
		user_store4(ctx, &ip, bpf_ntohs(ctx->user_port));
	return 1;
}

SEC("cgroup/getsockname6")
int mesh_getsock6(struct bpf_sock_addr *ctx)
{
	struct mesh_ip ip;

	user_load6(ctx, &ip);
	if (captured_own(ctx, &ip))
		user_store6(ctx, &ip, bpf_ntohs(ctx->user_port));
	return 1;
}

#endif /* MESH_CONNECT_H */
