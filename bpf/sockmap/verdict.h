/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Every send of a member. A direction redirects from its first byte or never, and goes
 * to TCP at most once: the receiver reads all redirected bytes, then all TCP bytes, then
 * FIN, which is the order they were sent in. ARCHITECTURE.md has the proof.
 *
 * The lock of the sender is let go while the kernel appends a redirected message, so a
 * second thread may get here before it is appended. A direction goes to TCP only when that
 * cannot be, or its record says so.
 */
#ifndef MESH_VERDICT_H
#define MESH_VERDICT_H

#include "host.h"

#define TCP_ESTABLISHED 1
#define TCP_CLOSE_WAIT 8
#define WINDOW_MESSAGES 256
#define BACKLOG_HEADROOM (64 << 10)
#define FIRST_WINDOW (64 << 10)
#define LARGE_MESSAGE (8 << 10)
#define CONTENDED_MESSAGES 64

static __always_inline bool may_send(struct tcp_sock *tp)
{
	__u8 state = tp->inet_conn.icsk_inet.sk.__sk_common.skc_state;

	return state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT;
}

/*
 * Bytes that a receiver's buffers have room for. Beside more than those the kernel drops what
 * comes by TCP while the receiver is in recv() (net/ipv4/tcp_ipv4.c, tcp_add_backlog: above rcvbuf +
 * sndbuf / 2 + 64 KiB at the earliest). A FIN or an acknowledgement would come 200 ms late, a reset
 * never. Where the application has set SO_RCVBUF, it does not grow for what comes by TCP behind
 * (tcp_clamp_window), so the window that TCP has told at the beginning must fit in as well.
 */
static __always_inline __u64 receiver_buffers(struct sock *peer)
{
	__u32 rcvbuf = BPF_CORE_READ(peer, sk_rcvbuf);

	if (BPF_CORE_READ_BITFIELD_PROBED(peer, sk_userlocks) & SOCK_RCVBUF_LOCK)
		return rcvbuf > 2 * FIRST_WINDOW ? rcvbuf - FIRST_WINDOW : rcvbuf / 2;
	return (__u64)rcvbuf + (__u32)BPF_CORE_READ(peer, sk_sndbuf) / 2;
}

/*
 * The first message. The socket is locked by its sender, so what is read of it is exact:
 * no byte of it has ever been in TCP. The two initial sequence numbers, each known by
 * both ends, prove that the records are of one connection.
 *
 * Returns enum mesh_reason, NONE if the direction redirects from now on.
 */
static __noinline int latch(struct mesh_sock *state, struct mesh_flow_key *key, struct tcp_sock *tp)
{
	struct mesh_flow_key peer_key = {};
	struct mesh_end *own, *peer;
	__u32 write_seq;
	__u64 buffers;

	if (!state || !tp)
		return MESH_REASON_PEER_UNKNOWN;
	if (!may_send(tp))
		return MESH_REASON_SOCKET_STATE;
	own = bpf_map_lookup_elem(&mesh_ends, key);
	if (!own || own->cookie != state->cookie)
		return MESH_REASON_MAP_FULL;
	write_seq = tp->write_seq;
	/* LATCH: with this check taken out the tests must fail (scripts/test-of-tests.sh). */
	if (tp->bytes_sent || write_seq != tp->snd_una || write_seq != own->write_seq0)
		return MESH_REASON_NOT_VIRGIN;
	flow_reverse(key, &peer_key);
	peer = bpf_map_lookup_elem(&mesh_ends, &peer_key);
	if (!peer || !(peer->flags & MESH_END_MEMBER))
		return MESH_REASON_PEER_UNKNOWN;
	if (peer->rcv_nxt0 != own->write_seq0 || peer->write_seq0 != own->rcv_nxt0)
		return MESH_REASON_SEQUENCE;
	state->peer_cookie = peer->cookie;
	state->peer_sk = peer->sk;
	buffers = receiver_buffers((struct sock *)peer->sk);
	state->headroom_kib = (buffers < BACKLOG_HEADROOM ? buffers : BACKLOG_HEADROOM) >> 10;
	state->latched_seq = write_seq;
	state->window_start_ns = bpf_ktime_get_ns();
	count(MESH_STAT_LATCHED);
	path_set(state, key, MESH_PATH_REDIRECT, MESH_REASON_NONE);
	return MESH_REASON_NONE;
}

/*
 * Whether a message that another thread has redirected may not be in its list yet. Costs a
 * comparison as long as one thread sends, and a look at the psock when it is another.
 */
