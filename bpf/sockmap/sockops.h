/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The life of a TCP connection: record before the SYN, proof when established, report when closed. */
#ifndef MESH_SOCKOPS_H
#define MESH_SOCKOPS_H

#include "passive.h"

#define TCP_CLOSE 7

/* Decides an untranslated flow at its record, and finds out whether its other end is local. */
static __noinline int end_decide(struct mesh_end *end, struct mesh_flow_key *key)
{
	struct mesh_address *address = bpf_map_lookup_elem(&mesh_addresses, &key->remote);
	struct mesh_conn conn = {};

	if (!end)
		return 0;
	if (!end->peer_netns)
		end->peer_netns = address_netns_now(address);
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
	__u64 owner;

	if (!end)
		return 0;
	owner = address_netns_now(address);
	if (owner && owner != end->netns)
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
	own->rx_tcp = tcp_received(tp);
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
