/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounts of a process of its own. C: <sys/mount.h> is not part of Swift's Glibc module, and
 * CLONE_NEWNS needs _GNU_SOURCE. All functions return -1 and errno on failure.
 */
#ifndef CLINUX_MOUNTS_H
#define CLINUX_MOUNTS_H

/* unshare(2) with CLONE_NEWNS. */
int clinux_unshare_mounts(void);

/* Mounts below path get what happens outside, and give nothing back. */
int clinux_mount_slave(const char *path);

/* A sysfs of the current network namespace on path, instead of what is mounted there. */
int clinux_mount_sysfs(const char *path);

/* source also appears as target, which must exist. */
int clinux_bind(const char *source, const char *target);

#endif /* CLINUX_MOUNTS_H */
