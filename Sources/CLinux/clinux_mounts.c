/* SPDX-License-Identifier: Apache-2.0 */
#include "clinux_mounts.h"

#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mount.h>

int clinux_unshare_mounts(void)
{
	return unshare(CLONE_NEWNS);
}

int clinux_mount_slave(const char *path)
{
	return mount("", path, "none", MS_SLAVE | MS_REC, NULL);
}

int clinux_mount_sysfs(const char *path)
{
	/* EINVAL: nothing is mounted there. */
	if (umount2(path, MNT_DETACH) != 0 && errno != EINVAL)
		return -1;
	return mount("sysfs", path, "sysfs", 0, NULL);
}

int clinux_bind(const char *source, const char *target)
{
	return mount(source, target, "none", MS_BIND, NULL);
}
