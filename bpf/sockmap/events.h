/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Counters, per-workload shares and flow events. */
#ifndef MESH_EVENTS_H
#define MESH_EVENTS_H

#include "policy.h"

#define NSEC_PER_SEC 1000000000ULL

static __always_inline void count(__u32 reason)
{
	__u64 *value = bpf_map_lookup_elem(&mesh_stats, &reason);

	if (value)
		*value += 1; /* per CPU; programs do not nest on one CPU at the same counter in a way that matters */
}

/* A cut must always reach the agent, other events share a budget per workload and second. */
static __always_inline bool event_permitted(__u64 netns, __u8 type, __u64 now)
{
	struct mesh_usage *usage = usage_of(netns);
	struct mesh_control *ctl = control();
	__u32 budget;

	if (type == MESH_EVENT_CUT || !usage || !ctl)
		return true;
	if (now - usage->events_window_ns >= NSEC_PER_SEC) {
		usage->events_window_ns = now;
		usage->events_in_window = 0;
	}
	/* Half is kept for refusals: a busy pod's must not go unexplained. */
	budget = type == MESH_EVENT_OPENED || type == MESH_EVENT_CLOSED ? ctl->events_per_second / 2 :
									  ctl->events_per_second;
	if (usage->events_in_window >= budget) {
		__sync_fetch_and_add(&usage->events_lost, 1);
		count(MESH_STAT_EVENT_LOST);
		return false;
	}
	__sync_fetch_and_add(&usage->events_in_window, 1);
	return true;
}

static __always_inline struct mesh_event *event_reserve(__u64 netns, __u8 type)
{
	__u64 now = bpf_ktime_get_ns();
	struct mesh_event *event;
	struct mesh_usage *usage;

	if (!event_permitted(netns, type, now))
		return NULL;
	event = bpf_ringbuf_reserve(&mesh_events, sizeof(*event), 0);
	if (!event) {
		usage = usage_of(netns);
		if (usage)
			__sync_fetch_and_add(&usage->events_lost, 1);
		count(MESH_STAT_EVENT_LOST);
		return NULL;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->time_ns = now;
	event->netns = netns;
	event->type = type;
	return event;
}

/*
 * Refusals and cuts wake the agent at once. Openings and closings wait for its next
 * look (every 50 ms) unless the ring fills: a wake-up per connection costs more than
 * the connection's record. By force, because the kernel's own rule is to wake only a
 * reader that has read everything, and unread openings would keep a cut waiting.
 */
static __always_inline void event_submit(struct mesh_event *event)
{
	__u64 flags = BPF_RB_FORCE_WAKEUP;

	if (event->type == MESH_EVENT_OPENED || event->type == MESH_EVENT_CLOSED)
		flags = bpf_ringbuf_query(&mesh_events, BPF_RB_AVAIL_DATA) > MESH_EVENTS_BYTES / 8 ?
				BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
	bpf_ringbuf_submit(event, flags);
}

/* Reports a decision on a flow that `netns` is an end of. */
__noinline int event_conn(struct mesh_conn *conn, __u64 netns, __u32 type)
{
	struct mesh_event *event;

	if (!conn)
		return 0;
	event = event_reserve(netns, type);
	if (!event)
		return 0;
	event->cookie = conn->cookie;
	event->peer_netns = netns == conn->netns ? conn->peer_netns : conn->netns;
	event->source = conn->source;
	event->destination = conn->destination;
	event->service_address = conn->service_address;
	event->source_port = conn->source_port;
	event->destination_port = conn->port;
	event->service_port = conn->service_port;
	event->protocol = conn->protocol;
	event->direction = netns == conn->netns ? MESH_EGRESS : MESH_INGRESS;
	event->reason = conn->reason;
	event->source_identity = conn->identity;
	event->destination_identity = conn->peer_identity;
	event->generation = conn->generation;
	event_submit(event);
	return 0;
}

/* Decides a flow for `netns`, and reports for it where a dry-run set would have decided otherwise. */
static __always_inline __u32 conn_decide_reporting(struct mesh_conn *conn, const struct mesh_workload *source,
						   const struct mesh_workload *destination, __u64 netns)
{
	__u32 reason = conn_decide(conn, source, destination);

	if (reason & CONN_DRY_RUN) {
		count(MESH_STAT_DRY_RUN);
		conn->reason = reason & 0xff;
		event_conn(conn, netns, MESH_EVENT_DRY_RUN);
	}
	return reason & 0xff;
}

/* Counts and reports a refusal; the workload that reports it also has it in its own count. */
static __always_inline void refuse(struct mesh_conn *conn, __u64 netns, __u32 reason)
{
	struct mesh_usage *usage = usage_of(netns);

	conn->reason = reason;
	count(reason);
	if (usage)
		__sync_fetch_and_add(&usage->denied, 1);
	event_conn(conn, netns, MESH_EVENT_DENIED);
}

#endif /* MESH_EVENTS_H */
