/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into a process whose disk shall fail or be slow: fsync gives EIO while the file named by FAILING_FSYNC exists,
   and does not return while the one named by SLOW_FSYNC does. */
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int exists(const char *variable)
{
	const char *path = getenv(variable);

	return path && access(path, F_OK) == 0;
}

int fsync(int fd)
{
	while (exists("SLOW_FSYNC"))
		usleep(10000);
	if (exists("FAILING_FSYNC")) {
		errno = EIO;
		return -1;
	}
	return syscall(SYS_fsync, fd);
}
