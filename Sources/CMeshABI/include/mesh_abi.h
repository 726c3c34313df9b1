/* SPDX-License-Identifier: Apache-2.0 OR BSD-2-Clause OR GPL-2.0-only */
/*
 * Layout shared by bpf/sockmap and Sources/SockOps. A change here is a change of
 * the pinned maps: bump MESH_ABI_VERSION, so that an upgraded agent makes a new
 * directory of maps instead of misreading the old one.
 *
 * Rules for every structure:
 * - addresses are 16 bytes in network byte order, IPv4 as ::ffff:a.b.c.d;
 * - ports are in host byte order;
 * - keys are hashed as raw bytes, so they have no implicit padding;
 * - arrays of two, called "slot" arrays, are indexed by the lowest bit of the
 *   generation: a change fills the inactive slot and then raises the generation.
 */
#ifndef MESH_ABI_H
#define MESH_ABI_H

#include <linux/types.h>

#define MESH_ABI_VERSION 4

/* Map sizes. A full map refuses new entries; docs/limits.md says what follows from that. */
#define MESH_MAX_WORKLOADS 4096      /* local pods of this node */
#define MESH_MAX_ADDRESSES 262144    /* single addresses: pods, nodes, service addresses */
#define MESH_MAX_CIDRS 16384         /* named prefixes */
#define MESH_MAX_SERVICES 131072     /* {address, port, protocol} */
#define MESH_MAX_BACKENDS 524288     /* slots of all backend sets */
#define MESH_MAX_AFFINITY 65536      /* remembered clients (LRU) */
#define MESH_MAX_POLICY_SETS 8192
#define MESH_MAX_PORT_MAPS 4096
#define MESH_MAX_PORT_PAGES 8192
#define MESH_MAX_POLICY_ENTRIES 262144
#define MESH_MAX_ENDS 131072         /* ends of TCP connections */
#define MESH_MAX_SOCKETS 65536       /* members of the sockhash */
#define MESH_MAX_UDP_FLOWS 131072    /* peers that pods have sent datagrams to */
#define MESH_MAX_UDP_ASKED 65536     /* peers that pods have had datagrams from (LRU) */
#define MESH_ACCEPTED_SHARE 2        /* accepted ends a workload may have, in shares of its own connections */
#define MESH_MAX_UDP_REVERSE 65536   /* translated unconnected UDP peers (LRU) */
#define MESH_MAX_SKIP_PORTS 16384
#define MESH_MAX_PROBE_PORTS 16384   /* ports that the probes of pods ask */
#define MESH_MAX_ROUTE_CLASSES 65536 /* {service, class of clients} with routes */
#define MESH_MAX_ABORTED 4096        /* connections that ended by RST a moment ago (LRU) */
#define MESH_MAX_CHURN 8192          /* ports under a rush of short connections (LRU) */
#define MESH_EVENTS_BYTES (1 << 20)

/* Identities below this are reserved. */
enum mesh_identity {
	MESH_IDENTITY_UNKNOWN = 0, /* never allowed by a policy set */
	MESH_IDENTITY_WORLD = 1,   /* an address that nothing names */
	MESH_IDENTITY_HOST = 2,    /* the node itself */
	MESH_IDENTITY_FIRST = 256,
};

enum mesh_direction { MESH_EGRESS = 0, MESH_INGRESS = 1 };
enum mesh_proto { MESH_PROTO_TCP = 6, MESH_PROTO_UDP = 17 };

enum mesh_verdict {
	MESH_VERDICT_DENY = 0,
	MESH_VERDICT_ALLOW = 1,
	MESH_VERDICT_L7 = 2, /* only with a node proxy; refused without one */
};

