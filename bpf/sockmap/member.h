/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Membership of the sockhash: who may join, and how a socket whose bytes go by TCP leaves
 * again without losing or reordering one.
 */
#ifndef MESH_MEMBER_H
#define MESH_MEMBER_H

#include "ends.h"

/* Loopback and hairpin flows are named with their pod's cookie, so that equal addresses of two pods differ. */
static __always_inline bool flow_of(struct bpf_sock_ops *ops, struct mesh_flow_key *key, __u64 netns)
{
	struct mesh_address *address;

	FLOW_KEY_FROM(ops, key);
	if (!ip_is_loopback(&key->remote) && !ip_is_loopback(&key->local)) {
		address = bpf_map_lookup_elem(&mesh_addresses, &key->remote);
		if (!netns || address_netns_now(address) != netns)
			return false;
	}
	key->netns = netns;
	return true;
}

/* MESH_REASON_NONE if both workloads want redirection and this node is fit for it. */
static __always_inline __u8 acceleration_gate(__u64 netns, __u64 peer_netns, struct tcp_sock *tp)
{
	struct mesh_workload *own = workload_of(netns), *peer;
	struct mesh_control *ctl = control();

	if (!peer_netns)
		return MESH_REASON_PEER_REMOTE;
	peer = workload_of(peer_netns);
	if (!own || !peer || !ctl)
		return MESH_REASON_PEER_UNKNOWN;
	if (!(own->flags & peer->flags & MESH_WL_ACCELERATE))
		return (own->flags | peer->flags) & MESH_WL_AUTO ? MESH_REASON_ACCEL_AUTO : MESH_REASON_ACCEL_DISABLED;
	if (!(own->flags & peer->flags & MESH_WL_LOCAL_VETH))
		return MESH_REASON_PEER_REMOTE;
	if (!(ctl->flags & MESH_CTL_ACCELERATE))
		return MESH_REASON_NODE_GATE;
	if (bpf_core_field_exists(tp->is_mptcp) && tp->is_mptcp)
		return MESH_REASON_MPTCP;
	if (tp->inet_conn.icsk_inet.sk.__sk_common.skc_flags &
	    (1UL << bpf_core_enum_value(enum sock_flags, SOCK_ZEROCOPY)))
		return MESH_REASON_ZEROCOPY;
	if (tp->inet_conn.icsk_inet.sk.sk_rcvlowat > 1)
		return MESH_REASON_RCVLOWAT;
	return MESH_REASON_NONE;
}

/*
 * A receiver holds what its buffer takes (receiver_room), and TCP lets buffers grow only for bytes of its own. A low-water
 * mark makes one grow at once, and it stays so without (net/ipv4/tcp.c, tcp_set_rcvlowat): mostly to twice the mark, as
 * half of a buffer is window. Not before accept(): a server's socket stays as it is. No peer sees the mark, as none
 * redirects to who is not a member.
 */
static __always_inline void widen(struct bpf_sock_ops *ops)
{
	struct mesh_control *ctl = control();
	int mark = ctl ? ctl->high_water / 8 : 1;

	bpf_setsockopt(ops, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof(mark));
	mark = 1;
	bpf_setsockopt(ops, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof(mark));
}

/* Joins the sockhash if redirection is wanted and possible; otherwise says why not. */
static __noinline int join(struct bpf_sock_ops *ops, struct bpf_sock *sk, struct mesh_end *end,
			   struct mesh_flow_key *key, struct tcp_sock *tp)
{
	struct mesh_sock *state;
	__u64 cookie;
	__u8 gate;

