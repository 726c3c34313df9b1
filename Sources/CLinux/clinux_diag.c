/* SPDX-License-Identifier: Apache-2.0 */
#include "clinux_diag.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

int mesh_netlink_send(int descriptor, const void *request, size_t length)
{
	struct sockaddr_nl kernel;
	ssize_t sent;

	memset(&kernel, 0, sizeof(kernel));
	kernel.nl_family = AF_NETLINK;
	do {
		sent = sendto(descriptor, request, length, 0, (struct sockaddr *)&kernel, sizeof(kernel));
	} while (sent < 0 && errno == EINTR);
	return sent < 0 ? -1 : 0;
}
