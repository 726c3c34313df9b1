/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The verdict. One direction costs three array reads and one hash look-up, however
 * many policies are loaded; selectors, ranges and negations were expanded by the
 * compiler in user space.
 *
 * Functions without `static`, in this and the other headers, are global: the verifier
 * checks each once and by itself instead of in every state of every caller. That is a
 * seventh of the work, and an agent starts and upgrades that much sooner. Their pointers
 * may be null to it, and their numbers as wide as a register. Older verifiers, 6.1's for
 * one, take what such a pointer leads to for no map's key or value: they want a copy.
 */
#ifndef MESH_POLICY_H
#define MESH_POLICY_H

#include "flow.h"

/* One flow to decide, and what was decided. Ports: the destination's, after translation. */
struct mesh_conn {
	struct mesh_ip source;      /* zero if not known yet */
	struct mesh_ip destination;
	struct mesh_ip service_address;
	__u64 netns;                /* source workload, 0 if not local */
	__u64 peer_netns;           /* destination workload, 0 if not local */
	__u64 cookie;
	__u32 identity;             /* of the source */
	__u32 peer_identity;        /* of the destination */
	__u32 generation;
	__u32 service;
	__u16 source_port;
	__u16 port;
	__u16 service_port;
	__u8 protocol;
	__u8 reason;
	bool proxied;               /* rules of L7 are decided elsewhere: "needs L7" is no refusal */
	bool captured;              /* destination is the proxy's listener now; who was asked for is in service_address */
};

__noinline int set_verdict(__u32 set, __u32 identity, __u32 direction, __u32 protocol, __u32 port)
{
	struct mesh_policy_key key = {};
	struct mesh_policy_entry *entry;
	struct mesh_policy_set *policy;
	struct mesh_port_page *ports;
	struct mesh_port_map *map;
	__u32 index;
	__u16 class;

	if (!set)
		return MESH_VERDICT_ALLOW;
	if (identity == MESH_IDENTITY_UNKNOWN)
		return MESH_VERDICT_DENY;
	policy = bpf_map_lookup_elem(&mesh_policy_set, &set);
	if (!policy)
		return MESH_VERDICT_DENY;
	key.protocol = protocol == MESH_PROTO_UDP;
	index = policy->port_map[direction & 1][key.protocol & 1];
	map = bpf_map_lookup_elem(&mesh_port_maps, &index);
	if (!map)
		return MESH_VERDICT_DENY;
	index = map->page[(port >> 8) & 255];
	ports = bpf_map_lookup_elem(&mesh_port_pages, &index);
	if (!ports)
		return MESH_VERDICT_DENY;
	class = ports->entry[port & 255];

	key.policy_set = set;
	key.identity = identity;
	key.port_class = MESH_PORT_CLASS(class);
	key.direction = direction;
	entry = bpf_map_lookup_elem(&mesh_policy, &key);
	return entry ? entry->verdict : MESH_PORT_VERDICT(class);
}

/* The verdict of one workload's side. */
static __always_inline __u32 side_verdict(const struct mesh_workload *workload, __u32 slot, __u32 peer, __u8 direction,
					  const struct mesh_conn *conn)
{
	__u32 set = workload->policy_set[slot & 1];

	/* Most pods: not worth a call. */
	return set ? set_verdict(set, peer, direction, conn->protocol, conn->port) : MESH_VERDICT_ALLOW;
}

static __always_inline bool dry_run_differs(const struct mesh_workload *workload, __u32 slot, __u32 peer,
					    __u8 direction, const struct mesh_conn *conn, __u32 enforced)
{
	__u32 set = workload->dry_run_set[slot & 1];

	if (!set)
		return false;
	return set_verdict(set, peer, direction, conn->protocol, conn->port) != enforced;
}

/* ALLOW or L7, as one question: two would double the ways of the verifier. */
static __always_inline bool verdict_permits(__u32 verdict)
{
	return verdict - MESH_VERDICT_ALLOW <= MESH_VERDICT_L7 - MESH_VERDICT_ALLOW;
}

