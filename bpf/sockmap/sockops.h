/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The life of a TCP connection: record before the SYN, proof when established, report when closed. */
#ifndef MESH_SOCKOPS_H
#define MESH_SOCKOPS_H

#include "member.h"

#define TCP_CLOSE 7

/* Decides an untranslated flow at its record, and finds out whether its other end is local. */
static __noinline int end_decide(struct mesh_end *end, struct mesh_flow_key *key)
{
	struct mesh_address *address = bpf_map_lookup_elem(&mesh_addresses, &key->remote);
	struct mesh_conn conn = {};

	if (!end)
		return 0;
	if (!end->peer_netns && address && (address->flags & MESH_ADDR_LOCAL))
		end->peer_netns = address->netns;
	conn_of(end, key, &conn);
	if (conn_redecide(&conn) != MESH_REASON_NONE)
		end->path = MESH_PATH_DENIED; /* on_active cuts it, mesh_lookup decides for itself */
	end->identity = conn.identity;
	end->peer_identity = conn.peer_identity;
	end->generation = conn.generation;
	return 0;
}

/* Marks a source address that belongs to another pod; the destination refuses it. */
static __noinline int end_check_source(struct mesh_end *end, struct mesh_flow_key *key)
{
	struct mesh_address *address = bpf_map_lookup_elem(&mesh_addresses, &key->local);

	if (!end)
		return 0;
	if (address && (address->flags & MESH_ADDR_LOCAL) && address->netns != end->netns)
		end->flags |= MESH_END_SPOOFED;
	if (end->peer_netns)
		end->flags |= MESH_END_LOCAL_PEER;
	return 0;
}

/*
 * Before the SYN leaves: who this is, in a place where the destination finds it. What
 * connect() decided is in the socket's storage if it was translated; else the flow is
 * decided here again, so that no change of policy can slip in between the two.
 */
static __noinline int on_connect(struct bpf_sock_ops *ops, struct bpf_sock *sk, struct tcp_sock *tp)
{
	__u64 netns = bpf_get_netns_cookie(ops);
	struct mesh_flow_key key = {};
	struct mesh_end end = {};
	struct mesh_sock *state;
	struct mesh_leg *leg;

	if (!workload_of(netns))
		return 0;
	end.sk = (__u64)tp;
	end.cookie = bpf_get_socket_cookie(ops);
	end.netns = netns;
	end.opened_ns = bpf_ktime_get_ns();
	end.role = MESH_ROLE_CLIENT;
	end.isn = tp->write_seq;
	if (flow_of(ops, &key, netns))
		end.peer_netns = netns;
	leg = bpf_sk_storage_get(&mesh_leg, sk, 0, 0);
	if (leg) {
		end.role = MESH_ROLE_LEG;
		end.identity = leg->identity;
		end.service_address = leg->client;
		end.service_port = leg->client_port;
	}
	state = bpf_sk_storage_get(&mesh_sock_state, sk, 0, 0);
	if (state && state->service_port) {
		state->path = MESH_PATH_NEW;
		state->flags &= MESH_END_CAPTURED;
		end.flags = state->flags;
		if (end.flags)
			end.service = state->service;
		end.peer_netns = state->peer_netns;
		end.service_address = state->service_address;
		end.service_port = state->service_port;
		end.identity = state->identity;
		end.peer_identity = state->peer_identity;
		end.generation = state->generation;
	} else {
		end_decide(&end, &key);
	}
	if (end.peer_netns != netns)
		end_check_source(&end, &key);
	if (end_insert(&key, &end))
		return 0;
	bpf_sock_ops_cb_flags_set(ops, BPF_SOCK_OPS_STATE_CB_FLAG);
	return 0;
}

