/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The kernel half of the mesh, one object. Each header holds one subject and includes
 * the one below it:
 *
 *   kernel.h   kernel structures read by CO-RE      lookup.h    sk_lookup: ingress
 *   maps.h     every map, its writer and its limit  ends.h      records of connection ends
 *   flow.h     addresses, ports, keys               member.h    joining and leaving the sockhash
 *   policy.h   the verdict                          passive.h   accepted connections
 *   events.h   counters, flow events                sockops.h   life of a connection
 *   service.h  service address to backend           host.h      the node's own connections
 *   capture.h  to the proxy, and from it            verdict.h   sk_msg: redirect or TCP
 *   connect.h  connect(), getpeername()             guards.h    socket options, raw sockets
 *   datagram.h sendmsg(), recvmsg(), UDP flows      query.h     the verdict for user space
 */
#include "query.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
