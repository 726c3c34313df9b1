/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of TCP sockets without casts between the many forms of struct sockaddr. All functions return like the system
 * call they wrap: -1 and errno on failure.
 */
#ifndef CLINUX_INET_H
#define CLINUX_INET_H

#include <stdint.h>

/*
 * Binds to an address, port 0. bytes: 16, IPv4 as ::ffff:a.b.c.d; is_ipv4: fd is of AF_INET. An AF_INET6 socket takes
 * IPv6 only afterwards (IPV6_V6ONLY).
 */
int clinux_inet_bind(int fd, const uint8_t *bytes, int is_ipv4);
/* The port that fd is bound to, in host order. */
int clinux_inet_port(int fd);
/* IP_BIND_ADDRESS_NO_PORT, Linux 4.2. */
int clinux_bind_address_only(int fd);

#endif /* CLINUX_INET_H */
