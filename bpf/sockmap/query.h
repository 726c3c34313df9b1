/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The verdict function for user space: never attached, run by BPF_PROG_TEST_RUN over the live maps. */
#ifndef MESH_QUERY_H
#define MESH_QUERY_H

#include "guards.h"

#define ETHERNET_HEADER 14 /* test runs need at least this much in front (net/bpf/test_run.c) */
#define TC_ACT_OK 0
#define TC_ACT_SHOT 2

SEC("tc")
int mesh_query(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct mesh_query *query = data + ETHERNET_HEADER;
	struct mesh_workload *source = NULL, *destination = NULL;
	struct mesh_control *ctl = control();
	struct mesh_conn conn = {};
	struct mesh_address *entry;
	__u32 slot, reason;

	if ((void *)(query + 1) > end || !ctl)
		return TC_ACT_SHOT;
	conn.source = query->source;
	conn.destination = query->destination;
	conn.netns = query->source_netns;
	conn.port = query->port;
	conn.protocol = query->protocol;
	conn.generation = READ_ONCE(ctl->generation);
	slot = conn.generation & 1;

	source = workload_of(conn.netns);
	entry = address_of(&conn.source);
	conn.identity = source ? source->identity[slot] : entry ? entry->identity[slot] : MESH_IDENTITY_WORLD;
	entry = address_of(&conn.destination);
	conn.peer_identity = entry ? entry->identity[slot] : MESH_IDENTITY_WORLD;
	if (entry && (entry->flags & MESH_ADDR_LOCAL)) {
		conn.peer_netns = entry->netns;
		destination = workload_of(entry->netns);
	}

	query->generation = conn.generation;
	query->source_identity = conn.identity;
	query->destination_identity = conn.peer_identity;
	query->source_set = source ? source->policy_set[slot] : 0;
	query->destination_set = destination ? destination->policy_set[slot] : 0;
	query->egress = source ? side_verdict(source, slot, conn.peer_identity, MESH_EGRESS, &conn) :
				 MESH_VERDICT_ALLOW;
	query->ingress = destination ? side_verdict(destination, slot, conn.identity, MESH_INGRESS, &conn) :
				       MESH_VERDICT_ALLOW;
	reason = is_self(&conn.destination, entry, conn.netns) ? MESH_REASON_NONE :
								 conn_decide(&conn, source, destination, ctl) & 0xff;
	query->reason = reason;
	query->verdict = reason == MESH_REASON_NONE ? MESH_VERDICT_ALLOW : MESH_VERDICT_DENY;
	return TC_ACT_OK;
}

#endif /* MESH_QUERY_H */
