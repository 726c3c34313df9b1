/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into a process whose disk shall fail: fsync gives EIO while the file named by FAILING_FSYNC exists. */
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int fsync(int fd)
{
	if (access(getenv("FAILING_FSYNC"), F_OK) == 0) {
		errno = EIO;
		return -1;
	}
	return syscall(SYS_fsync, fd);
}
