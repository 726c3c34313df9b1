/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Every map: who writes it, who reads it, and what follows when it is full.
 * All are pinned by the agent and outlive it.
 */
#ifndef MESH_MAPS_H
#define MESH_MAPS_H

#include "kernel.h"

/* One element. Agent writes (generation by one atomic store through mmap), all programs read. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct mesh_control);
} mesh_control SEC(".maps");

/* Enrolled pods of this node by netns cookie. Agent writes. Full: the pod stays `failed`. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MESH_MAX_WORKLOADS);
	__type(key, __u64);
	__type(value, struct mesh_workload);
} mesh_workloads SEC(".maps");

/* Single addresses that have an identity. Agent writes. Full: the change is refused as a whole. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MESH_MAX_ADDRESSES);
	__type(key, struct mesh_ip);
	__type(value, struct mesh_address);
} mesh_addresses SEC(".maps");

/* Named prefixes; ::/0 is WORLD. Read where mesh_addresses has no entry. Agent writes. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MESH_MAX_CIDRS);
	__type(key, struct mesh_cidr_key);
	__type(value, struct mesh_address);
} mesh_cidrs SEC(".maps");

/* Service addresses. Agent writes, one element per change; a backend set is complete before it is named here. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MESH_MAX_SERVICES);
	__type(key, struct mesh_service_key);
	__type(value, struct mesh_service);
} mesh_services SEC(".maps");

/* Columns of the alias tables. Agent writes. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MESH_MAX_BACKENDS);
	__type(key, struct mesh_backend_key);
	__type(value, struct mesh_backend);
} mesh_backends SEC(".maps");

/* Session affinity. Programs write. Full: the least recently used client is forgotten. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MESH_MAX_AFFINITY);
	__type(key, struct mesh_affinity_key);
	__type(value, struct mesh_affinity);
} mesh_affinity SEC(".maps");

/* Ready endpoints of services with affinity. Agent writes. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MESH_MAX_BACKENDS);
	__type(key, struct mesh_member_key);
	__type(value, __u32);
} mesh_members SEC(".maps");

/* Policy sets, their port maps and pages: immutable once a workload names the set. Agent writes. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MESH_MAX_POLICY_SETS);
	__type(key, __u32);
	__type(value, struct mesh_policy_set);
} mesh_policy_set SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MESH_MAX_PORT_MAPS);
	__type(key, __u32);
	__type(value, struct mesh_port_map);
} mesh_port_maps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MESH_MAX_PORT_PAGES);
	__type(key, __u32);
	__type(value, struct mesh_port_page);
} mesh_port_pages SEC(".maps");

/* Exceptions from the default of a port class. Agent writes. Full: the change is refused as a whole. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MESH_MAX_POLICY_ENTRIES);
	__type(key, struct mesh_policy_key);
	__type(value, struct mesh_policy_entry);
} mesh_policy SEC(".maps");

/* Ports that a pod has taken out of the mesh. Agent writes. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MESH_MAX_SKIP_PORTS);
	__type(key, struct mesh_skip_key);
	__type(value, __u32);
} mesh_skip_ports SEC(".maps");

/*
 * Ports that the kubelet's probes ask, with direction MESH_INGRESS: rules of L7 are not for them. Agent writes.
 * Full: the pod stays `failed`.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MESH_MAX_PROBE_PORTS);
	__type(key, struct mesh_skip_key);
	__type(value, __u32);
} mesh_probes SEC(".maps");

/* Services with routes for some classes of clients only. Agent writes. Full: the change is refused as a whole. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MESH_MAX_ROUTE_CLASSES);
	__type(key, struct mesh_route_key);
	__type(value, __u32);
} mesh_routes SEC(".maps");

/* Where the proxy listens inside pods, by netns cookie. Agent writes. Without an entry what needs a proxy is refused. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MESH_MAX_WORKLOADS);
	__type(key, __u64);
	__type(value, struct mesh_listener);
} mesh_listeners SEC(".maps");

/*
 * The proxy's listeners for connections from outside the mesh, by netns cookie. One for
 * each family: an IPv6 socket that is bound to an address is IPV6_V6ONLY. No program runs
 * over the members. Agent writes. Without an entry what needs a proxy is refused.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, MESH_MAX_WORKLOADS);
	__type(key, __u64);
	__type(value, __u64);
} mesh_inbound4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, MESH_MAX_WORKLOADS);
	__type(key, __u64);
	__type(value, __u64);
} mesh_inbound6 SEC(".maps");

/*
 * What a socket of the proxy's factory is for. mesh_factory makes it, user space fills it in, programs read.
 * Children of a listener inherit it; dies with the socket. No memory: the socket is not made.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct mesh_leg);
} mesh_leg SEC(".maps");

/*
 * Connections that were aborted or reset: segments of theirs that are still on their way
 * are no refusals. Programs only. Full: the oldest is forgotten, its late segments are
 * reported as such without a record.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MESH_MAX_ABORTED);
	__type(key, struct mesh_flow_key);
	__type(value, __u64);
} mesh_aborted SEC(".maps");

/* Rushes of short connections by server port. Programs only. Full: the quietest port is forgotten. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MESH_MAX_CHURN);
	__type(key, struct mesh_churn_key);
	__type(value, struct mesh_churn);
} mesh_churn SEC(".maps");

/*
 * Ends of TCP connections. mesh_sockops writes, mesh_lookup stamps, mesh_msg reads,
 * the agent sweeps. Full or over the workload's quota: connections to local pods are
 * refused (nothing could prove them), others go on by TCP without a record.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MESH_MAX_ENDS);
	__type(key, struct mesh_flow_key);
	__type(value, struct mesh_end);
} mesh_ends SEC(".maps");

/*
 * Sockets that may be redirected to, by their own socket cookie: two pods that use
 * the same addresses (loopback) can never meet here. Full: the connection stays on TCP.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, MESH_MAX_SOCKETS);
	__type(key, __u64);
	__type(value, __u64);
} mesh_sockets SEC(".maps");

/* What is known of a socket of an enrolled pod. Programs only; dies with the socket. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct mesh_sock);
} mesh_sock_state SEC(".maps");

/* Whom a pod sent datagrams to, so that replies come in. Programs write, the agent expires. Full or over quota: they need a policy. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MESH_MAX_UDP_FLOWS);
	__type(key, struct mesh_udp_key);
	__type(value, struct mesh_udp_flow);
} mesh_udp_flows SEC(".maps");

/*
 * Whom a pod had datagrams from, so that its replies go out. Others fill it, so it has no
 * quota: full, the question that is longest ago can be answered no more.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MESH_MAX_UDP_ASKED);
	__type(key, struct mesh_udp_key);
	__type(value, struct mesh_udp_flow);
} mesh_udp_asked SEC(".maps");

/* Service address that an unconnected UDP socket asked for. Full: the least recently used reply shows the backend. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MESH_MAX_UDP_REVERSE);
	__type(key, struct mesh_udp_reverse_key);
	__type(value, struct mesh_udp_reverse);
} mesh_udp_rev SEC(".maps");

/* Shares of the maps that each workload has used. The agent makes the entry, programs count. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MESH_MAX_WORKLOADS);
	__type(key, __u64);
	__type(value, struct mesh_usage);
} mesh_usage SEC(".maps");

/* Counters by enum mesh_reason. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MESH_STAT_MAX);
	__type(key, __u32);
	__type(value, __u64);
} mesh_stats SEC(".maps");

/* struct mesh_event to the agent. Full: the event is counted as lost, in total and per workload. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, MESH_EVENTS_BYTES);
} mesh_events SEC(".maps");

/* Slot 0: the sk_msg verdict in force. Empty: the kill switch, every direction goes to TCP at its next message. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} mesh_slots SEC(".maps");

#endif /* MESH_MAPS_H */