static __always_inline bool others_under_way(struct mesh_sock *state, struct tcp_sock *tp)
{
	__u32 thread = (__u32)bpf_get_current_pid_tgid();
	struct sk_psock *psock;

	if (state->sender == thread && state->senders == MESH_SENDERS_ONE)
		return false;
	psock = psock_of(tp);
	/* This call is one. */
	if (!state->sender || !psock || calls_under_way(psock) <= 1) {
		state->sender = thread;
		state->senders = MESH_SENDERS_ONE;
		return false;
	}
	state->senders = MESH_SENDERS_MANY;
	return true;
}

/* From redirection to TCP, with a word for the peer about what may come behind. */
static __always_inline void leave_redirection(struct mesh_sock *state, struct mesh_flow_key *key, __u8 reason,
					      bool others)
{
	struct mesh_end *end;

	if (others) {
		end = bpf_map_lookup_elem(&mesh_ends, key);
		if (end && end->cookie == state->cookie)
			end->under_way = MESH_UNDER_WAY_MANY;
	}
	path_set(state, key, MESH_PATH_TCP, reason);
}

/* How much of `wanted` may be queued. With `others` a little more. */
static __always_inline __u64 receiver_room(struct mesh_sock *state, const struct mesh_control *ctl, __u64 wanted,
					   bool others)
{
	__u64 most = (__u64)ctl->high_water << others, buffers;

	if (wanted <= (__u32)state->headroom_kib << 10)
		return most;
	buffers = receiver_buffers((struct sock *)state->peer_sk);
	if (others)
		buffers += BACKLOG_HEADROOM / 2;
	return buffers < most ? buffers : most;
}

/*
 * Whether the receiver can take `size` more bytes without TCP's flow control. The peer is
 * probed (fault-safe: TCP sockets are SLAB_TYPESAFE_BY_RCU and this runs under RCU) and
 * must still be the socket that was latched. With `others` it may hold twice as much: going
 * to TCP now could let this message pass one of another thread.
 */
static __always_inline __u8 receiver_refuses(struct mesh_sock *state, struct tcp_sock *tp, __u32 size,
					     struct mesh_control *ctl, bool others)
{
	struct sock *peer = (struct sock *)state->peer_sk;
	__u64 now, elapsed;
	int queued;

	if (BPF_CORE_READ(peer, __sk_common.skc_cookie.counter) != state->peer_cookie)
		return MESH_REASON_PEER_CLOSED;
	if (tp->inet_conn.icsk_inet.sk.__sk_common.skc_state == TCP_CLOSE_WAIT &&
	    (BPF_CORE_READ(peer, sk_shutdown) & RCV_SHUTDOWN))
		return MESH_REASON_PEER_CLOSED; /* TCP answers with RST, as the sender expects */
	if (BPF_CORE_READ(peer, sk_rcvlowat) > 1)
		return MESH_REASON_RCVLOWAT;
	queued = BPF_CORE_READ(peer, sk_backlog.rmem_alloc.counter);
	if (queued < 0)
		queued = 0;
	/* One message may be half a megabyte. */
	if ((__u64)queued + size > receiver_room(state, ctl, (__u64)queued + size, others))
		return MESH_REASON_HIGH_WATER;
	if (!queued) {
		state->unread = 0;
		state->small_unread = 0;
		state->unread_bytes = 0;
	} else {
		/*
		 * A receiver of small messages that is busy is never seen empty. Half of the bytes read is about half of
		 * the messages. With large ones TCP is as fast from there on.
		 */
		if (size < ctl->small_write && (__u64)queued * 2 <= state->unread_bytes) {
			state->unread /= 2;
			state->small_unread /= 2;
			state->unread_bytes = queued;
		}
		if (state->unread >= (__u64)ctl->message_cap << others)
			return MESH_REASON_MESSAGE_CAP;
		if (!others && size < ctl->small_write && state->small_unread >= ctl->small_write_run)
			return MESH_REASON_SMALL_WRITES;
		if (size < ctl->small_write)
			state->window_waiting++;
		/*
		 * The kernel lets a sender sleep while the receiver copies out of its socket (bpf_tcp_ingress,
		 * net/ipv4/tcp_bpf.c); TCP does not. On one processor the two do not meet.
		 */
		if (!others && size >= LARGE_MESSAGE && BPF_CORE_READ(peer, sk_lock.owned) &&
		    ++state->contended >= CONTENDED_MESSAGES)
			return MESH_REASON_LARGE_WRITES;
	}
	state->unread++;
	state->unread_bytes += size;
	if (size < ctl->small_write)
		state->small_unread++;
	if (++state->messages >= WINDOW_MESSAGES) {
		now = bpf_ktime_get_ns();
		elapsed = now - state->window_start_ns;
		/* Fast, small, and most had to wait: a stream, which TCP coalesces better. A question waits for no other. */
		if (!others && elapsed < ctl->stream_window_ns && state->window_waiting >= WINDOW_MESSAGES / 4 * 3)
			return MESH_REASON_SMALL_WRITES;
		state->messages = 0;
		state->window_waiting = 0;
		state->contended = 0;
		state->window_start_ns = now;
	}
	return MESH_REASON_NONE;
}

