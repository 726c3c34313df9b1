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
	conn.identity = source ? workload_identity(source, slot, &conn.destination) :
			entry  ? entry->identity[slot] :
				 MESH_IDENTITY_WORLD;
	entry = address_of(&conn.destination);
	conn.peer_identity = entry ? entry->identity[slot] : MESH_IDENTITY_WORLD;
	conn.peer_netns = address_netns(entry, slot);
	if (conn.peer_netns)
		destination = workload_of(conn.peer_netns);

	query->generation = conn.generation;
	query->source_identity = conn.identity;
	query->destination_identity = conn.peer_identity;
	query->source_set = source ? source->policy_set[slot] : 0;
	query->destination_set = destination ? destination->policy_set[slot] : 0;
	query->egress = source ? side_verdict(source, slot, conn.peer_identity, MESH_EGRESS, &conn) :
				 MESH_VERDICT_ALLOW;
	query->ingress = destination ? side_verdict(destination, slot, conn.identity, MESH_INGRESS, &conn) :
				       MESH_VERDICT_ALLOW;
	reason = is_self(&conn.destination, entry, conn.netns, slot) ? MESH_REASON_NONE :
								 conn_decide(&conn, source, destination) & 0xff;
	if (conn.peer_netns && !destination) {
		reason = MESH_REASON_NOT_READY;
		query->ingress = MESH_VERDICT_DENY;
	}
	query->reason = reason;
	query->verdict = reason == MESH_REASON_NONE ? MESH_VERDICT_ALLOW : MESH_VERDICT_DENY;
	return TC_ACT_OK;
}

SEC("tc")
int mesh_reap(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct mesh_reap *request = data + ETHERNET_HEADER;
	struct mesh_control *ctl = control();
	struct mesh_flow_key end_key;
	struct mesh_udp_key udp_key;
	struct mesh_udp_flow *flow;
	struct mesh_usage *usage;
	struct mesh_end *owned;
	__u64 now;

	if ((void *)(request + 1) > end || !ctl)
		return TC_ACT_SHOT;
	request->removed = 0;
	if (request->cookie) {
		end_key = request->end;
		owned = bpf_map_lookup_elem(&mesh_ends, &end_key);
		if (owned && owned->cookie == request->cookie) {
			end_delete(&end_key, owned->netns, owned->role);
			request->removed = 1;
		}
		return TC_ACT_OK;
	}
	udp_key = request->udp;
	flow = bpf_map_lookup_elem(&mesh_udp_flows, &udp_key);
	if (!flow)
		return TC_ACT_OK;
	now = bpf_ktime_get_ns();
	if (now - flow->last_ns < ctl->udp_idle_ns || bpf_map_delete_elem(&mesh_udp_flows, &udp_key))
		return TC_ACT_OK;
	usage = usage_of(udp_key.netns);
	if (usage)
		give_back(&usage->udp_flows);
	request->removed = 1;
	return TC_ACT_OK;
}

static __always_inline bool fill_address(struct mesh_address *row, const struct mesh_fill *request)
{
	if (!row)
		return false;
	WRITE_ONCE(row->identity[0], request->address.identity[0]);
	WRITE_ONCE(row->identity[1], request->address.identity[1]);
	WRITE_ONCE(row->netns[0], request->address.netns[0]);
	WRITE_ONCE(row->netns[1], request->address.netns[1]);
	WRITE_ONCE(row->flags, request->address.flags);
	return true;
}

static __always_inline bool fill_service(struct mesh_service *row, const struct mesh_fill *request)
{
	if (!row)
		return false;
	WRITE_ONCE(row->service, request->service.service);
	WRITE_ONCE(row->affinity_seconds, request->service.affinity_seconds);
	WRITE_ONCE(row->flags, request->service.flags);
	WRITE_ONCE(row->backends, request->service.backends);
	return true;
}

static __always_inline bool fill_workload(struct mesh_workload *row, const struct mesh_fill *request)
{
	if (!row)
		return false;
	WRITE_ONCE(row->identity[0][0], request->workload.identity[0][0]);
	WRITE_ONCE(row->identity[0][1], request->workload.identity[0][1]);
	WRITE_ONCE(row->identity[1][0], request->workload.identity[1][0]);
	WRITE_ONCE(row->identity[1][1], request->workload.identity[1][1]);
	WRITE_ONCE(row->policy_set[0], request->workload.policy_set[0]);
	WRITE_ONCE(row->policy_set[1], request->workload.policy_set[1]);
	WRITE_ONCE(row->dry_run_set[0], request->workload.dry_run_set[0]);
	WRITE_ONCE(row->dry_run_set[1], request->workload.dry_run_set[1]);
	WRITE_ONCE(row->route_class, request->workload.route_class);
	WRITE_ONCE(row->flags, request->workload.flags);
	return true;
}

/* Ports only: a pod's own addresses are what they were when its row was made. */
static __always_inline bool fill_listener(struct mesh_listener *row, const struct mesh_fill *request)
{
	if (!row || !ip_equal(&row->address[0], &request->listener.address[0]) ||
	    !ip_equal(&row->address[1], &request->listener.address[1]))
		return false;
	WRITE_ONCE(row->outbound[0], request->listener.outbound[0]);
	WRITE_ONCE(row->outbound[1], request->listener.outbound[1]);
	WRITE_ONCE(row->inbound[0], request->listener.inbound[0]);
	WRITE_ONCE(row->inbound[1], request->listener.inbound[1]);
	return true;
}

SEC("tc")
int mesh_fill(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct mesh_fill *request = data + ETHERNET_HEADER;
	struct mesh_service_key service;
	struct mesh_cidr_key cidr;

	if ((void *)(request + 1) > end)
		return TC_ACT_SHOT;
	cidr = request->cidr;
	service = request->service_key;
	request->done = 0;
	switch (request->kind) {
	case MESH_FILL_WORKLOAD:
		request->done = fill_workload(workload_of(request->netns), request);
		break;
	case MESH_FILL_ADDRESS:
		request->done = fill_address(bpf_map_lookup_elem(&mesh_addresses, &cidr.address), request);
		break;
	case MESH_FILL_CIDR:
		/* The row is there, so the longest match is the prefix itself. */
		request->done = fill_address(bpf_map_lookup_elem(&mesh_cidrs, &cidr), request);
		break;
	case MESH_FILL_LISTENER:
		request->done = fill_listener(listener_of(request->netns), request);
		break;
	case MESH_FILL_SERVICE:
		request->done = fill_service(bpf_map_lookup_elem(&mesh_services, &service), request);
		break;
	}
	return TC_ACT_OK;
}

#endif /* MESH_QUERY_H */
