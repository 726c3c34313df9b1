/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The kernel half of the mesh, one object. Each header holds one subject and includes
 * the one below it:
 *
 *   kernel.h   kernel structures read by CO-RE      connect.h   connect(), getpeername()
 *   maps.h     every map, its writer and its limit  datagram.h  sendmsg(), recvmsg(), UDP flows
 *   flow.h     addresses, ports, keys               lookup.h    sk_lookup: ingress
 *   policy.h   the verdict                          ends.h      records of connection ends
 *   events.h   counters, flow events                sockops.h   life of a connection
 *   service.h  service address to backend           verdict.h   sk_msg: redirect or TCP
 *                                                   guards.h    setsockopt, raw sockets
 *                                                   query.h     the verdict for user space
 */
#include "query.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
