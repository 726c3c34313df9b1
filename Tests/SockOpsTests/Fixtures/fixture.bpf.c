/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * One map of each kind that Sockmesh uses, and one program of each type, small enough that a test can say what
 * each must do. Not part of the product.
 */
#include <linux/types.h>

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct pair {
	__u32 first;
	__u32 second;
};

struct prefix {
	__u32 length;
	__u8 address[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct pair);
	__uint(max_entries, 512);
} fixture_hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 64);
} fixture_lru SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct prefix);
	__type(value, __u32);
	__uint(max_entries, 64);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} fixture_prefixes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 4);
} fixture_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct pair);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
} fixture_word SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} fixture_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} fixture_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__type(key, __u64);
	__type(value, __u64);
	__uint(max_entries, 16);
} fixture_socks SEC(".maps");

const volatile __u32 fixture_verdict = 1;

struct tcp_sock {
	__u32 write_seq;
} __attribute__((preserve_access_index));

SEC("cgroup/sock_create")
int fixture_create(struct bpf_sock *ctx)
{
	__u32 slot = 0;
	__u64 *count = bpf_map_lookup_elem(&fixture_counts, &slot);

	if (count)
		*count += 1;
	return fixture_verdict;
}

/* Each run adds an event of 16 bytes: the word, and how often the program has run on this CPU. */
SEC("tc")
int fixture_emit(struct __sk_buff *skb)
{
	__u32 slot = 1, zero = 0;
	__u64 *count = bpf_map_lookup_elem(&fixture_counts, &slot);
	struct pair *word = bpf_map_lookup_elem(&fixture_word, &zero);
	__u64 *event;

	if (!count || !word)
		return -1;
	*count += 1;
	event = bpf_ringbuf_reserve(&fixture_ring, 16, 0);
	if (!event)
		return -2;
	event[0] = word->first;
	event[1] = *count;
	bpf_ringbuf_submit(event, 0);
	return word->second;
}

/* Proves that CO-RE relocations of this compiler load with the oldest supported libbpf. */
SEC("sockops")
int fixture_ops(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct tcp_sock *tcp;
	__u32 slot = 2;
	__u64 *count;

	if (!sk || !ctx->is_fullsock)
		return 1;
	tcp = bpf_skc_to_tcp_sock(sk);
	count = bpf_map_lookup_elem(&fixture_counts, &slot);
	if (tcp && count)
		*count = tcp->write_seq;
	return 1;
}

SEC("sk_msg")
int fixture_msg(struct sk_msg_md *msg)
{
	return SK_PASS;
}

SEC("sk_msg")
int fixture_stub(struct sk_msg_md *msg)
{
	bpf_tail_call(msg, &fixture_slots, 0);
	return SK_PASS;
}

SEC("sk_lookup")
int fixture_lookup(struct bpf_sk_lookup *ctx)
{
	return SK_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
