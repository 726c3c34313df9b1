/* SPDX-License-Identifier: Apache-2.0 */
#include "clinux_sandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <linux/veth.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef __WALL
#define __WALL 0x40000000
#endif
#ifndef CLONE_NEWNET
#define CLONE_NEWNET 0x40000000
#endif

struct outcome {
	int descriptor;
	int error;
};

int clinux_socket_in(int cgroup_fd, int netns_fd, int domain, int type, int protocol)
{
	struct clone_args arguments;
	struct outcome *outcome, result;
	int status;
	long child;

	outcome = mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (outcome == MAP_FAILED)
		return -1;
	outcome->descriptor = -1;
	outcome->error = ECHILD; /* stays if the child is killed before it says anything */

	memset(&arguments, 0, sizeof(arguments));
	/* No exit signal: a program that waits for its own children must not meet this one. */
	arguments.flags = CLONE_FILES | CLONE_INTO_CGROUP;
	arguments.cgroup = (uint64_t)cgroup_fd;
	child = syscall(SYS_clone3, &arguments, sizeof(arguments));
	if (child == 0) {
		if (syscall(SYS_setns, netns_fd, CLONE_NEWNET) == 0)
			outcome->descriptor = (int)syscall(SYS_socket, domain, type | SOCK_CLOEXEC, protocol);
		outcome->error = outcome->descriptor < 0 ? errno : 0;
		syscall(SYS_exit_group, 0);
		__builtin_unreachable();
	}
	if (child < 0) {
		result.descriptor = -1;
		result.error = errno;
	} else {
		while (waitpid((pid_t)child, &status, __WALL) < 0 && errno == EINTR)
			;
		result = *outcome;
	}
	munmap(outcome, sizeof(*outcome));
	if (result.descriptor < 0)
		errno = result.error;
	return result.descriptor;
}

/* A netlink request under construction; attributes are appended and nested in place. */
struct request {
	struct nlmsghdr header;
	struct ifinfomsg link;
	char attributes[256];
};

static void *append(struct request *request, unsigned short type, const void *data, size_t length)
{
	struct rtattr *attribute = (void *)((char *)request + NLMSG_ALIGN(request->header.nlmsg_len));

	attribute->rta_type = type;
	attribute->rta_len = (unsigned short)RTA_LENGTH(length);
	if (length)
		memcpy(RTA_DATA(attribute), data, length);
	request->header.nlmsg_len = NLMSG_ALIGN(request->header.nlmsg_len) + RTA_ALIGN(attribute->rta_len);
	return attribute;
}

static void end_nest(struct request *request, void *opened)
{
	struct rtattr *attribute = opened;

	attribute->rta_len = (unsigned short)((char *)request + request->header.nlmsg_len - (char *)opened);
}

int clinux_veth_create(const char *name, int peer_netns_fd)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		char rest[512];
	} answer;
	void *information, *data, *peer;
	struct ifinfomsg none;
	struct request request;
	size_t length = strlen(name) + 1;
	int fd, code = 0;
	ssize_t count;

	if (length > IFNAMSIZ) {
		errno = EINVAL;
		return -1;
	}
	memset(&request, 0, sizeof(request));
	memset(&none, 0, sizeof(none));
	request.header.nlmsg_len = NLMSG_LENGTH(sizeof(request.link));
	request.header.nlmsg_type = RTM_NEWLINK;
	request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK;
	append(&request, IFLA_IFNAME, name, length);
	information = append(&request, IFLA_LINKINFO, NULL, 0);
	append(&request, IFLA_INFO_KIND, "veth", sizeof("veth"));
	data = append(&request, IFLA_INFO_DATA, NULL, 0);
	peer = append(&request, VETH_INFO_PEER, &none, sizeof(none));
	append(&request, IFLA_IFNAME, name, length);
	append(&request, IFLA_NET_NS_FD, &peer_netns_fd, sizeof(peer_netns_fd));
	end_nest(&request, peer);
	end_nest(&request, data);
	end_nest(&request, information);

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return -1;
	if (sendto(fd, &request, request.header.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0) {
		code = errno;
	} else {
		/* The kernel has answered before sendto returns. */
		count = recv(fd, &answer, sizeof(answer), MSG_DONTWAIT);
		if (count < 0)
			code = errno;
		else if ((size_t)count < NLMSG_LENGTH(sizeof(int)) || answer.header.nlmsg_type != NLMSG_ERROR)
			code = EPROTO;
		else
			code = -answer.error.error;
	}
	close(fd);
	errno = code;
	return code ? -1 : 0;
}

int clinux_device_up(const char *name, uint32_t address, unsigned int prefix_length)
{
	struct sockaddr_in *slot;
	struct ifreq request;
	int fd, status = -1, code;

	if (strlen(name) >= IFNAMSIZ || prefix_length < 1 || prefix_length > 32) {
		errno = EINVAL;
		return -1;
	}
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	memset(&request, 0, sizeof(request));
	strcpy(request.ifr_name, name);
	slot = (struct sockaddr_in *)&request.ifr_addr;
	slot->sin_family = AF_INET;
	slot->sin_addr.s_addr = address;
	if (ioctl(fd, SIOCSIFADDR, &request) < 0)
		goto out;
	slot->sin_addr.s_addr = htonl(0xffffffffu << (32 - prefix_length));
	if (ioctl(fd, SIOCSIFNETMASK, &request) < 0)
		goto out;
	if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		goto out;
	request.ifr_flags |= IFF_UP;
	status = ioctl(fd, SIOCSIFFLAGS, &request);
out:
	code = errno;
	close(fd);
	errno = code;
	return status;
}