	if (!end || !tp || !sk)
		return 0;
	gate = acceleration_gate(end->netns, end->peer_netns, tp);
	if (gate == MESH_REASON_NONE) {
		bool client = !MESH_ROLE_IS_SERVER(end->role);

		if (churn_held(client ? end->peer_netns : end->netns, client ? key->remote_port : key->local_port))
			gate = MESH_REASON_SHORT_LIVED;
	}
	if (gate != MESH_REASON_NONE) {
		end_path(end, MESH_PATH_TCP, gate);
		return 0;
	}
	state = bpf_sk_storage_get(&mesh_sock_state, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!state) {
		end_path(end, MESH_PATH_TCP, MESH_REASON_MAP_FULL);
		return 0;
	}
	state->netns = end->netns;
	state->cookie = end->cookie;
	state->peer_netns = end->peer_netns;
	state->generation = end->generation;
	state->role = end->role;
	/* A socket can connect again after connect(AF_UNSPEC): nothing of its last life counts. */
	state->path = MESH_PATH_NEW;
	state->tx_redirected = 0;
	state->messages = 0;
	state->window_waiting = 0;
	state->contended = 0;
	state->sender = 0;
	state->senders = MESH_SENDERS_ONE;
	if (!MESH_ROLE_IS_SERVER(end->role))
		widen(ops);
	cookie = end->cookie;
	/* The flag first: a peer that finds the socket must find its record complete. */
	end->flags |= MESH_END_MEMBER;
	if (bpf_sock_hash_update(ops, &mesh_sockets, &cookie, BPF_ANY)) {
		end->flags &= ~MESH_END_MEMBER;
		end_path(end, MESH_PATH_TCP, MESH_REASON_MAP_FULL);
		return 0;
	}
	state->flags |= MESH_END_MEMBER;
	bpf_sock_ops_cb_flags_set(ops, BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG |
					       BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
	return 0;
}

/* A socket that must not send joins too: the verdict program drops what it sends until it is destroyed. */
static __noinline int cut(struct bpf_sock_ops *ops, struct bpf_sock *sk, struct mesh_end *end,
			  struct mesh_flow_key *key, __u8 reason)
{
	struct mesh_sock *state;
	__u64 cookie;