/* Why a connection was refused, why it is not redirected, and what else is counted. */
enum mesh_reason {
	MESH_REASON_NONE = 0,
	/* refusals */
	MESH_REASON_POLICY_EGRESS = 1,
	MESH_REASON_POLICY_INGRESS = 2,
	MESH_REASON_NO_ENDPOINT = 3,
	MESH_REASON_NO_SERVICE_PORT = 4,  /* a service address, but not a port of it */
	MESH_REASON_NOT_READY = 5,        /* the pod's identity or policy is not in force yet */
	MESH_REASON_NO_RECORD = 6,        /* a SYN from a local pod's address that no local pod sent */
	MESH_REASON_SPOOFED = 7,          /* the source address belongs to another pod */
	MESH_REASON_QUOTA = 8,            /* the workload has used up its share of a map */
	MESH_REASON_NEEDS_PROXY = 9,      /* the verdict needs L7 and no proxy runs */
	MESH_REASON_RAW_SOCKET = 10,
	MESH_REASON_UNPROVEN = 11,        /* established without the destination's stamp */
	MESH_REASON_REVOKED = 12,         /* was allowed, is denied by the policy now in force */
	MESH_REASON_LEG = 13,             /* a socket of the proxy's factory, to where it was not sent */
	MESH_REASON_LISTENER = 14,        /* a port of the proxy's, met by something else than a captured connection */
	/* why the bytes of a connection go by TCP */
	MESH_REASON_ACCEL_DISABLED = 32,  /* a workload has accelerate: disabled */
	MESH_REASON_ACCEL_AUTO = 33,      /* auto, and no tripwires on this kernel */
	MESH_REASON_NODE_GATE = 34,       /* the self-test failed on this node */
	MESH_REASON_PEER_REMOTE = 35,     /* the other end is not a meshed pod of this node */
	MESH_REASON_PEER_UNKNOWN = 36,    /* the other end has not registered */
	MESH_REASON_NOT_VIRGIN = 37,      /* TCP carried bytes first: deferred accept, fast open */
	MESH_REASON_SEQUENCE = 38,        /* sequence numbers do not prove the pair */
	MESH_REASON_SOCKET_STATE = 39,    /* not ESTABLISHED or CLOSE_WAIT */
	MESH_REASON_HIGH_WATER = 40,      /* the receiver holds as many bytes as TCP could */
	MESH_REASON_MESSAGE_CAP = 41,     /* the receiver holds too many messages */
	MESH_REASON_SMALL_WRITES = 42,    /* a stream of small writes, which TCP coalesces better */
	MESH_REASON_RCVLOWAT = 43,
	MESH_REASON_MPTCP = 44,
	MESH_REASON_ZEROCOPY = 45,
	MESH_REASON_HELPER = 46,          /* the redirect helper refused */
	MESH_REASON_KILL_SWITCH = 47,     /* the tail-call slot is empty */
	MESH_REASON_MAP_FULL = 48,
	MESH_REASON_PEER_CLOSED = 49,
	MESH_REASON_LEFT_MAP = 50,        /* the peer's direction is TCP, this end left the sockhash */
	MESH_REASON_SHORT_LIVED = 51,     /* the port sees a rush of short connections: joining costs more than it gains */
	MESH_REASON_LARGE_WRITES = 52,    /* a stream whose sender waits for a receiver on another processor */
	/* counters that are not a decision on one connection */
	MESH_STAT_CONNECT = 64,           /* connects of enrolled pods */
	MESH_STAT_TRANSLATED = 65,        /* of those, to a service address */
	MESH_STAT_PASSIVE = 66,           /* accepted connections of enrolled pods */
	MESH_STAT_LATCHED = 67,           /* directions that began to redirect */
	MESH_STAT_REDIRECTED_MSGS = 68,
	MESH_STAT_LEFT_MAP = 69,          /* sockets that left the sockhash losslessly */
	MESH_STAT_EVENT_LOST = 70,
	MESH_STAT_REDECIDED = 71,         /* redirected flows decided again after a policy change */
	MESH_STAT_UDP_REPLY = 72,         /* datagrams let through as replies */
	MESH_STAT_DRY_RUN = 73,           /* verdicts that the dry-run set would have changed */
	MESH_STAT_CAPTURED = 74,          /* connects led to the proxy */
	MESH_STAT_CAPTURED_INBOUND = 75,  /* SYNs from outside the mesh led to the proxy */
	MESH_STAT_LEGS = 76,              /* connects of the proxy */
	MESH_STAT_MAX = 96,
};

