/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Records of connection ends: made, compared, joined to the sockhash, closed and reported. */
#ifndef MESH_ENDS_H
#define MESH_ENDS_H

#include "lookup.h"

/* The account that an end is on, apart for connections made and accepted: others must not use up the first. */
static __always_inline __u64 *end_account(__u64 netns, __u8 role)
{
	struct mesh_usage *usage = usage_of(netns);

	if (!usage)
		return NULL;
	if (MESH_ROLE_IS_SERVER(role))
		return &usage->accepted;
	return &usage->ends;
}

/*
 * Writes a new end and counts it against its owner. Returns 0, or why it cannot: enum
 * mesh_reason. Static, since both pointers go to maps (policy.h).
 */
static __noinline int end_insert(struct mesh_flow_key *key, struct mesh_end *end)
{
	struct mesh_control *ctl = control();
	struct mesh_end *old;
	__u64 *account, *other, owner;

	if (!ctl || !end || !key)
		return MESH_REASON_NOT_READY;
	account = end_account(end->netns, end->role);
	if (account &&
	    used(*account) >= (__u64)ctl->ends_quota * (MESH_ROLE_IS_SERVER(end->role) ? MESH_ACCEPTED_SHARE : 1)) {
		count(MESH_REASON_QUOTA);
		return MESH_REASON_QUOTA;
	}
	if (!bpf_map_update_elem(&mesh_ends, key, end, BPF_NOEXIST)) {
		if (account)
			__sync_fetch_and_add(account, 1);
		return 0;
	}
	/* Full, or a tuple used again whose first connection has not quite ended. */
	old = bpf_map_lookup_elem(&mesh_ends, key);
	if (!old) {
		count(MESH_REASON_MAP_FULL);
		return MESH_REASON_MAP_FULL;
	}
	/* Whoever borrows an address must not take over the records of the pod that has it. */
	owner = address_netns_now(bpf_map_lookup_elem(&mesh_addresses, &key->local));
	if (owner && owner != end->netns) {
		count(MESH_REASON_SPOOFED);
		return MESH_REASON_SPOOFED;
	}
	other = end_account(old->netns, old->role);
	if (bpf_map_update_elem(&mesh_ends, key, end, BPF_EXIST)) {
		count(MESH_REASON_MAP_FULL);
		return MESH_REASON_MAP_FULL;
	}
	if (account != other) {
		if (account)
			__sync_fetch_and_add(account, 1);
		if (other)
			give_back(other);
	}
	return 0;
}

static __always_inline void end_delete(struct mesh_flow_key *key, __u64 netns, __u8 role)
{
	__u64 *account = end_account(netns, role);

	if (!bpf_map_delete_elem(&mesh_ends, key) && account)
		give_back(account);
}

/* The path of what this end sends, where everyone sees it. */
static __always_inline void end_path(struct mesh_end *end, __u8 path, __u8 reason)
{
	end->path = path;
	end->reason = reason;
	if (path == MESH_PATH_TCP)
		count(reason);
}

/* The same for a member: in its own state and in its record. Static, since the key goes to a map (policy.h). */
static __noinline int path_set(struct mesh_sock *state, struct mesh_flow_key *key, __u8 path, __u8 reason)
{
	struct mesh_end *end;

	if (!state || !key)
		return 0;
	end = bpf_map_lookup_elem(&mesh_ends, key);
	state->path = path;
	state->reason = reason;
	if (end && end->cookie == state->cookie) {
		end_path(end, path, reason);
		end->tx_redirected = state->tx_redirected;
	}
	return 0;
}

/*
 * The flow that this is an end of, from the initiator's side, for a new decision or a
 * report. Of a captured connection: who wanted to go where.
 */
static __always_inline void conn_of(const struct mesh_end *end, const struct mesh_flow_key *key,
				    struct mesh_conn *conn)
{
	bool client = !MESH_ROLE_IS_SERVER(end->role);

	conn->source = client ? key->local : key->remote;
	conn->source_port = client ? key->local_port : key->remote_port;
	conn->cookie = end->cookie;
	conn->protocol = MESH_PROTO_TCP;
	conn->identity = client ? end->identity : end->peer_identity;
	conn->peer_identity = client ? end->peer_identity : end->identity;
	conn->generation = end->generation;
	conn->proxied = MESH_ROLE_IS_PROXY(end->role) || (end->flags & (MESH_END_PROXIED | MESH_END_CAPTURED));
	if (end->role != MESH_ROLE_LEG) {
		conn->service_address = end->service_address;
		conn->service_port = end->service_port;
	}
	if (end->flags & MESH_END_CAPTURED) {
		conn->destination = end->service_address;
		conn->port = end->service_port;
		conn->netns = end->netns;
		return;
	}
	conn->destination = client ? key->remote : key->local;
	conn->port = client ? key->remote_port : key->local_port;
	conn->netns = client ? end->netns : end->peer_netns;
	conn->peer_netns = client ? end->peer_netns : end->netns;
}

/*
 * Decides a connection again under the policy in force. Returns true if it may go on. Of
 * a captured connection to a service only the pod's own readiness: who is reached, and
 * whether that is allowed, is decided for each of its legs.
 */
