/* SPDX-License-Identifier: Apache-2.0 */
#include "clinux_inet.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

int clinux_inet_bind(int fd, const uint8_t *bytes, int is_ipv4)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6 };
	struct sockaddr_in four = { .sin_family = AF_INET };
	int on = 1;

	if (is_ipv4) {
		memcpy(&four.sin_addr, bytes + 12, 4);
		return bind(fd, (struct sockaddr *)&four, sizeof(four));
	}
	if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
		return -1;
	memcpy(&six.sin6_addr, bytes, 16);
	return bind(fd, (struct sockaddr *)&six, sizeof(six));
}

int clinux_inet_port(int fd)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);

	if (getsockname(fd, (struct sockaddr *)&address, &size) < 0)
		return -1;
	return ntohs(address.ss_family == AF_INET ? ((struct sockaddr_in *)&address)->sin_port
						  : ((struct sockaddr_in6 *)&address)->sin6_port);
}

int clinux_bind_address_only(int fd)
{
	int on = 1;

	return setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
}