	if (!end || !sk)
		return 0;
	conn_cut(end, key, reason);
	state = bpf_sk_storage_get(&mesh_sock_state, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!state)
		return 0;
	state->netns = end->netns;
	state->cookie = end->cookie;
	state->peer_netns = end->peer_netns;
	state->path = MESH_PATH_DENIED;
	state->reason = reason;
	cookie = end->cookie;
	if (!bpf_sock_hash_update(ops, &mesh_sockets, &cookie, BPF_ANY))
		state->flags |= MESH_END_MEMBER;
	return 0;
}

/*
 * Calls under way on a member, in whatever thread and direction: tcp_bpf_sendmsg and
 * tcp_bpf_recvmsg hold the psock (net/ipv4/tcp_bpf.c), and so does a message that the peer
 * appends. An error towards more is on the safe side.
 */
static __always_inline int calls_under_way(struct sk_psock *psock)
{
	return BPF_CORE_READ(psock, refcnt.refs.counter) - 1;
}

/* The low bits of sk_user_data are flags (include/net/sock.h, SK_USER_DATA_*). */
static __always_inline struct sk_psock *psock_of(struct tcp_sock *tp)
{
	return (void *)((unsigned long)tp->inet_conn.icsk_inet.sk.sk_user_data & ~7UL);
}

/*
 * Bytes that have come by TCP. The kernel counts a received FIN as one (tcp_rcv_nxt_update),
 * and notes it (tcp_fin).
 */
static __always_inline __u64 tcp_received(struct tcp_sock *tp)
{
	__u64 received = tp->bytes_received;

	if (received && (tp->inet_conn.icsk_inet.sk.__sk_common.skc_flags &
			 (1UL << bpf_core_enum_value(enum sock_flags, SOCK_DONE))))
		received--;
	return received;
}

/* Whether bytes of the peer have come by TCP: before this segment, or in it. */
static __always_inline bool peer_has_sent(struct bpf_sock_ops *ops, struct tcp_sock *tp)
{
	__u8 *header = ops->skb_data;

	if (tcp_received(tp))
		return true;
	if ((void *)(header + 20) > ops->skb_data_end)
		return false;
	return ops->skb_len > (__u32)(header[12] >> 4) * 4;
}

/*
 * Whether the peer may still append to this socket's list: its path is TCP, but a message
 * that it has redirected before may be on its way.
 */
static __always_inline bool peer_may_append(struct bpf_sock_ops *ops, const struct mesh_end *peer,
					    struct tcp_sock *tp)
{
	if (peer->path != MESH_PATH_TCP || peer->under_way == MESH_UNDER_WAY_MANY)
		return true;
	if (!peer->tx_redirected || peer->under_way == MESH_UNDER_WAY_NONE)
		return false;
	return !peer_has_sent(ops, tp);
}

#define LEAVE_OPTION_KIND 254 /* RFC 4727: experiments; never leaves the node */
#define LEAVE_OPTION_BYTES 4
#define LEAVE_OPTION_MAGIC 0x534d

/*
 * Runs for each segment that takes TCP's slow path, that is only once something goes by
 * TCP. When what the peer sends is final TCP, nothing that it redirected is on its way any
 * more and all of it has been read, this socket leaves the sockhash and runs at TCP's own
 * speed, at best before the first TCP byte is queued: what came later for a psock that is
 * gone would be dropped without an error. Its own direction becomes TCP first; if that has
 * redirected, no call may be under way, or the peer in its turn could not tell when to leave.
 */
static __noinline int on_segment(struct bpf_sock_ops *ops, struct bpf_sock *sk, struct tcp_sock *tp)
{
	struct mesh_sock *state = bpf_sk_storage_get(&mesh_sock_state, sk, 0, 0);
	struct mesh_flow_key key = {}, peer_key = {};
	struct mesh_end *own, *peer;
	struct sk_psock *psock;
	void *first;
	__u64 cookie;

	if (!state || !(state->flags & MESH_END_MEMBER) || state->path == MESH_PATH_DENIED)
		return 0;
	flow_of(ops, &key, state->netns);
	flow_reverse(&key, &peer_key);
	own = bpf_map_lookup_elem(&mesh_ends, &key);
	peer = bpf_map_lookup_elem(&mesh_ends, &peer_key);
	/* Without the records nobody knows what the peer may still redirect. */
	if (!own || own->cookie != state->cookie || !peer || peer_may_append(ops, peer, tp))
		return 0;
	psock = psock_of(tp);
	if (!psock)
		return 0;
	if (state->path == MESH_PATH_REDIRECT && calls_under_way(psock))
		return 0;
	first = BPF_CORE_READ(psock, ingress_msg.next);
	if (first != (void *)psock + bpf_core_field_offset(struct sk_psock, ingress_msg))
		return 0;
	if (state->path != MESH_PATH_TCP) {
		own->under_way = MESH_UNDER_WAY_NONE;
		path_set(state, &key, MESH_PATH_TCP, MESH_REASON_LEFT_MAP);
	}
	cookie = state->cookie;
	if (bpf_map_delete_elem(&mesh_sockets, &cookie))
		return 0;
	state->flags &= ~MESH_END_MEMBER;
	own->flags &= ~MESH_END_MEMBER;
	count(MESH_STAT_LEFT_MAP);
	/* The peer may have to leave too: go on with the option until it has. */
	bpf_sock_ops_cb_flags_set(ops, BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
	return 0;
}

/*
 * A segment is about to be built by a socket that has been a member. Header prediction
 * (net/ipv4/tcp_input.c, tcp_rcv_established) would hide it from the peer's on_segment,
 * so as long as this end sends by TCP and the peer is still a member, segments carry an
 * option: their header length takes them off the fast path. Both ends are on this node.
 */
static __noinline int on_header(struct bpf_sock_ops *ops, struct bpf_sock *sk)
{
	struct mesh_sock *state = bpf_sk_storage_get(&mesh_sock_state, sk, 0, 0);
	struct mesh_flow_key key = {}, peer_key = {};
	struct mesh_end *peer;
	__u32 flags = BPF_SOCK_OPS_STATE_CB_FLAG;

	if (!state || state->path != MESH_PATH_TCP)
		return 0;
	flow_of(ops, &key, state->netns);
	flow_reverse(&key, &peer_key);
	peer = bpf_map_lookup_elem(&mesh_ends, &peer_key);
	if (!peer)
		return 0; /* a deferred accept: the peer is made, and joins, by this very segment */
	if (peer->flags & MESH_END_MEMBER) {
		bpf_reserve_hdr_opt(ops, LEAVE_OPTION_BYTES, 0);
		return 0;
	}
	if (state->flags & MESH_END_MEMBER)
		flags |= BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG;
	bpf_sock_ops_cb_flags_set(ops, flags);
	return 0;
}

static __noinline int on_option(struct bpf_sock_ops *ops)
{
	__u8 option[LEAVE_OPTION_BYTES] = { LEAVE_OPTION_KIND, LEAVE_OPTION_BYTES, LEAVE_OPTION_MAGIC >> 8,
					    LEAVE_OPTION_MAGIC & 0xff };

	bpf_store_hdr_opt(ops, option, sizeof(option), 0);
	return 0;
}

#endif /* MESH_MEMBER_H */
