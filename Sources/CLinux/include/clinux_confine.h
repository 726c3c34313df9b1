/* SPDX-License-Identifier: Apache-2.0 */
/* What a process gives up for good. All functions return -1 and errno on failure. */
#ifndef CLINUX_CONFINE_H
#define CLINUX_CONFINE_H

#include <stddef.h>
#include <stdint.h>

/* An instruction of classic BPF, as struct sock_filter. C: <linux/filter.h> is not in Swift's Glibc module. */
struct clinux_filter {
	uint16_t code;
	uint8_t jump_true;
	uint8_t jump_false;
	uint32_t k;
};

/* AUDIT_ARCH_* of this program, as seccomp(2) reports it. */
extern const uint32_t clinux_audit_arch;
/* Numbers of system calls from this on are of another ABI (x32); 0 where there is none. */
extern const uint32_t clinux_foreign_calls;

/* A system call of this architecture. */
struct clinux_call {
	const char *name;
	int number;
};
/* Every system call that the filters of this project name and this architecture has; ends with name NULL. */
const struct clinux_call *clinux_calls_table(void);

/* Closes every descriptor from first to last (close_range(2), Linux 5.9). */
int clinux_close_range(unsigned int first, unsigned int last);
/* Removes every capability from the bounding set, and locks securebits so that user 0 means nothing. For root. */
int clinux_drop_bounding(void);
/* Group and user with no supplementary groups, real, effective and saved. */
int clinux_become(uint32_t user, uint32_t group);
/* Empties the permitted, effective, inheritable and ambient sets. */
int clinux_drop_capabilities(void);
/* PR_SET_NO_NEW_PRIVS, and PR_SET_DUMPABLE 0: no core dump, no ptrace by its own user. */
int clinux_lock_privileges(void);
/* Most bytes that a confined process may lock: OpenSSL's memory for keys, and buffers through which keys come. */
#define CLINUX_LOCKED_BYTES (8u << 20)
/* At most this many open descriptors, and no more than the hard limit that is there; core size 0, and
 * at most CLINUX_LOCKED_BYTES of locked memory. */
int clinux_set_limits(uint64_t descriptors);
/* No core file of this process, and no look into its memory by anybody but root: RLIMIT_CORE, PR_SET_DUMPABLE. */
int clinux_forbid_dumps(void);
/*
 * Keeps whole pages out of core files and, where the limit allows it, in memory (madvise(2) MADV_DONTDUMP, mlock(2)). C:
 * MADV_DONTDUMP needs _DEFAULT_SOURCE.
 */
void clinux_keep_secret(void *memory, size_t bytes);
/* Installs a filter in every thread (seccomp(2), SECCOMP_FILTER_FLAG_TSYNC). */
int clinux_install_filter(const struct clinux_filter *instructions, int count);

#endif /* CLINUX_CONFINE_H */
