/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets and devices in places where this process does not run. All functions
 * return -1 and set errno on failure.
 */
#ifndef CLINUX_SANDBOX_H
#define CLINUX_SANDBOX_H

#include <stdint.h>

/*
 * A socket that belongs to the cgroup and the network namespace given: the kernel
 * takes both from the process that creates it. A short-lived child that shares the
 * descriptor table creates it. C: between clone3 and exit only system calls are
 * allowed, because other threads may hold locks of the C library.
 *
 * Returns the descriptor, close-on-exec. Linux 5.7 (CLONE_INTO_CGROUP).
 */
int clinux_socket_in(int cgroup_fd, int netns_fd, int domain, int type, int protocol);

/*
 * Joins the calling thread's namespace and that of peer_netns_fd by a pair of veth
 * devices, called name on both sides. C: nested netlink attributes.
 */
int clinux_veth_create(const char *name, int peer_netns_fd);

/* Gives a device of the calling thread's namespace an IPv4 address and sets it up. address: network byte order. */
int clinux_device_up(const char *name, uint32_t address, unsigned int prefix_length);

#endif /* CLINUX_SANDBOX_H */
