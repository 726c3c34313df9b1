/* SPDX-License-Identifier: Apache-2.0 */
/* Starting and watching processes by pidfd. All functions return -1 and errno on failure. */
#ifndef CLINUX_PROCESS_H
#define CLINUX_PROCESS_H

/*
 * Starts a program, from a process with one thread. The child gets the descriptors in inherited under their own
 * numbers, besides 0, 1 and 2, and no blocked signals.
 *
 * cgroup_fd: a cgroup v2 directory to start in, -1: the caller's. *pidfd: close-on-exec, readable when the child ends.
 * Returns the process id; -1 and the errno of clone3(2), or of execve(2) in the child, which is reaped then.
 */
int clinux_spawn(const char *path, char *const *arguments, char *const *environment, const int *inherited, int count,
		 int cgroup_fd, int *pidfd);

/* pidfd_open(2), Linux 5.3. */
int clinux_pidfd_open(int pid);
/* SO_PEERPIDFD, Linux 6.5: the process that connected a UNIX socket, or made the pair. ENOPROTOOPT before. */
int clinux_peer_pidfd(int socket);
/* pidfd_send_signal(2). EINVAL: the process is in a PID namespace that is neither the caller's nor below it. */
int clinux_pidfd_signal(int pidfd, int signal);
/*
 * Reaps a child. Returns 1 and its status (exit code, or 128 + signal), 0 if it has not ended; -1 and ECHILD if it is
 * no child of the caller.
 */
int clinux_pidfd_reap(int pidfd, int *status);

#endif /* CLINUX_PROCESS_H */
