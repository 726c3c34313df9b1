/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Compiles, and must be refused by the verifier: a map value is used without the test for null. */
#include <linux/types.h>

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} refused_map SEC(".maps");

SEC("cgroup/sock_create")
int refused_create(struct bpf_sock *ctx)
{
	__u32 zero = 0;
	__u64 *value = bpf_map_lookup_elem(&refused_map, &zero);

	return *value != 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