/*
 * Both ends of a flow under one generation. Fills identities, generation and, where
 * the answer is no, the reason. `source` and `destination` are null where the end is
 * not an enrolled pod of this node. A port that an end has taken out of the mesh is not
 * decided for that end. A denial by one end comes before "needs L7" of the other: what is
 * refused in any case is not led to the proxy.
 *
 * Returns enum mesh_reason: NONE if allowed. MESH_STAT_DRY_RUN is or-ed in bit 8 if a
 * dry-run set disagrees.
 */
#define CONN_DRY_RUN 0x100
__noinline int conn_decide(struct mesh_conn *conn, const struct mesh_workload *source,
			   const struct mesh_workload *destination)
{
	__u32 slot, differs = 0, permitted = 0, verdict;

	if (!conn)
		return MESH_REASON_NOT_READY;
	slot = conn->generation & 1;
	if (source && !port_skipped(source, conn->netns, conn->port, MESH_EGRESS)) {
		if (!(source->flags & MESH_WL_READY))
			return MESH_REASON_NOT_READY;
		verdict = side_verdict(source, slot, conn->peer_identity, MESH_EGRESS, conn);
		if (dry_run_differs(source, slot, conn->peer_identity, MESH_EGRESS, conn, verdict))
			differs = CONN_DRY_RUN;
		if (!verdict_permits(verdict))
			return MESH_REASON_POLICY_EGRESS | differs;
		permitted |= verdict;
	}
	if (destination && !port_skipped(destination, conn->peer_netns, conn->port, MESH_INGRESS)) {
		if (!(destination->flags & MESH_WL_READY))
			return MESH_REASON_NOT_READY;
		verdict = side_verdict(destination, slot, conn->identity, MESH_INGRESS, conn);
		if (dry_run_differs(destination, slot, conn->identity, MESH_INGRESS, conn, verdict))
			differs = CONN_DRY_RUN;
		if (!verdict_permits(verdict))
			return MESH_REASON_POLICY_INGRESS | differs;
		permitted |= verdict;
	}
	return ((permitted & MESH_VERDICT_L7) && !conn->proxied ? MESH_REASON_NEEDS_PROXY : MESH_REASON_NONE) | differs;
}

/* Decides a flow between two enrolled pods of this node again, by their cookies. */
__noinline int conn_redecide(struct mesh_conn *conn)
{
	struct mesh_workload *source, *destination = NULL;
	struct mesh_control *ctl = control();
	struct mesh_address *entry;
	__u32 slot;

	if (!ctl || !conn)
		return MESH_REASON_NOT_READY;
	conn->generation = READ_ONCE(ctl->generation);
	slot = conn->generation & 1;
	if (conn->netns && conn->netns == conn->peer_netns)
		return MESH_REASON_NONE;
	source = workload_of(conn->netns);
	if (!conn->netns && conn->identity == MESH_IDENTITY_HOST) {
		/* Proved by the node's own record, whatever its address. */
	} else if (source) {
		conn->identity = workload_identity(source, slot, &conn->destination);
	} else {
		entry = address_of(&conn->source);
		conn->identity = entry ? entry->identity[slot] : MESH_IDENTITY_WORLD;
	}
	/* A pod that has left the mesh decides no more; to others it is what its address is. */
	if (conn->peer_netns)
		destination = workload_of(conn->peer_netns);
	if (destination) {
		conn->peer_identity = workload_identity(destination, slot, &conn->destination);
	} else {
		entry = address_of(&conn->destination);
		conn->peer_identity = entry ? entry->identity[slot] : MESH_IDENTITY_WORLD;
	}
	return conn_decide(conn, source, destination) & 0xff;
}

/* The same where the proxy decides whom the flow reaches: only whether its source may still send at all. */
static __always_inline int source_redecide(struct mesh_conn *conn)
{
	struct mesh_workload *source = workload_of(conn->netns);
	struct mesh_control *ctl = control();

	if (!ctl)
		return MESH_REASON_NOT_READY;
	conn->generation = READ_ONCE(ctl->generation);
	return !source || (source->flags & MESH_WL_READY) ? MESH_REASON_NONE : MESH_REASON_NOT_READY;
}

#endif /* MESH_POLICY_H */