__noinline int conn_still_allowed(struct mesh_end *end, struct mesh_flow_key *key)
{
	struct mesh_address *address;
	struct mesh_conn conn = {};
	__u64 owner;
	int reason;

	if (!end || !key)
		return 0;
	conn_of(end, key, &conn);
	if (end->flags & MESH_END_CAPTURED) {
		address = bpf_map_lookup_elem(&mesh_addresses, &conn.destination);
		owner = address_netns_now(address);
		if (owner)
			conn.peer_netns = owner;
		reason = end->service ? source_redecide(&conn) : conn_redecide(&conn);
	} else {
		reason = conn_redecide(&conn);
	}
	end->generation = conn.generation;
	count(MESH_STAT_REDECIDED);
	return reason == MESH_REASON_NONE;
}

/* From here on not one byte is sent, and the agent destroys both sockets. */
__noinline int conn_cut(struct mesh_end *end, struct mesh_flow_key *key, __u32 reason)
{
	struct mesh_conn conn = {};

	if (!end || !key)
		return 0;
	conn_of(end, key, &conn);
	conn.reason = reason;
	count(reason);
	end_path(end, MESH_PATH_DENIED, reason);
	event_conn(&conn, end->netns, MESH_EVENT_CUT);
	return 0;
}

/* Reports an ended connection once: by the end that closes last, with the bytes of both. */
__noinline int event_closed(struct mesh_flow_key *key, struct mesh_end *own, struct mesh_end *peer)
{
	struct mesh_end *initiator, *responder;
	struct mesh_event *event;
	bool client;

	if (!key || !own)
		return 0;
	client = !MESH_ROLE_IS_SERVER(own->role);
	initiator = client ? own : peer;
	responder = client ? peer : own;
	event = event_reserve(own->netns, MESH_EVENT_CLOSED);
	if (!event)
		return 0;
	event->cookie = own->cookie;
	event->peer_netns = own->peer_netns;
	event->source = client ? key->local : key->remote;
	event->destination = client ? key->remote : key->local;
	event->source_port = client ? key->local_port : key->remote_port;
	event->destination_port = client ? key->remote_port : key->local_port;
	if (own->role != MESH_ROLE_LEG) {
		event->service_address = own->service_address;
		event->service_port = own->service_port;
	}
	if (own->flags & MESH_END_CAPTURED) {
		event->destination = own->service_address;
		event->destination_port = own->service_port;
	}
	event->protocol = MESH_PROTO_TCP;
	event->direction = client ? MESH_EGRESS : MESH_INGRESS;
	event->reason = own->path == MESH_PATH_DENIED ? own->reason : 0;
	event->source_identity = client ? own->identity : own->peer_identity;
	event->destination_identity = client ? own->peer_identity : own->identity;
	event->generation = own->generation;
	event->srtt_us = own->srtt_us;
	event->retransmits = own->retransmits;
	event->duration_ns = event->time_ns - own->opened_ns;
	event->bytes_sent = client ? own->tx_tcp : own->rx_tcp;
	event->bytes_received = client ? own->rx_tcp : own->tx_tcp;
	if (initiator) {
		if (initiator->role != MESH_ROLE_LEG) {
			event->service_address = initiator->service_address;
			event->service_port = initiator->service_port;
		}
		event->bytes_sent += initiator->tx_redirected;
		event->bytes_redirected += initiator->tx_redirected;
		event->path[0] = initiator->path;
		event->path_reason[0] = initiator->reason;
	}
	if (responder) {
		event->bytes_received += responder->tx_redirected;
		event->bytes_redirected += responder->tx_redirected;
		event->path[1] = responder->path;
		event->path_reason[1] = responder->reason;
	}
	if (!initiator || !responder) {
		event->path[!initiator ? 0 : 1] = MESH_PATH_TCP;
		event->path_reason[!initiator ? 0 : 1] = MESH_REASON_PEER_REMOTE;
	}
	event_submit(event);
	return 0;
}

__noinline int event_opened(struct mesh_end *end, struct mesh_flow_key *key)
{
	struct mesh_usage *usage;
	struct mesh_conn conn = {};

	if (!end || !key)
		return 0;
	usage = usage_of(end->netns);
	if (usage)
		__sync_fetch_and_add(&usage->opened, 1);
	conn_of(end, key, &conn);
	event_conn(&conn, end->netns, MESH_EVENT_OPENED);
	return 0;
}

/* True while the server's port sees a rush of connections too short to be worth redirecting. */
static __always_inline bool churn_held(__u64 netns, __u16 port)
{
	struct mesh_churn_key key = { .netns = netns, .port = port };
	struct mesh_churn *churn = bpf_map_lookup_elem(&mesh_churn, &key);

	return churn && churn->held_until_ns > bpf_ktime_get_ns();
}

/* Counts an ended connection of a server's port if it was short. Lost updates between CPUs do no harm. */
static __always_inline void churn_note(__u64 netns, __u16 port, __u64 opened_ns)
{
	struct mesh_churn_key key = { .netns = netns, .port = port };
	__u64 now = bpf_ktime_get_ns();
	struct mesh_churn first = { .window_ns = now, .short_connections = 1 };
	struct mesh_churn *churn;

	if (now - opened_ns > MESH_SHORT_NS)
		return;
	churn = bpf_map_lookup_elem(&mesh_churn, &key);
	if (!churn) {
		bpf_map_update_elem(&mesh_churn, &key, &first, BPF_ANY);
		return;
	}
	if (now - churn->window_ns > MESH_CHURN_WINDOW_NS) {
		churn->window_ns = now;
		churn->short_connections = 0;
	}
	if (++churn->short_connections >= MESH_CHURN_SHORT)
		churn->held_until_ns = now + MESH_CHURN_HOLD_NS;
}

#endif /* MESH_ENDS_H */
