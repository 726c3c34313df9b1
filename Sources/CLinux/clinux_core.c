/* SPDX-License-Identifier: Apache-2.0 */
#include "clinux_core.h"

#include <linux/membarrier.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

const int clinux_membarrier_global_bit = MEMBARRIER_CMD_GLOBAL;

int clinux_setns_net(int fd)
{
	return setns(fd, CLONE_NEWNET);
}

int clinux_unshare_net(void)
{
	return unshare(CLONE_NEWNET);
}

int clinux_is_netns(int fd)
{
	int type = ioctl(fd, NS_GET_NSTYPE);

	if (type < 0)
		return -1;
	return type == CLONE_NEWNET;
}

int clinux_netns_cookie(int fd, uint64_t *cookie)
{
	socklen_t length = sizeof(*cookie);

	return getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, cookie, &length);
}

int clinux_mount_bpffs(const char *path)
{
	return mount("bpf", path, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700");
}

int clinux_membarrier_global(void)
{
	return (int)syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}

int clinux_membarrier_query(void)
{
	return (int)syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
}

int clinux_fs_magic(const char *path, uint64_t *magic)
{
	struct statfs status;

	if (statfs(path, &status) < 0)
		return -1;
	*magic = (uint64_t)(uint32_t)status.f_type;
	return 0;
}
