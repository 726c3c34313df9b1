/* SPDX-License-Identifier: Apache-2.0 */
#include "clinux_process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

/* Runs in the child until it is another program: system calls only, no lock of the C library may be needed. */
static void become(const char *path, char *const *arguments, char *const *environment, const int *inherited, int count,
		   int report)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	sigset_t none;
	int error;

	for (int number = 1; number < NSIG; number++)
		sigaction(number, &action, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int i = 0; i < count; i++) {
		if (fcntl(inherited[i], F_SETFD, 0) < 0)
			goto failed;
	}
	execve(path, arguments, environment);
failed:
	error = errno;
	(void)!write(report, &error, sizeof(error));
	_exit(127);
}

int clinux_spawn(const char *path, char *const *arguments, char *const *environment, const int *inherited, int count,
		 int cgroup_fd, int *pidfd)
{
	struct clone_args clone = { .flags = CLONE_PIDFD, .exit_signal = SIGCHLD, .pidfd = (uint64_t)(uintptr_t)pidfd };
	int report[2], error = 0;
	ssize_t got;
	long child;

	if (pipe2(report, O_CLOEXEC) < 0)
		return -1;
	if (cgroup_fd >= 0) {
		clone.flags |= CLONE_INTO_CGROUP;
		clone.cgroup = (uint64_t)cgroup_fd;
	}
	child = syscall(SYS_clone3, &clone, sizeof(clone));
	if (child == 0) {
		become(path, arguments, environment, inherited, count, report[1]);
		__builtin_unreachable();
	}
	if (child < 0) {
		error = errno;
		close(report[0]);
		close(report[1]);
		errno = error;
		return -1;
	}
	close(report[1]);
	do {
		got = read(report[0], &error, sizeof(error));
	} while (got < 0 && errno == EINTR);
	close(report[0]);
	if (got != sizeof(error))
		return (int)child;
	while (waitpid((pid_t)child, NULL, 0) < 0 && errno == EINTR)
		;
	close(*pidfd);
	errno = error;
	return -1;
}

int clinux_pidfd_open(int pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

int clinux_peer_pidfd(int socket)
{
	int pidfd = -1;
	socklen_t length = sizeof(pidfd);

	return getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &length) < 0 ? -1 : pidfd;
}

int clinux_pidfd_signal(int pidfd, int signal)
{
	return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

int clinux_pidfd_reap(int pidfd, int *status)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	if (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG) < 0)
		return -1;
	if (info.si_pid == 0)
		return 0;
	*status = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
	return 1;
}
