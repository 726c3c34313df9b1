/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Netlink requests whose kernel headers Glibc's Swift module leaves out:
 * NETLINK_SOCK_DIAG (sock_diag(7)) and NETLINK_ROUTE (rtnetlink(7)). Only layout
 * and constants are here, because Swift cannot import casts in macros; sending
 * and parsing are Swift.
 */
#ifndef CLINUX_DIAG_H
#define CLINUX_DIAG_H

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <stddef.h>
#include <stdint.h>

/* SOCK_DIAG_BY_FAMILY (dump) and SOCK_DESTROY (one socket) take the same request. */
struct mesh_diag_request {
	struct nlmsghdr header;
	struct inet_diag_req_v2 diag;
};

struct mesh_link_request {
	struct nlmsghdr header;
	struct ifinfomsg link;
};

struct mesh_address_request {
	struct nlmsghdr header;
	struct ifaddrmsg address;
};

_Static_assert(sizeof(struct mesh_diag_request) == 72, "sock_diag request");
_Static_assert(sizeof(struct mesh_link_request) == 32, "link request");
_Static_assert(sizeof(struct mesh_address_request) == 24, "address request");

enum {
	MESH_TCP_ESTABLISHED = 1,
	MESH_TCP_CLOSE = 7,
	MESH_TCP_LISTEN = 10,
	/* idiag_ext is a bit mask of INET_DIAG_* less one. */
	MESH_DIAG_EXT_SKMEMINFO = 1 << (INET_DIAG_SKMEMINFO - 1),
};

/* struct sockaddr_nl of the kernel; Swift cannot cast to struct sockaddr in one step. */
int mesh_netlink_send(int descriptor, const void *request, size_t length);

#endif /* CLINUX_DIAG_H */