/* mesh_workload.flags */
enum mesh_workload_flags {
	MESH_WL_READY = 1 << 0,      /* identity and policy in force; else everything but self-traffic is refused */
	MESH_WL_ACCELERATE = 1 << 1, /* accelerate: enabled */
	MESH_WL_AUTO = 1 << 2,       /* accelerate: auto (not accelerated, own reason) */
	MESH_WL_RAW_SOCKETS = 1 << 3,
	MESH_WL_SKIP_PORTS = 1 << 4, /* mesh_skip_ports has entries of this workload */
	MESH_WL_LOCAL_VETH = 1 << 5, /* hangs on a veth of this node: redirect is allowed */
	MESH_WL_PROBE_PORTS = 1 << 6, /* mesh_probes has entries of this workload */
};

/* mesh_address.flags */
enum mesh_address_flags {
	MESH_ADDR_NEEDS_RECORD = 1 << 0, /* a SYN from here must have a record */
	MESH_ADDR_SERVICE = 1 << 1,      /* a service address: connecting to an unknown port is refused */
	MESH_ADDR_NODE = 1 << 2,         /* an address of this node */
};

/* mesh_control.flags */
enum mesh_control_flags {
	MESH_CTL_ACCELERATE = 1 << 0, /* the node gate passed */
	MESH_CTL_HOST_RECORDS = 1 << 1, /* the record-only program runs on the root */
	MESH_CTL_RETIRED = 1 << 2, /* another layout has taken over and stamps: a missing stamp proves nothing any more */
};

/* How mesh_control begins in every layout, so that the next one can retire it. */
struct mesh_control_head {
	__u32 generation;
	__u32 flags;
};

/* Verdict of an absent entry, and the class under which the exact entries are found. */
#define MESH_PORT_VERDICT(entry) ((entry) & 3)
#define MESH_PORT_CLASS(entry) ((entry) >> 2)

/* mesh_control[0]; mapped by the agent, which stores `generation` with one atomic write. */
struct mesh_control {
	__u32 generation;        /* its lowest bit selects the slot */
	__u32 flags;             /* enum mesh_control_flags */
	__u64 node_netns;        /* cookie of the node's own network namespace */
	__u32 high_water;        /* bytes one redirected direction may have queued at its receiver */
	__u32 message_cap;       /* messages that the receiver has not read */
	__u32 small_write;       /* bytes: smaller writes count as small */
	__u32 small_write_run;   /* small writes queued unread before a direction goes to TCP */
	__u32 stream_window_ns;  /* 256 writes faster than this are a stream, if most are small and found others unread */
	__u32 ends_quota;        /* connections that a workload makes; MESH_ACCEPTED_SHARE as many are made to it */
	__u32 udp_quota;         /* peers per workload that it sends datagrams to */
	__u32 events_per_second; /* flow events per workload */
	__u64 udp_idle_ns;       /* life of a UDP flow after its last datagram */
	__u32 proxy_live;        /* 0: no proxy serves the listeners, what needs one is refused */
	__u32 zero;
};

/* mesh_workloads: netns cookie -> */
struct mesh_workload {
	__u32 identity[2][2]; /* [slot][0 IPv4, 1 IPv6]: by each address it may lie in other prefixes */
	__u32 policy_set[2];  /* 0: no policy, everything allowed */
	__u32 dry_run_set[2]; /* 0: none */
	__u32 flags;
	__u32 route_class; /* of the pod's namespace, if routes are made for it; else 0 */
};

/* mesh_addresses (address -> ), mesh_cidrs (prefix -> ) */
struct mesh_address {
	__u32 identity[2];
	__u32 flags;
	__u32 reserved;
	__u64 netns[2]; /* cookie of the enrolled pod of this node that has it, else 0 */
};

struct mesh_ip {
	__be32 word[4];
};

struct mesh_cidr_key {
	__u32 prefix_length; /* bits; 96 + n for IPv4 */
	struct mesh_ip address;
};