static __noinline int on_active(struct bpf_sock_ops *ops, struct bpf_sock *sk, struct tcp_sock *tp)
{
	__u64 netns = bpf_get_netns_cookie(ops);
	struct mesh_control *ctl = control();
	struct mesh_flow_key key = {};
	struct mesh_end *end;
	bool decided;

	if (!ctl)
		return 0;
	/* What stays in the pod is not decided, unless it is on its way to somewhere else. */
	decided = !flow_of(ops, &key, netns);
	end = bpf_map_lookup_elem(&mesh_ends, &key);
	if (!end || end->cookie != bpf_get_socket_cookie(ops))
		return 0;
	end->write_seq0 = tp->write_seq;
	end->rcv_nxt0 = tp->rcv_nxt;
	end->flags |= MESH_END_ESTABLISHED;
	decided |= (end->flags & MESH_END_CAPTURED) != 0;
	if ((end->flags & MESH_END_LOCAL_PEER) && !(end->flags & MESH_END_STAMPED) &&
	    !(READ_ONCE(ctl->flags) & MESH_CTL_RETIRED)) {
		cut(ops, sk, end, &key, MESH_REASON_UNPROVEN);
		return 0;
	}
	if (decided && (end->path == MESH_PATH_DENIED ||
			(end->generation != READ_ONCE(ctl->generation) && !conn_still_allowed(end, &key)))) {
		cut(ops, sk, end, &key, MESH_REASON_REVOKED);
		return 0;
	}
	event_opened(end, &key);
	join(ops, sk, end, &key, tp);
	return 0;
}

/*
 * The accepted end's record: who the peer is by the peer's own record, if its initial
 * sequence number is the one that arrived here. A function of its own so that its copy
 * leaves the stack before any report is made. Returns true if that proof was there.
 */
#define PASSIVE_SELF 1  /* the pod's own, or captured */
#define PASSIVE_PROXY 2 /* accepted by the proxy */
static __noinline int passive_record(struct mesh_flow_key *key, struct mesh_end *end, struct tcp_sock *tp, __u32 kind)
{
	struct mesh_flow_key peer_key = {};
	struct mesh_control *ctl = control();
	struct mesh_workload *workload;
	struct mesh_address *address;
	struct mesh_end *record;

	if (!ctl || !end || !tp)
		return 0;
	workload = workload_of(end->netns);
	if (!workload)
		return 0;
	end->sk = (__u64)tp;
	end->opened_ns = bpf_ktime_get_ns();
	end->role = kind & PASSIVE_PROXY ? MESH_ROLE_PROXY : MESH_ROLE_SERVER;
	end->write_seq0 = tp->write_seq;
	/* copied_seq, because with fast open rcv_nxt already counts data (net/ipv4/tcp_fastopen.c). */
	end->rcv_nxt0 = tp->copied_seq;
	end->flags = MESH_END_ESTABLISHED;
	end->generation = READ_ONCE(ctl->generation);
	end->identity = workload_identity(workload, end->generation, &key->local);

	flow_reverse(key, &peer_key);
	record = bpf_map_lookup_elem(&mesh_ends, &peer_key);
	if (!record || MESH_ROLE_IS_SERVER(record->role) || record->isn + 1 != end->rcv_nxt0) {
		address = address_of(&key->remote);
		end->peer_identity = address ? address->identity[end->generation & 1] : MESH_IDENTITY_WORLD;
		return !address || !(address->flags & MESH_ADDR_NEEDS_RECORD);
	}
	if (record->flags & MESH_END_HOST) {
		end->peer_identity = MESH_IDENTITY_HOST;
		if (port_probed(workload, end->netns, key->local_port))
			end->flags |= MESH_END_PROXIED;
		return 1;
	}
	end->peer_netns = record->netns;
	end->peer_identity = record->identity;
	if (record->role == MESH_ROLE_LEG) {
		end->flags |= MESH_END_PROXIED;
	} else {
		end->service_address = record->service_address;
		end->service_port = record->service_port;
	}
	end->service = record->service;
	end->generation = record->generation;
	end->flags |= record->flags & MESH_END_CAPTURED;
	if (!(kind & PASSIVE_SELF))
		end->flags |= MESH_END_LOCAL_PEER;
	return 1;
}

