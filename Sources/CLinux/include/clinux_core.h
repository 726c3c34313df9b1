/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Namespaces, mounts and barriers. All functions return like the system call
 * they wrap: -1 and errno on failure.
 */
#ifndef CLINUX_CORE_H
#define CLINUX_CORE_H

#include <stdint.h>

/* setns(2) with CLONE_NEWNET; C because <sched.h> hides it without _GNU_SOURCE, which Swift cannot define. */
int clinux_setns_net(int fd);

/* unshare(2) with CLONE_NEWNET; C for the same reason. */
int clinux_unshare_net(void);

/* 1 if fd is a network namespace, 0 if it is another kind of namespace; -1 with ENOTTY if it is none. C: variadic ioctl. */
int clinux_is_netns(int fd);

/* The cookie of the network namespace of socket fd (SO_NETNS_COOKIE, Linux 5.14). C: absent from Debian 11's headers. */
int clinux_netns_cookie(int fd, uint64_t *cookie);

/* Mounts a bpf file system on path. C: <sys/mount.h> is not part of Swift's Glibc module. */
int clinux_mount_bpffs(const char *path);

/* Ends when every thread has passed a quiescent state: synchronize_rcu. C: membarrier(2) has no libc wrapper. */
int clinux_membarrier_global(void);

/* The bit mask of supported membarrier(2) commands. */
int clinux_membarrier_query(void);

/* MEMBARRIER_CMD_GLOBAL, as it appears in the mask of clinux_membarrier_query. */
extern const int clinux_membarrier_global_bit;

/* The magic number of the file system that holds path (statfs.f_type). C: <sys/vfs.h> is not in Swift's Glibc module. */
int clinux_fs_magic(const char *path, uint64_t *magic);

#define CLINUX_MAGIC_BPFFS 0xcafe4a11u
#define CLINUX_MAGIC_CGROUP2 0x63677270u

#endif /* CLINUX_CORE_H */
