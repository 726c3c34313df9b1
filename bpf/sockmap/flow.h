/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Addresses, ports and keys: the only place that knows byte orders and context layouts. */
#ifndef MESH_FLOW_H
#define MESH_FLOW_H

#include "maps.h"

#define MAPPED_PREFIX bpf_htonl(0x0000ffff)

static __always_inline void ip_from_v4(struct mesh_ip *ip, __be32 v4)
{
	ip->word[0] = 0;
	ip->word[1] = 0;
	ip->word[2] = MAPPED_PREFIX;
	ip->word[3] = v4;
}

static __always_inline bool ip_equal(const struct mesh_ip *a, const struct mesh_ip *b)
{
	return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] &&
	       a->word[3] == b->word[3];
}

static __always_inline bool ip_is_mapped(const struct mesh_ip *ip)
{
	return !ip->word[0] && !ip->word[1] && ip->word[2] == MAPPED_PREFIX;
}

/* :: and 0.0.0.0, which connect() takes for the loopback. */
static __always_inline bool ip_is_any(const struct mesh_ip *ip)
{
	return !ip->word[0] && !ip->word[1] && (!ip->word[2] || ip->word[2] == MAPPED_PREFIX) && !ip->word[3];
}

static __always_inline bool ip_is_loopback(const struct mesh_ip *ip)
{
	if (ip_is_mapped(ip))
		return (ip->word[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return !ip->word[0] && !ip->word[1] && !ip->word[2] && ip->word[3] == bpf_htonl(1);
}

static __always_inline bool ip_is_multicast(const struct mesh_ip *ip)
{
	if (ip_is_mapped(ip))
		return (ip->word[3] & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) ||
		       ip->word[3] == bpf_htonl(0xffffffff);
	return (ip->word[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000);
}

/*
 * remote_port is in network order in the upper half of a 32-bit word, local_port in
 * host order (include/uapi/linux/bpf.h, struct bpf_sock_ops and sk_msg_md). The whole
 * word is read: older verifiers refuse a 16-bit load. The IPv6 words need constant
 * offsets into the context. An IPv4-mapped IPv6 socket shows its mapped addresses,
 * which is the form used here.
 */
#define FLOW_KEY_FROM(ctx, key)                                            \
	do {                                                               \
		if ((ctx)->family == AF_INET) {                            \
			ip_from_v4(&(key)->local, (ctx)->local_ip4);       \
			ip_from_v4(&(key)->remote, (ctx)->remote_ip4);     \
		} else {                                                   \
			(key)->local.word[0] = (ctx)->local_ip6[0];        \
			(key)->local.word[1] = (ctx)->local_ip6[1];        \
			(key)->local.word[2] = (ctx)->local_ip6[2];        \
			(key)->local.word[3] = (ctx)->local_ip6[3];        \
			(key)->remote.word[0] = (ctx)->remote_ip6[0];      \
			(key)->remote.word[1] = (ctx)->remote_ip6[1];      \
			(key)->remote.word[2] = (ctx)->remote_ip6[2];      \
			(key)->remote.word[3] = (ctx)->remote_ip6[3];      \
		}                                                          \
		(key)->local_port = (ctx)->local_port;                     \
		(key)->remote_port = bpf_ntohl((ctx)->remote_port);        \
		(key)->zero = 0;                                           \
		(key)->netns = 0;                                          \
	} while (0)

/* The same from a socket, whose remote port is 16 bits in network order (struct bpf_sock). */
static __always_inline void sock_flow(const struct bpf_sock *sk, struct mesh_flow_key *key)
{
	if (sk->family == AF_INET) {
		ip_from_v4(&key->local, sk->src_ip4);
		ip_from_v4(&key->remote, sk->dst_ip4);
	} else {
		key->local.word[0] = sk->src_ip6[0];
		key->local.word[1] = sk->src_ip6[1];
		key->local.word[2] = sk->src_ip6[2];
		key->local.word[3] = sk->src_ip6[3];
		key->remote.word[0] = sk->dst_ip6[0];
		key->remote.word[1] = sk->dst_ip6[1];
		key->remote.word[2] = sk->dst_ip6[2];
		key->remote.word[3] = sk->dst_ip6[3];
	}
	key->local_port = sk->src_port;
	key->remote_port = bpf_ntohs(sk->dst_port);
}

/* The address and port of a sock_addr context, in and out, by family. The words need constant offsets here too. */
static __always_inline void user_load6(const struct bpf_sock_addr *ctx, struct mesh_ip *ip)
{
	ip->word[0] = ctx->user_ip6[0];
	ip->word[1] = ctx->user_ip6[1];
	ip->word[2] = ctx->user_ip6[2];
	ip->word[3] = ctx->user_ip6[3];
}

static __always_inline void user_store4(struct bpf_sock_addr *ctx, const struct mesh_ip *ip, __u16 port)
{
	ctx->user_ip4 = ip->word[3];
	ctx->user_port = bpf_htons(port);
}

static __always_inline void user_store6(struct bpf_sock_addr *ctx, const struct mesh_ip *ip, __u16 port)
{
	ctx->user_ip6[0] = ip->word[0];
	ctx->user_ip6[1] = ip->word[1];
	ctx->user_ip6[2] = ip->word[2];
	ctx->user_ip6[3] = ip->word[3];
	ctx->user_port = bpf_htons(port);
}

/* 127.0.0.1 as ::ffff:127.0.0.1, or ::1. */
static __always_inline void ip_loopback(struct mesh_ip *ip, bool v4)
{
	ip->word[0] = 0;
	ip->word[1] = 0;
	ip->word[2] = v4 ? MAPPED_PREFIX : 0;
	ip->word[3] = v4 ? bpf_htonl(0x7f000001) : bpf_htonl(1);
}

/* The address that the socket is bound to, :: if none. */
static __always_inline void bound_load6(const struct bpf_sock_addr *ctx, struct mesh_ip *ip)
{
	ip->word[0] = ctx->sk->src_ip6[0];
	ip->word[1] = ctx->sk->src_ip6[1];
	ip->word[2] = ctx->sk->src_ip6[2];
	ip->word[3] = ctx->sk->src_ip6[3];
}

/*
 * Who a workload is in a flow to or from `address`: its own source address may not be
 * chosen yet, but is of that family. `generation`: only its lowest bit counts.
 */
static __always_inline __u32 workload_identity(const struct mesh_workload *workload, __u32 generation,
					       const struct mesh_ip *address)
{
	return workload->identity[generation & 1][ip_is_mapped(address) ? 0 : 1];
}

/* The same connection, named from the other end. */
static __always_inline void flow_reverse(const struct mesh_flow_key *key, struct mesh_flow_key *peer)
{
	peer->local = key->remote;
	peer->remote = key->local;
	peer->local_port = key->remote_port;
	peer->remote_port = key->local_port;
	peer->zero = 0;
	peer->netns = key->netns;
}

static __always_inline struct mesh_control *control(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&mesh_control, &zero);
}

static __always_inline struct mesh_workload *workload_of(__u64 netns)
{
	return bpf_map_lookup_elem(&mesh_workloads, &netns);
}

static __always_inline struct mesh_listener *listener_of(__u64 netns)
{
	return bpf_map_lookup_elem(&mesh_listeners, &netns);
}

/* Whether `port` on a pod's loopback is the proxy's. */
static __always_inline bool is_listener_port(const struct mesh_listener *listener, __u16 port)
{
	return port && (port == listener->outbound[0] || port == listener->outbound[1] ||
			port == listener->inbound[0] || port == listener->inbound[1]);
}

static __always_inline struct mesh_usage *usage_of(__u64 netns)
{
	return bpf_map_lookup_elem(&mesh_usage, &netns);
}

/* A counter of mesh_usage. Elements of another life may have taken it below zero for a moment. */
static __always_inline __u64 used(__u64 counter)
{
	return (__s64)counter < 0 ? 0 : counter;
}

static __always_inline void give_back(__u64 *counter)
{
	if (!__sync_fetch_and_sub(counter, 1))
		__sync_fetch_and_add(counter, 1);
}

/* The entry of an address: its own, else that of the longest named prefix. */
static __always_inline struct mesh_address *address_of(const struct mesh_ip *ip)
{
	struct mesh_cidr_key key = { .prefix_length = 128, .address = *ip };
	struct mesh_address *entry;

	/* By the copy: the caller may have the address from a pointer that Linux 6.1 takes for no key, see policy.h. */
	entry = bpf_map_lookup_elem(&mesh_addresses, &key.address);
	if (entry)
		return entry;
	return bpf_map_lookup_elem(&mesh_cidrs, &key);
}

/* The enrolled pod of this node that has an address in a generation; 0: none. `entry` may be null. */
static __always_inline __u64 address_netns(const struct mesh_address *entry, __u32 generation)
{
	return entry ? entry->netns[generation & 1] : 0;
}

/* The same in the generation in force, where nothing else is decided by it. */
static __always_inline __u64 address_netns_now(const struct mesh_address *entry)
{
	struct mesh_control *ctl = control();

	return ctl ? address_netns(entry, READ_ONCE(ctl->generation)) : 0;
}

/* True for an address by which only the pod itself can be meant. */
static __always_inline bool is_own(const struct mesh_ip *ip, const struct mesh_address *entry, __u64 netns,
				   __u32 generation)
{
	return ip_is_loopback(ip) || (netns && address_netns(entry, generation) == netns);
}

/* True for a destination that never leaves the pod: always allowed, never translated or captured. */
static __always_inline bool is_self(const struct mesh_ip *ip, const struct mesh_address *entry, __u64 netns,
				    __u32 generation)
{
	return ip_is_any(ip) || is_own(ip, entry, netns, generation);
}

static __always_inline bool port_skipped(const struct mesh_workload *workload, __u64 netns, __u16 port, __u8 direction)
{
	struct mesh_skip_key key = { .netns = netns, .port = port, .direction = direction };

	if (!(workload->flags & MESH_WL_SKIP_PORTS))
		return false;
	return bpf_map_lookup_elem(&mesh_skip_ports, &key) != NULL;
}

/* Whether the node's own probes ask this port of a pod. */
static __always_inline bool port_probed(const struct mesh_workload *workload, __u64 netns, __u16 port)
{
	struct mesh_skip_key key = { .netns = netns, .port = port, .direction = MESH_INGRESS };

	if (!(workload->flags & MESH_WL_PROBE_PORTS))
		return false;
	return bpf_map_lookup_elem(&mesh_probes, &key) != NULL;
}

#endif /* MESH_FLOW_H */