struct mesh_service_key {
	struct mesh_ip address;
	__u16 port;
	__u8 protocol;
	__u8 zero;
};

struct mesh_service {
	__u64 backends;         /* MESH_BACKENDS: one word, so that set and number are of one moment */
	__u32 service;          /* number of the service, for affinity and events */
	__u32 affinity_seconds; /* 0: none */
	__u32 flags;            /* enum mesh_service_flags */
	__u32 zero;
};

enum mesh_service_flags {
	MESH_SVC_CAPTURE = 1 << 0,       /* TCP clients are led to the proxy */
	MESH_SVC_CAPTURE_CLASS = 1 << 1, /* those whose route class is in mesh_routes */
};

/* mesh_routes: services that clients of a route class reach through the proxy -> 1 */
struct mesh_route_key {
	__u32 service;
	__u32 route_class;
};

/*
 * mesh_listeners: netns cookie -> where the proxy listens inside a pod: on loopback, [0]
 * IPv4, [1] IPv6, 0 where it does not.
 */
struct mesh_listener {
	struct mesh_ip address[2]; /* of the pod, which captured sockets are bound to; zero if it has none */
	__u16 outbound[2];
	__u16 inbound[2];
};

/* The backends of a service are {set, 0..<slots}; no slots: no ready endpoint, refuse. */
#define MESH_BACKENDS(set, slots) ((__u64)(slots) << 32 | (set))
#define MESH_BACKENDS_SET(word) ((__u32)(word))
#define MESH_BACKENDS_SLOTS(word) ((__u32)((word) >> 32))

struct mesh_backend_key {
	__u32 backend_set;
	__u32 index;
};

/* One column of an alias table (Walker 1977): take it if random < threshold, else its alias. */
struct mesh_backend {
	struct mesh_ip address;
	__u16 port;
	__u16 reserved;
	__u32 threshold; /* of 2^32; 0xffffffff: always */
	__u32 alias;     /* index in the same set */
};

struct mesh_affinity_key {
	__u64 netns;
	__u32 service;
	__u32 zero;
};

struct mesh_affinity {
	struct mesh_ip address;
	__u16 port;
	__u16 reserved;
	__u32 reserved2;
	__u64 last_used_ns; /* CLOCK_MONOTONIC */
};

/* mesh_affinity_members: ready endpoints of services with affinity -> 1 */
struct mesh_member_key {
	__u32 service;
	__u16 port;
	__u16 zero;
	struct mesh_ip address;
};

/* mesh_policy_sets: array; set 0 is never read. */
struct mesh_policy_set {
	__u32 port_map[2][2]; /* [direction][0 TCP, 1 UDP] */
};

/* mesh_port_maps: array; page of each high byte of the port. */
struct mesh_port_map {
	__u16 page[256];
};

/* mesh_port_pages: array; MESH_PORT_VERDICT and MESH_PORT_CLASS for each low byte. */
struct mesh_port_page {
	__u16 entry[256];
};

/* mesh_policy: identities whose verdict differs from the default of the port class. */
struct mesh_policy_key {
	__u32 policy_set;
	__u32 identity;
	__u16 port_class;
	__u8 direction;
	__u8 protocol; /* 0 TCP, 1 UDP */
};

struct mesh_policy_entry {
	__u32 verdict; /* enum mesh_verdict */
};

struct mesh_skip_key {
	__u64 netns;
	__u16 port;
	__u8 direction;
	__u8 zero;
	__u32 zero2;
};

/*
 * A rush: this many connections shorter than MESH_SHORT_NS within MESH_CHURN_WINDOW_NS
 * keep the port's new connections on TCP for MESH_CHURN_HOLD_NS. Joining and leaving
 * the sockhash costs about 4 us a connection, which a short one does not earn back.
 */
#define MESH_SHORT_NS 10000000ULL
#define MESH_CHURN_WINDOW_NS 100000000ULL
#define MESH_CHURN_SHORT 64
#define MESH_CHURN_HOLD_NS 1000000000ULL

