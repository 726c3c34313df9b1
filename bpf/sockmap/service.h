/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Service address to backend: weights by an alias table, affinity by a remembered choice. */
#ifndef MESH_SERVICE_H
#define MESH_SERVICE_H

#include "events.h"

enum service_result {
	SERVICE_NONE,       /* not a service address */
	SERVICE_TRANSLATED,
	SERVICE_NO_ENDPOINT,
	SERVICE_NO_PORT,
	SERVICE_CAPTURED,   /* the proxy chooses the backend */
};

/* A random column, then itself or its alias (Walker 1977): exact weights in two look-ups at most. */
static __always_inline struct mesh_backend *backend_pick(__u64 backends, __u64 random)
{
	struct mesh_backend_key key = { .backend_set = MESH_BACKENDS_SET(backends) };
	struct mesh_backend *backend;

	key.index = ((random & 0xffffffff) * MESH_BACKENDS_SLOTS(backends)) >> 32;
	backend = bpf_map_lookup_elem(&mesh_backends, &key);
	if (!backend || backend->threshold == 0xffffffff || (__u32)(random >> 32) < backend->threshold)
		return backend;
	key.index = backend->alias;
	return bpf_map_lookup_elem(&mesh_backends, &key);
}

/* The backend this client used last, if it is still ready and was used recently enough. */
static __always_inline bool affinity_recall(const struct mesh_service *service, struct mesh_conn *conn)
{
	struct mesh_affinity_key key = { .netns = conn->netns, .service = service->service };
	struct mesh_affinity *last = bpf_map_lookup_elem(&mesh_affinity, &key);
	__u64 now = bpf_ktime_get_ns();
	struct mesh_member_key member = {};

	if (!last || now - last->last_used_ns > service->affinity_seconds * NSEC_PER_SEC)
		return false;
	member.service = service->service;
	member.port = last->port;
	member.address = last->address;
	if (!bpf_map_lookup_elem(&mesh_members, &member))
		return false;
	last->last_used_ns = now;
	conn->destination = last->address;
	conn->port = last->port;
	return true;
}

static __always_inline void affinity_remember(const struct mesh_service *service, const struct mesh_conn *conn)
{
	struct mesh_affinity_key key = { .netns = conn->netns, .service = service->service };
	struct mesh_affinity value = {};

	value.address = conn->destination;
	value.port = conn->port;
	value.last_used_ns = bpf_ktime_get_ns();
	bpf_map_update_elem(&mesh_affinity, &key, &value, BPF_ANY);
}

static __always_inline __u64 random64(void)
{
	return (__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32();
}

/* 64 bits from a socket cookie (splitmix64, Steele et al. 2014): cookies are consecutive numbers. */
static __always_inline __u64 cookie_hash(__u64 x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

/* Whether the proxy chooses for this client: for all, or for its route class. */
static __always_inline bool service_captures(const struct mesh_service *service, const struct mesh_workload *client)
{
	struct mesh_route_key key = { .service = service->service, .route_class = client->route_class };
	__u32 flags = READ_ONCE(service->flags);

	if (flags & MESH_SVC_CAPTURE)
		return true;
	return (flags & MESH_SVC_CAPTURE_CLASS) && client->route_class && bpf_map_lookup_elem(&mesh_routes, &key);
}

/*
 * Replaces conn->destination and port by a backend's if they name a service. A
 * connection's backend is random, a datagram's depends on its socket, so that one
 * exchange stays with one backend. `address` is the destination's own entry, or null.
 * Where the proxy chooses, destination and port stay as they are.
 */
__noinline int service_translate(struct mesh_conn *conn, struct mesh_address *address,
				 struct mesh_workload *client)
{
	struct mesh_service_key key = {};
	struct mesh_service *service;
	struct mesh_backend *backend;
	__u64 backends;

	if (!conn)
		return SERVICE_NONE;
	key.address = conn->destination;
	key.port = conn->port;
	key.protocol = conn->protocol;
	service = bpf_map_lookup_elem(&mesh_services, &key);
	if (!service)
		return address && (address->flags & MESH_ADDR_SERVICE) ? SERVICE_NO_PORT : SERVICE_NONE;
	conn->service = service->service;
	conn->service_address = conn->destination;
	conn->service_port = conn->port;
	if (conn->protocol == MESH_PROTO_TCP && client && service_captures(service, client))
		return SERVICE_CAPTURED;
	backends = READ_ONCE(service->backends);
	if (!MESH_BACKENDS_SLOTS(backends))
		return SERVICE_NO_ENDPOINT;
	if (service->affinity_seconds && affinity_recall(service, conn))
		return SERVICE_TRANSLATED;
	backend = backend_pick(backends, conn->protocol == MESH_PROTO_UDP ? cookie_hash(conn->cookie) : random64());
	if (!backend)
		return SERVICE_NO_ENDPOINT;
	conn->destination = backend->address;
	conn->port = backend->port;
	if (service->affinity_seconds)
		affinity_remember(service, conn);
	return SERVICE_TRANSLATED;
}

#endif /* MESH_SERVICE_H */
