/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* An accepted connection: who its client is by that one's own record, and whether it may stay. */
#ifndef MESH_PASSIVE_H
#define MESH_PASSIVE_H

#include "member.h"

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

#endif /* MESH_PASSIVE_H */