static __always_inline void msg_key(struct sk_msg_md *msg, const struct mesh_sock *state, struct mesh_flow_key *key)
{
	FLOW_KEY_FROM(msg, key);
	if (state->netns == state->peer_netns)
		key->netns = state->netns;
}

SEC("sk_msg")
int mesh_msg(struct sk_msg_md *msg)
{
	struct mesh_control *ctl = control();
	struct bpf_sock *sk = msg->sk;
	struct mesh_flow_key key = {};
	struct mesh_sock *state;
	struct tcp_sock *tp;
	struct mesh_end *end;
	__u64 peer_cookie;
	__u32 size = msg->size;
	__u8 reason;
	bool others;

	if (!sk || !ctl)
		return SK_PASS;
	state = bpf_sk_storage_get(&mesh_sock_state, sk, 0, 0);
	if (!state || state->path == MESH_PATH_TCP)
		return SK_PASS;
	if (state->path == MESH_PATH_DENIED)
		return SK_DROP;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return SK_PASS;

	if (state->generation != READ_ONCE(ctl->generation)) {
		msg_key(msg, state, &key);
		end = bpf_map_lookup_elem(&mesh_ends, &key);
		if (!end || end->cookie != state->cookie || !conn_still_allowed(end, &key)) {
			conn_cut(end, &key, MESH_REASON_REVOKED);
			state->path = MESH_PATH_DENIED;
			return SK_DROP;
		}
		state->generation = end->generation;
	}
	if (state->path == MESH_PATH_NEW) {
		msg_key(msg, state, &key);
		reason = latch(state, &key, tp);
		if (reason != MESH_REASON_NONE) {
			path_set(state, &key, MESH_PATH_TCP, reason);
			return SK_PASS;
		}
	}

	others = others_under_way(state, tp);
	reason = MESH_REASON_SOCKET_STATE;
	if (may_send(tp))
		reason = tp->write_seq == state->latched_seq ? receiver_refuses(state, tp, size, ctl, others) :
							       MESH_REASON_SEQUENCE;
	if (reason == MESH_REASON_NONE) {
		peer_cookie = state->peer_cookie;
		/* On failure the helper leaves the message as it was, and TCP is right. */
		if (bpf_msg_redirect_hash(msg, &mesh_sockets, &peer_cookie, BPF_F_INGRESS) == SK_PASS) {
			state->tx_redirected += size;
			/* Message 1, 2, 4, ... of each window: live figures for 9 look-ups in 256 messages. */
			if (!(state->messages & (state->messages - 1))) {
				msg_key(msg, state, &key);
				end = bpf_map_lookup_elem(&mesh_ends, &key);
				if (end && end->cookie == state->cookie)
					end->tx_redirected = state->tx_redirected;
			}
			return SK_PASS;
		}
		reason = MESH_REASON_HELPER;
	}
	msg_key(msg, state, &key);
	leave_redirection(state, &key, reason, others);
	return SK_PASS;
}

/*
 * What the sockhash runs. A member keeps the program it joined with, so the program is
 * only a jump through a slot that the agent can fill anew or empty.
 */
SEC("sk_msg")
int mesh_msg_stub(struct sk_msg_md *msg)
{
	struct mesh_flow_key key = {};
	struct mesh_sock *state;
	struct tcp_sock *tp;
	struct bpf_sock *sk;

	bpf_tail_call(msg, &mesh_slots, 0);

	sk = msg->sk;
	if (!sk)
		return SK_PASS;
	state = bpf_sk_storage_get(&mesh_sock_state, sk, 0, 0);
	if (!state || state->path == MESH_PATH_TCP)
		return SK_PASS;
	if (state->path == MESH_PATH_DENIED)
		return SK_DROP;
	tp = bpf_skc_to_tcp_sock(sk);
	msg_key(msg, state, &key);
	leave_redirection(state, &key, MESH_REASON_KILL_SWITCH, !tp || others_under_way(state, tp));
	return SK_PASS;
}

#endif /* MESH_VERDICT_H */
