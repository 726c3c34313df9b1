/* SPDX-License-Identifier: Apache-2.0 */
#include "clinux_packet.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)

union control {
	char room[CMSG_SPACE(sizeof(int) * CLINUX_PACKET_DESCRIPTORS)];
	struct cmsghdr align;
};

int clinux_packet_pair(int *ends)
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends);
}

long clinux_packet_send(int fd, const void *bytes, size_t length, const int *descriptors, int count)
{
	struct iovec vector = { .iov_base = (void *)bytes, .iov_len = length };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };
	union control control;
	struct cmsghdr *header;

	if (count < 0 || count > CLINUX_PACKET_DESCRIPTORS) {
		errno = EINVAL;
		return -1;
	}
	if (count > 0) {
		memset(&control, 0, sizeof(control));
		message.msg_control = control.room;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count);
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
		memcpy(CMSG_DATA(header), descriptors, sizeof(int) * (size_t)count);
	}
	return sendmsg(fd, &message, MSG_NOSIGNAL);
}

long clinux_packet_receive(int fd, void *bytes, size_t capacity, int *descriptors, int *count, int *truncated)
{
	struct iovec vector = { .iov_base = bytes, .iov_len = capacity };
	union control control;
	struct msghdr message = {
		.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room),
	};
	struct cmsghdr *header;
	ssize_t received;
	size_t found;

	*count = 0;
	*truncated = 0;
	received = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	if (received < 0)
		return -1;
	for (header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		/* The kernel puts all descriptors in one header, and never more than the room. */
		found = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(descriptors + *count, CMSG_DATA(header), found * sizeof(int));
		*count += (int)found;
	}
	if (message.msg_flags & MSG_TRUNC)
		*truncated |= CLINUX_TRUNCATED_DATA;
	if (message.msg_flags & MSG_CTRUNC)
		*truncated |= CLINUX_TRUNCATED_CONTROL;
	return received;
}

int clinux_memory_create(const char *name)
{
	return memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

int clinux_memory_seal(int fd)
{
	return fcntl(fd, F_ADD_SEALS, SEALS);
}

int clinux_memory_is_sealed(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0)
		return -1;
	return (seals & SEALS) == SEALS;
}
