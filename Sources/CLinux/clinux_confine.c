/* SPDX-License-Identifier: Apache-2.0 */
#include "clinux_confine.h"

#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(sizeof(struct clinux_filter) == sizeof(struct sock_filter), "layout of a filter instruction");
_Static_assert(offsetof(struct clinux_filter, k) == offsetof(struct sock_filter, k), "layout of a filter instruction");

#if defined(__x86_64__)
const uint32_t clinux_audit_arch = AUDIT_ARCH_X86_64;
const uint32_t clinux_foreign_calls = 0x40000000; /* __X32_SYSCALL_BIT */
#elif defined(__aarch64__)
const uint32_t clinux_audit_arch = AUDIT_ARCH_AARCH64;
const uint32_t clinux_foreign_calls = 0;
#else
#error "add the AUDIT_ARCH of this architecture"
#endif

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

#define CALL(name) { #name, SYS_##name }

static const struct clinux_call calls[] = {
	CALL(read), CALL(write), CALL(readv), CALL(writev), CALL(close), CALL(fcntl), CALL(fstat), CALL(lseek),
	CALL(pread64), CALL(mmap), CALL(mlock), CALL(munmap), CALL(mprotect), CALL(mremap), CALL(madvise), CALL(brk),
	CALL(futex), CALL(rt_sigaction), CALL(rt_sigprocmask), CALL(rt_sigreturn), CALL(sigaltstack), CALL(exit), CALL(exit_group),
	CALL(clock_gettime), CALL(clock_getres), CALL(clock_nanosleep), CALL(nanosleep), CALL(gettimeofday), CALL(getpid),
	CALL(gettid), CALL(getuid), CALL(geteuid), CALL(getgid), CALL(getegid), CALL(tgkill), CALL(getrandom), CALL(uname),
	CALL(epoll_create1), CALL(epoll_ctl), CALL(epoll_pwait), CALL(eventfd2), CALL(timerfd_create),
	CALL(timerfd_settime), CALL(signalfd4), CALL(recvmsg), CALL(sendmsg), CALL(recvfrom), CALL(sendto), CALL(accept4),
	CALL(getsockopt), CALL(setsockopt), CALL(getsockname), CALL(getpeername), CALL(shutdown), CALL(connect),
	CALL(socket), CALL(socketpair), CALL(bind), CALL(listen), CALL(ppoll), CALL(getrusage), CALL(sched_getaffinity),
	CALL(sched_setaffinity), CALL(sched_yield), CALL(sched_setscheduler), CALL(set_robust_list), CALL(membarrier), CALL(clone), CALL(clone3),
	CALL(restart_syscall),
	CALL(prctl), CALL(dup), CALL(dup3), CALL(execve), CALL(execveat), CALL(ptrace), CALL(bpf), CALL(mount), CALL(umount2),
	CALL(setns), CALL(unshare), CALL(pivot_root), CALL(chroot), CALL(init_module), CALL(finit_module),
	CALL(kexec_load), CALL(process_vm_readv), CALL(process_vm_writev), CALL(perf_event_open), CALL(keyctl),
	CALL(open_by_handle_at), CALL(setuid), CALL(setresuid), CALL(capset), CALL(reboot),
#ifdef SYS_rseq
	CALL(rseq),
#endif
#ifdef SYS_epoll_pwait2
	CALL(epoll_pwait2),
#endif
#ifdef SYS_newfstatat
	CALL(newfstatat),
#endif
#ifdef __x86_64__
	CALL(epoll_wait), CALL(poll), CALL(accept), CALL(dup2),
#endif
	{ NULL, -1 },
};

const struct clinux_call *clinux_calls_table(void)
{
	return calls;
}

int clinux_close_range(unsigned int first, unsigned int last)
{
	return (int)syscall(SYS_close_range, first, last, 0);
}

int clinux_drop_bounding(void)
{
	for (int capability = 0; capability < 64; capability++) {
		if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0)
			continue;
		/* EINVAL: this kernel has no more capabilities. */
		if (errno != EINVAL || capability == 0)
			return -1;
		break;
	}
	return prctl(PR_SET_SECUREBITS,
		     SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
			     SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED,
		     0, 0, 0);
}

int clinux_become(uint32_t user, uint32_t group)
{
	if (setgroups(0, NULL) < 0 || setresgid(group, group, group) < 0)
		return -1;
	return setresuid(user, user, user);
}

int clinux_drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2];

	memset(none, 0, sizeof(none));
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -1;
	return (int)syscall(SYS_capset, &header, none);
}

int clinux_lock_privileges(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

int clinux_set_limits(uint64_t descriptors)
{
	struct rlimit none = { 0, 0 };
	struct rlimit locked;
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return -1;
	if (files.rlim_max > descriptors)
		files.rlim_max = descriptors;
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0 || setrlimit(RLIMIT_CORE, &none) < 0)
		return -1;
	if (getrlimit(RLIMIT_MEMLOCK, &locked) < 0)
		return -1;
	if (locked.rlim_max > CLINUX_LOCKED_BYTES)
		locked.rlim_max = CLINUX_LOCKED_BYTES;
	locked.rlim_cur = locked.rlim_max;
	return setrlimit(RLIMIT_MEMLOCK, &locked);
}

int clinux_install_filter(const struct clinux_filter *instructions, int count)
{
	struct sock_fprog program = { .len = (unsigned short)count, .filter = (struct sock_filter *)instructions };

	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
}

int clinux_forbid_dumps(void)
{
	const struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_CORE, &none) != 0)
		return -1;
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

void clinux_keep_secret(void *memory, size_t bytes)
{
	(void)madvise(memory, bytes, MADV_DONTDUMP);
	(void)mlock(memory, bytes);
}