struct mesh_churn_key {
	__u64 netns; /* of the server */
	__u16 port;
	__u16 zero;
	__u32 zero2;
};

struct mesh_churn {
	__u64 window_ns; /* CLOCK_MONOTONIC: start of the window */
	__u64 held_until_ns;
	__u64 short_connections;
};

/* A TCP connection as the socket that owns the end names it. */
struct mesh_flow_key {
	struct mesh_ip local;
	struct mesh_ip remote;
	__u16 local_port;
	__u16 remote_port;
	__u32 zero;
	__u64 netns; /* cookie where both addresses are of one pod (loopback, hairpin), else 0 */
};

/* The lowest bit: the end that was connected to. */
enum mesh_end_role {
	MESH_ROLE_CLIENT = 0,
	MESH_ROLE_SERVER = 1,
	MESH_ROLE_LEG = 2,   /* made by the proxy, to one destination */
	MESH_ROLE_PROXY = 3, /* accepted by the proxy */
};
#define MESH_ROLE_IS_SERVER(role) ((role) & 1)
#define MESH_ROLE_IS_PROXY(role) ((role) & 2)

/* Path of the bytes this end sends. */
enum mesh_path {
	MESH_PATH_NEW = 0,      /* connecting, or nothing sent yet */
	MESH_PATH_REDIRECT = 1,
	MESH_PATH_TCP = 2,      /* final; `reason` says why */
	MESH_PATH_DENIED = 3,
};

/* mesh_end.flags */
enum mesh_end_flags {
	MESH_END_STAMPED = 1 << 0,     /* the destination's sk_lookup has seen the SYN */
	MESH_END_SPOOFED = 1 << 1,
	MESH_END_ESTABLISHED = 1 << 2,
	MESH_END_CLOSED = 1 << 3,      /* waits for the other end, to report both at once */
	MESH_END_MEMBER = 1 << 4,      /* in the sockhash */
	MESH_END_HOST = 1 << 5,        /* of the node's own namespace, record only */
	MESH_END_LOCAL_PEER = 1 << 6,  /* the other end is an enrolled pod of this node */
	MESH_END_CAPTURED = 1 << 7,    /* led to the proxy of the same pod; service_address is where it wanted to go */
	MESH_END_PROXIED = 1 << 8,     /* rules of L7 are decided elsewhere: by the proxy, or it is a probe */
};

/*
 * What an end whose path has become MESH_PATH_TCP may still have on its way to the peer's
 * list: the kernel appends a redirected message after it has let go of the sender's lock
 * (net/ipv4/tcp_bpf.c, tcp_bpf_send_verdict).
 */
enum mesh_under_way {
	MESH_UNDER_WAY_ONE = 0,  /* one thread's last message, which is there before that thread's first TCP byte */
	MESH_UNDER_WAY_NONE = 1, /* nothing */
	MESH_UNDER_WAY_MANY = 2, /* several threads', nobody knows how long */
};

/* mesh_ends: one end of a TCP connection, named by mesh_flow_key. */
struct mesh_end {
	__u64 sk;            /* kernel address, only compared and probed, never shown */
	__u64 cookie;        /* SO_COOKIE */
	__u64 netns;         /* cookie of the owner's namespace */
	__u64 peer_netns;    /* of a local enrolled peer, else 0 */
	__u64 opened_ns;     /* CLOCK_MONOTONIC */
	__u64 tx_redirected; /* bytes; updated now and then while the connection lives */
	__u64 tx_tcp;        /* bytes; set when the end closes */
	__u64 rx_tcp;
	struct mesh_ip service_address; /* what the application asked for, zero if no service and not captured; of a leg, its client */
	__u16 service_port;
	__u8 role;           /* enum mesh_end_role */
	__u8 path;           /* enum mesh_path */
	__u8 reason;         /* enum mesh_reason */
	__u8 under_way;      /* enum mesh_under_way */
	__u16 flags;         /* enum mesh_end_flags */
	__u32 identity;      /* of the owner, when it connected */
	__u32 peer_identity;
	__u32 isn;           /* client: its initial sequence number */
	__u32 write_seq0;    /* at ESTABLISHED */
	__u32 rcv_nxt0;
	__u32 generation;    /* last decided under */
	__u32 srtt_us;       /* at close */
	__u32 retransmits;
	__u32 service;       /* number of the service asked for, 0 if none; of captured connections only */
	__u32 zero2;
};

