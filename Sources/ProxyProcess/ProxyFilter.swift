// SPDX-License-Identifier: Apache-2.0

import Glibc
public import LinuxIO

/// The system calls of a proxy.
///
/// What it needs is small: its sockets come from others, and it opens no file after it has started. So no path is opened,
/// no process made, no namespace entered, no memory made executable; new sockets are of the machine only (AF_UNIX: to
/// find the next agent, and from worker to worker). What an intruder would need first, and nobody else, kills.
public enum ProxyFilter {
    /// Numbers of the flags that are looked at: sched.h (SCHED_IDLE, too), sys/mman.h, linux/prctl.h, fcntl.h.
    private static let cloneThread: UInt32 = 0x10000
    private static let protExec: UInt32 = 4
    private static let prSetName: UInt32 = 15
    private static let prSetVMA: UInt32 = 0x5356_4d41
    private static let schedIdle: UInt32 = 5
    private static let atEmptyPath: UInt32 = 0x1000

    /// The most frequent first: the kernel looks from the front.
    private static let allowed = [
        "epoll_wait", "epoll_pwait", "epoll_pwait2", "read", "write", "readv", "writev", "recvfrom", "sendto",
        "recvmsg",
        "sendmsg", "accept4", "epoll_ctl", "close", "futex", "connect", "shutdown", "getsockopt", "setsockopt",
        "getsockname", "getpeername", "fcntl", "eventfd2", "epoll_create1", "timerfd_create", "timerfd_settime",
        "signalfd4", "munmap", "mremap", "madvise", "mlock", "brk", "clock_gettime", "clock_getres", "clock_nanosleep",
        "nanosleep",
        "gettimeofday", "getpid", "gettid", "getuid", "geteuid", "getgid", "getegid", "tgkill", "getrandom", "fstat",
        "lseek", "pread64", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "exit", "exit_group",
        "poll", "ppoll", "getrusage", "sched_getaffinity", "sched_yield", "set_robust_list", "membarrier", "rseq",
        "restart_syscall", "uname",
    ]

    /// Calls that only an intruder makes.
    static let killing = [
        "execve", "execveat", "ptrace", "bpf", "mount", "umount2", "setns", "unshare", "pivot_root", "chroot",
        "init_module", "finit_module", "kexec_load", "process_vm_readv", "process_vm_writev", "perf_event_open",
        "keyctl", "open_by_handle_at", "reboot",
    ]

    /// All rules. A call that is in none of them fails with EPERM.
    public static let rules: [SystemCallFilter.Rule] =
        allowed.map { .init($0) } + [
            .init("mmap", when: .hasNoBits(argument: 2, protExec)),
            .init("mprotect", when: .hasNoBits(argument: 2, protExec)),
            // Threads only. The flags of clone3 are in memory, where a filter cannot look: the C library takes clone.
            .init("clone", when: .hasBits(argument: 0, cloneThread)),
            .init("clone3", .fail(ENOSYS)),
            .init("socket", when: .equals(argument: 0, UInt32(AF_UNIX))),
            .init("socketpair", when: .equals(argument: 0, UInt32(AF_UNIX))),
            .init("prctl", when: .equalsAny(argument: 0, [prSetName, prSetVMA])),
            // A thread takes itself back, for good.
            .init("sched_setscheduler", when: .equals(argument: 1, schedIdle)),
            // fstat(2) of the C library: of a descriptor, with an empty path.
            .init("newfstatat", when: .equals(argument: 3, atEmptyPath)),
        ] + killing.map { .init($0, .kill) }

    /// The filter for this architecture.
    public static func make() throws(SystemError) -> SystemCallFilter {
        try SystemCallFilter(rules, otherwise: .fail(EPERM))
    }
}
