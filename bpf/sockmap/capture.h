/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Connections that the node proxy carries: a pod's are led to a listener on its own
 * loopback, and the proxy's own (legs) go to the one destination that each was made for.
 */
#ifndef MESH_CAPTURE_H
#define MESH_CAPTURE_H

#include "service.h"

/* The far side's refusal looks as TCP's own: nobody listens for you there. */
static __always_inline int refusal_errno(__u32 reason)
{
	return reason == MESH_REASON_POLICY_INGRESS || reason == MESH_REASON_NEEDS_PROXY ? ECONNREFUSED : EPERM;
}

/* Whether a workload may make one more connection that has a record. */
static __always_inline bool ends_permitted(__u64 netns)
{
	struct mesh_usage *usage = usage_of(netns);
	struct mesh_control *ctl = control();

	return !usage || !ctl || used(usage->ends) < ctl->ends_quota;
}

/*
 * Leads a connection to the proxy's listener in its own pod. On entry destination and
 * port, or those of the service, say what the application asked for; on return they are
 * the listener's and the others keep that. Nothing serves the listener: refused at once.
 *
 * Returns 0, else the errno for the application.
 */
static __noinline int capture(struct mesh_conn *conn)
{
	struct mesh_control *ctl = control();
	struct mesh_listener *listener;
	__u16 port;
	bool v4;

	if (!ctl)
		return EPERM;
	listener = listener_of(conn->netns);
	v4 = ip_is_mapped(&conn->destination);
	port = listener ? READ_ONCE(listener->outbound[v4 ? 0 : 1]) : 0;
	if (!port || !conn->port || !READ_ONCE(ctl->proxy_live)) {
		refuse(conn, conn->netns, MESH_REASON_NEEDS_PROXY);
		return ECONNREFUSED;
	}
	/* The proxy takes it only by its record. */
	if (!ends_permitted(conn->netns)) {
		refuse(conn, conn->netns, MESH_REASON_QUOTA);
		return EPERM;
	}
	if (!conn->service_port) {
		conn->service_address = conn->destination;
		conn->service_port = conn->port;
	}
	ip_loopback(&conn->destination, v4);
	conn->port = port;
	conn->peer_netns = conn->netns;
	conn->captured = true;
	count(MESH_STAT_CAPTURED);
	return 0;
}

/*
 * A pod's connection to itself: always allowed, but for the proxy's ports on loopback,
 * which are for captured connections.
 */
static __noinline int self_decide(struct mesh_conn *conn)
{
	struct mesh_listener *listener;

	if (conn->protocol != MESH_PROTO_TCP || !(ip_is_loopback(&conn->destination) || ip_is_any(&conn->destination)))
		return 0;
	listener = listener_of(conn->netns);
	if (!listener || !is_listener_port(listener, conn->port))
		return 0;
	refuse(conn, conn->netns, MESH_REASON_LISTENER);
	return ECONNREFUSED;
}

/*
 * A connection of the proxy: only where its mark says, and decided as the workload's that
 * it stands for. The proxy decides L7. Where it stands for another workload than the one
 * whose namespace it is made in, it comes in from outside to that one.
 *
 * Returns 0 if allowed, else the errno.
 */
static __noinline int leg_decide(struct mesh_conn *conn, struct mesh_leg *leg)
{
	struct mesh_workload *source = NULL, *destination = NULL;
	struct mesh_control *ctl = control();
	struct mesh_address *address;
	__u32 reason;

	if (!ctl || !leg)
		return EPERM;
	if (leg->role != MESH_LEG_DIAL || conn->protocol != MESH_PROTO_TCP || leg->port != conn->port ||
	    !ip_equal(&leg->destination, &conn->destination)) {
		refuse(conn, conn->netns, MESH_REASON_LEG);
		return EPERM;
	}
	count(MESH_STAT_LEGS);
	conn->proxied = true;
	conn->generation = READ_ONCE(ctl->generation);
	address = address_of(&conn->destination);
	if (is_self(&conn->destination, address, conn->netns, conn->generation)) {
		conn->peer_netns = conn->netns;
		if (leg->netns == conn->netns)
			return 0; /* hairpin through its own service */
		conn->identity = leg->identity;
	} else {
		conn->peer_netns = address_netns(address, conn->generation);
		source = workload_of(conn->netns);
		if (!source) {
			refuse(conn, conn->netns, MESH_REASON_NOT_READY);
			return EPERM;
		}
		conn->identity = workload_identity(source, conn->generation, &conn->destination);
	}
	if (conn->peer_netns) {
		destination = workload_of(conn->peer_netns);
		if (!destination) {
			refuse(conn, conn->netns, MESH_REASON_NOT_READY);
			return ECONNREFUSED;
		}
		conn->peer_identity = workload_identity(destination, conn->generation, &conn->destination);
	} else {
		conn->peer_identity = address ? address->identity[conn->generation & 1] : MESH_IDENTITY_WORLD;
	}
	reason = conn_decide_reporting(conn, source, destination, conn->netns);
	if (reason == MESH_REASON_NONE && !ends_permitted(conn->netns))
		reason = MESH_REASON_QUOTA;
	if (reason == MESH_REASON_NONE)
		return 0;
	refuse(conn, conn->netns, reason);
	return refusal_errno(reason);
}

/*
 * A captured socket keeps the pod's address, which the route to loopback would not give
 * it. Where the application has chosen a port already it cannot be bound any more: then
 * getsockname() alone shows the address.
 */
static __always_inline void captured_bind(struct bpf_sock_addr *ctx, const struct mesh_conn *conn)
{
	struct mesh_listener *listener = listener_of(conn->netns);
	bool v4 = ip_is_mapped(&conn->destination);
	struct sockaddr_in address4 = {};
	struct sockaddr_in6 address6 = {};
	const struct mesh_ip *own;

	if (!listener || conn->source_port || !ip_is_any(&conn->source))
		return;
	own = &listener->address[v4 ? 0 : 1];
	if (ip_is_any(own))
		return;
	if (ctx->family == AF_INET) {
		address4.sin_family = AF_INET;
		address4.sin_addr.s_addr = own->word[3];
		bpf_bind(ctx, (struct sockaddr *)&address4, sizeof(address4));
	} else {
		address6.sin6_family = AF_INET6;
		__builtin_memcpy(&address6.sin6_addr, own, sizeof(*own));
		bpf_bind(ctx, (struct sockaddr *)&address6, sizeof(address6));
	}
}

#endif /* MESH_CAPTURE_H */