enum mesh_senders {
	MESH_SENDERS_ONE = 0,  /* since no call was under way on the socket only `sender` has redirected */
	MESH_SENDERS_MANY = 1,
};

/* mesh_sock_state: sk_storage of members of the sockhash and of sockets connected to a service. */
struct mesh_sock {
	__u64 netns;
	__u64 cookie;
	__u64 peer_netns;
	__u64 peer_cookie;   /* latched */
	__u64 peer_sk;
	__u64 tx_redirected;
	__u64 window_start_ns;
	__u32 window_waiting; /* small messages of the current window that found others unread */
	__u32 unread_bytes;  /* in `unread` messages */
	struct mesh_ip service_address;
	struct mesh_ip backend_address;
	__u16 service_port;
	__u16 backend_port;
	__u8 role;
	__u8 path;
	__u8 reason;
	__u8 flags;
	__u8 senders;        /* enum mesh_senders */
	__u8 headroom_kib;   /* that its receiver may hold in any case */
	__u8 contended;      /* large messages of the current window that met a receiver at work */
	__u8 zero;
	__u32 sender;        /* thread that has redirected last */
	__u32 latched_seq;
	__u32 generation;
	__u32 messages;      /* of the current window of 256 */
	__u32 unread;        /* messages, about, that the receiver has not read; exactly, if it reads none */
	__u32 small_unread;
	__u32 service;
	__u32 identity;
	__u32 peer_identity;
};

/*
 * mesh_leg: sk_storage of each socket that was made in the cgroup of the proxy's factory.
 * User space fills it in before it hands the socket over; what is left unmarked connects
 * nowhere. Children of a listener inherit it.
 */
enum mesh_leg_role { MESH_LEG_NONE = 0, MESH_LEG_DIAL = 1, MESH_LEG_LISTEN = 2 };

struct mesh_leg {
	struct mesh_ip destination; /* the only one that it may connect to */
	struct mesh_ip client;      /* what the destination's getpeername() and accept() show, if `client_port` is not 0 */
	__u64 netns;                /* of the workload that it stands for, 0 if that is not of this node */
	__u32 identity;             /* of that workload; read where `netns` is not the socket's own */
	__u16 port;
	__u16 client_port;
	__u8 role;                  /* enum mesh_leg_role */
	__u8 zero[7];
};

/*
 * getsockopt(MESH_SOL, MESH_SO_ORIGIN) on a connection that the proxy has accepted; ENOENT
 * if nothing is known of it, EINVAL if the buffer is too small. No protocol of the kernel
 * has this level (include/linux/socket.h).
 */
#define MESH_SOL 21325
#define MESH_SO_ORIGIN 1

struct mesh_origin {
	struct mesh_ip destination; /* what the client asked for: of a service, its address */
	struct mesh_ip client;
	__u64 netns;        /* of the pod that it was accepted in */
	__u64 source_netns; /* of the client, 0 if it is no pod of this node */
	__u32 source_identity;
	__u32 service;      /* number of the service, 0 if none */
	__u32 generation;   /* last decided under */
	__u16 port;
	__u16 client_port;
	__u8 direction;     /* enum mesh_direction, of the pod */
	__u8 zero[7];
};

/*
 * `netns` talks from local_port with remote. An initiator's entry, in mesh_udp_flows,
 * lets the replies in; a responder's entry, in mesh_udp_asked, lets the replies out.
 */
struct mesh_udp_key {
	__u64 netns;
	struct mesh_ip remote;
	__u16 local_port;
	__u16 remote_port;
	__u32 zero;
};

struct mesh_udp_flow {
	__u64 last_ns;    /* of the last datagram, of either direction */
	__u32 generation; /* that last allowed the first direction */
	__u32 reserved;
};