static __noinline int passive_insert(struct bpf_sock_ops *ops, struct mesh_flow_key *key, struct tcp_sock *tp,
				     __u64 netns, __u32 kind)
{
	struct mesh_end end = {};
	int proven;

	end.netns = netns;
	end.cookie = bpf_get_socket_cookie(ops);
	proven = passive_record(key, &end, tp, kind);
	if (end_insert(key, &end))
		return -1;
	return proven;
}

/*
 * A connection that cannot be recorded cannot be proved, nor decided again when policy
 * changes: it ends here if anything is decided for this pod at all.
 */
static __noinline int passive_refuse(struct bpf_sock_ops *ops, struct bpf_sock *sk, struct mesh_flow_key *key,
				     __u64 netns)
{
	struct mesh_workload *workload = workload_of(netns);
	struct mesh_control *ctl = control();
	struct mesh_end end = {};

	if (!workload || !ctl || !workload->policy_set[READ_ONCE(ctl->generation) & 1])
		return 0;
	end.netns = netns;
	end.cookie = bpf_get_socket_cookie(ops);
	end.role = MESH_ROLE_SERVER;
	return cut(ops, sk, &end, key, MESH_REASON_QUOTA);
}

/* Who is behind a leg, for getpeername() and accept() of the application that it reaches. */
static __noinline int show_client(struct bpf_sock *sk, struct mesh_flow_key *key)
{
	struct mesh_flow_key peer_key = {};
	struct mesh_sock *state;
	struct mesh_end *leg;

	if (!sk || !key)
		return 0;
	flow_reverse(key, &peer_key);
	leg = bpf_map_lookup_elem(&mesh_ends, &peer_key);
	if (!leg || leg->role != MESH_ROLE_LEG || !leg->service_port ||
	    ip_is_mapped(&leg->service_address) != ip_is_mapped(&key->remote))
		return 0;
	state = bpf_sk_storage_get(&mesh_sock_state, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!state)
		return 0;
	state->service_address = leg->service_address;
	state->service_port = leg->service_port;
	state->backend_address = key->remote;
	state->backend_port = key->remote_port;
	return 0;
}

static __noinline int on_passive(struct bpf_sock_ops *ops, struct bpf_sock *sk, struct tcp_sock *tp)
{
	__u64 netns = bpf_get_netns_cookie(ops);
	struct mesh_control *ctl = control();
	struct mesh_flow_key key = {};
	struct mesh_end *end;
	bool self, captured;
	__u32 kind = 0;
	int proven;

	if (!ctl || !workload_of(netns))
		return 0;
	count(MESH_STAT_PASSIVE);
	self = flow_of(ops, &key, netns);
	if (self)
		kind = PASSIVE_SELF;
	if (bpf_sk_storage_get(&mesh_leg, sk, 0, 0))
		kind |= PASSIVE_PROXY;
	proven = passive_insert(ops, &key, tp, netns, kind);
	if (proven < 0)
		return passive_refuse(ops, sk, &key, netns);
	end = bpf_map_lookup_elem(&mesh_ends, &key);
	if (!end)
		return 0;
	bpf_sock_ops_cb_flags_set(ops, BPF_SOCK_OPS_STATE_CB_FLAG);
	if (!self && !proven) {
		cut(ops, sk, end, &key, MESH_REASON_NO_RECORD);
		return 0;
	}
	/* Captured connections and the proxy's listeners on loopback are for each other only. */
	captured = (end->flags & MESH_END_CAPTURED) != 0;
	if (self && captured != (kind >= PASSIVE_PROXY)) {
		cut(ops, sk, end, &key, MESH_REASON_LISTENER);
		return 0;
	}
	/*
	 * The SYN was decided in mesh_lookup. A record tells under which generation, and that
	 * this is it still; of other peers nothing is known.
	 */
	if ((!self || captured) && (!end->peer_netns || end->generation != READ_ONCE(ctl->generation)) &&
	    !conn_still_allowed(end, &key)) {
		cut(ops, sk, end, &key, MESH_REASON_REVOKED);
		return 0;
	}
	if (!end->peer_netns)
		event_opened(end, &key);
	if (end->flags & MESH_END_PROXIED)
		show_client(sk, &key);
	join(ops, sk, end, &key, tp);
	return 0;
}