struct mesh_udp_reverse_key {
	__u64 cookie; /* of the socket */
	struct mesh_ip backend;
	__u16 backend_port;
	__u16 zero;
	__u32 zero2;
};

struct mesh_udp_reverse {
	struct mesh_ip service_address;
	__u16 service_port;
	__u16 zero;
};

/* mesh_usage: netns cookie -> what a workload has used of the shared maps, and its event budget. */
struct mesh_usage {
	__u64 ends;      /* of connections that it made */
	__u64 accepted;  /* of connections made to it */
	__u64 udp_flows;
	__u64 events_lost;
	__u64 events_window_ns;
	__u64 events_in_window;
	__u64 opened;
	__u64 denied;
	__u64 closed;
};

enum mesh_event_type {
	MESH_EVENT_OPENED = 1,
	MESH_EVENT_DENIED = 2,
	MESH_EVENT_CLOSED = 3,
	MESH_EVENT_CUT = 4, /* the agent must destroy this socket now */
	MESH_EVENT_DRY_RUN = 5,
};

struct mesh_event {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u64 netns;   /* the workload that reports */
	__u64 cookie;  /* socket, 0 if none */
	__u64 peer_netns;
	struct mesh_ip source;      /* the connection's initiator */
	struct mesh_ip destination;
	struct mesh_ip service_address;
	__u16 source_port;
	__u16 destination_port;
	__u16 service_port;
	__u8 type;      /* enum mesh_event_type */
	__u8 protocol;  /* 6, 17 */
	__u8 direction; /* enum mesh_direction, of the workload that reports */
	__u8 reason;    /* of a denial */
	__u8 path[2];   /* client's, server's direction: enum mesh_path */
	__u8 path_reason[2];
	__u16 zero;
	__u32 source_identity;
	__u32 destination_identity;
	__u32 generation;
	__u32 srtt_us;
	__u32 retransmits;
	__u32 zero2;
	__u64 duration_ns;
	__u64 bytes_sent;     /* by the initiator, both paths */
	__u64 bytes_received; /* by the initiator */
	__u64 bytes_redirected;
};

/*
 * Question and answer of the program mesh_query, which is run by BPF_PROG_TEST_RUN
 * only: the packet holds this structure, the program fills in the answer.
 */
struct mesh_query {
	__u64 source_netns;      /* 0: not a local pod, use the address */
	struct mesh_ip source;
	struct mesh_ip destination;
	__u16 port;
	__u8 protocol; /* 6, 17 */
	__u8 zero;
	__u32 zero2;
	/* answer */
	__u32 generation;
	__u32 source_identity;
	__u32 destination_identity;
	__u32 source_set;
	__u32 destination_set;
	__u8 verdict; /* enum mesh_verdict of the two directions together */
	__u8 reason;
	__u8 egress;  /* enum mesh_verdict; ALLOW where no local workload decides */
	__u8 ingress;
	__u32 zero3;
};

/*
 * Request and answer of the program mesh_reap, run as mesh_query is: removes what no
 * socket will remove any more, and takes it off its workload's account in one step.
 */
struct mesh_reap {
	struct mesh_flow_key end; /* with cookie != 0: remove this end if it is still that socket's */
	struct mesh_udp_key udp;  /* with cookie == 0: remove this flow if it has been idle too long */
	__u64 cookie;
	__u32 removed; /* answer: 1 if it was removed */
	__u32 zero;
};

enum mesh_fill_kind {
	MESH_FILL_WORKLOAD = 1,
	MESH_FILL_ADDRESS = 2,
	MESH_FILL_CIDR = 3,
	MESH_FILL_SERVICE = 4,
	MESH_FILL_LISTENER = 5,
};

/*
 * Request and answer of the program mesh_fill, run as mesh_query is: writes a row where
 * it stands. An update through bpf(2) would put a new element in its place and give the
 * old one to the next update at once, while a program may still be reading it
 * (kernel/bpf/hashtab.c): it would see the row of another pod.
 */
struct mesh_fill {
	__u64 netns; /* of a workload or a listener */
	struct mesh_workload workload;
	struct mesh_address address;
	struct mesh_service service;
	struct mesh_listener listener;
	struct mesh_cidr_key cidr; /* a single address: its `address` */
	struct mesh_service_key service_key;
	__u32 kind; /* enum mesh_fill_kind */
	__u32 done; /* answer: 1 if the row was there */
};

#ifdef __cplusplus
#define MESH_ASSERT static_assert
#else
#define MESH_ASSERT _Static_assert
#endif
MESH_ASSERT(sizeof(struct mesh_control) == 64, "mesh_control");
MESH_ASSERT(sizeof(struct mesh_workload) == 40, "mesh_workload");
MESH_ASSERT(sizeof(struct mesh_address) == 32, "mesh_address");
MESH_ASSERT(sizeof(struct mesh_cidr_key) == 20, "mesh_cidr_key");
MESH_ASSERT(sizeof(struct mesh_service_key) == 20, "mesh_service_key");
MESH_ASSERT(sizeof(struct mesh_service) == 24, "mesh_service");
MESH_ASSERT(sizeof(struct mesh_route_key) == 8, "mesh_route_key");
MESH_ASSERT(sizeof(struct mesh_listener) == 40, "mesh_listener");
MESH_ASSERT(sizeof(struct mesh_backend_key) == 8, "mesh_backend_key");
MESH_ASSERT(sizeof(struct mesh_backend) == 28, "mesh_backend");
MESH_ASSERT(sizeof(struct mesh_affinity_key) == 16, "mesh_affinity_key");
MESH_ASSERT(sizeof(struct mesh_affinity) == 32, "mesh_affinity");
MESH_ASSERT(sizeof(struct mesh_member_key) == 24, "mesh_member_key");
MESH_ASSERT(sizeof(struct mesh_policy_set) == 16, "mesh_policy_set");
MESH_ASSERT(sizeof(struct mesh_port_map) == 512, "mesh_port_map");
MESH_ASSERT(sizeof(struct mesh_port_page) == 512, "mesh_port_page");
MESH_ASSERT(sizeof(struct mesh_policy_key) == 12, "mesh_policy_key");
MESH_ASSERT(sizeof(struct mesh_policy_entry) == 4, "mesh_policy_entry");
MESH_ASSERT(sizeof(struct mesh_skip_key) == 16, "mesh_skip_key");
MESH_ASSERT(sizeof(struct mesh_churn_key) == 16, "mesh_churn_key");
MESH_ASSERT(sizeof(struct mesh_churn) == 24, "mesh_churn");
MESH_ASSERT(sizeof(struct mesh_flow_key) == 48, "mesh_flow_key");
MESH_ASSERT(sizeof(struct mesh_end) == 128, "mesh_end");
MESH_ASSERT(sizeof(struct mesh_sock) == 144, "mesh_sock");
MESH_ASSERT(sizeof(struct mesh_leg) == 56, "mesh_leg");
MESH_ASSERT(sizeof(struct mesh_origin) == 72, "mesh_origin");
MESH_ASSERT(sizeof(struct mesh_udp_key) == 32, "mesh_udp_key");
MESH_ASSERT(sizeof(struct mesh_udp_flow) == 16, "mesh_udp_flow");
MESH_ASSERT(sizeof(struct mesh_udp_reverse_key) == 32, "mesh_udp_reverse_key");
MESH_ASSERT(sizeof(struct mesh_udp_reverse) == 20, "mesh_udp_reverse");
MESH_ASSERT(sizeof(struct mesh_usage) == 72, "mesh_usage");
MESH_ASSERT(sizeof(struct mesh_event) == 152, "mesh_event");
MESH_ASSERT(sizeof(struct mesh_query) == 80, "mesh_query");
MESH_ASSERT(sizeof(struct mesh_reap) == 96, "mesh_reap");
MESH_ASSERT(sizeof(struct mesh_fill) == 192, "mesh_fill");

#endif /* MESH_ABI_H */