static __noinline int on_close(struct bpf_sock_ops *ops, struct bpf_sock *sk, struct tcp_sock *tp)
{
	__u64 netns = bpf_get_netns_cookie(ops);
	struct mesh_flow_key key = {}, peer_key = {};
	struct mesh_end *own, *peer;
	struct mesh_usage *usage;
	struct mesh_sock *state;
	__u64 now;

	flow_of(ops, &key, netns);
	own = bpf_map_lookup_elem(&mesh_ends, &key);
	if (!own || own->cookie != bpf_get_socket_cookie(ops))
		return 0;
	if (!(own->flags & MESH_END_ESTABLISHED)) {
		end_delete(&key, netns, own->role);
		return 0;
	}
	usage = usage_of(netns);
	if (usage)
		__sync_fetch_and_add(&usage->closed, 1);
	state = bpf_sk_storage_get(&mesh_sock_state, sk, 0, 0);
	if (state)
		own->tx_redirected = state->tx_redirected;
	own->tx_tcp = tp->bytes_sent - tp->bytes_retrans;
	own->rx_tcp = tp->bytes_received;
	/* The kernel counts a received FIN as a byte (tcp_rcv_nxt_update), and notes it (tcp_fin). */
	if (own->rx_tcp && tp->inet_conn.icsk_inet.sk.__sk_common.skc_flags &
				   (1UL << bpf_core_enum_value(enum sock_flags, SOCK_DONE)))
		own->rx_tcp--;
	own->srtt_us = tp->srtt_us >> 3;
	own->retransmits = tp->total_retrans;
	if (MESH_ROLE_IS_SERVER(own->role) && own->peer_netns)
		churn_note(netns, key.local_port, own->opened_ns);

	flow_reverse(&key, &peer_key);
	if (tp->inet_conn.icsk_inet.sk.sk_err && own->peer_netns) {
		now = bpf_ktime_get_ns();
		bpf_map_update_elem(&mesh_aborted, &key, &now, BPF_ANY);
		bpf_map_update_elem(&mesh_aborted, &peer_key, &now, BPF_ANY);
	}
	peer = own->peer_netns ? bpf_map_lookup_elem(&mesh_ends, &peer_key) : NULL;
	if (peer && !(peer->flags & MESH_END_ESTABLISHED))
		peer = NULL;
	if (peer && !(peer->flags & MESH_END_CLOSED)) {
		own->flags |= MESH_END_CLOSED;
		return 0;
	}
	event_closed(&key, own, peer);
	if (peer)
		end_delete(&peer_key, peer->netns, peer->role);
	end_delete(&key, netns, own->role);
	return 0;
}

SEC("sockops")
int mesh_sockops(struct bpf_sock_ops *ops)
{
	/* Read once: a second read is a new, unchecked pointer for the verifier. */
	struct bpf_sock *sk = ops->sk;
	struct tcp_sock *tp;

	switch (ops->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
	case BPF_SOCK_OPS_PARSE_HDR_OPT_CB:
	case BPF_SOCK_OPS_HDR_OPT_LEN_CB:
		break;
	case BPF_SOCK_OPS_WRITE_HDR_OPT_CB:
		on_option(ops);
		return 1;
	case BPF_SOCK_OPS_STATE_CB:
		if (ops->args[1] == TCP_CLOSE)
			break;
		return 1;
	default:
		return 1;
	}
	if (!sk || (ops->family != AF_INET && ops->family != AF_INET6))
		return 1;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 1;
	switch (ops->op) {
	/* Functions of their own, not for reuse but for the verifier: their stacks are not added up. */
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		on_connect(ops, sk, tp);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		on_active(ops, sk, tp);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		on_passive(ops, sk, tp);
		break;
	case BPF_SOCK_OPS_PARSE_HDR_OPT_CB:
		on_segment(ops, sk, tp);
		break;
	case BPF_SOCK_OPS_HDR_OPT_LEN_CB:
		on_header(ops, sk);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		on_close(ops, sk, tp);
		break;
	}
	return 1;
}

#endif /* MESH_SOCKOPS_H */
