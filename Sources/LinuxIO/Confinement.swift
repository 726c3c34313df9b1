// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// What a process gives up before it reads the first byte from a network, for good.
public enum Confinement {
    /// Descriptors that stay open besides standard input, output and error.
    ///
    /// Closes all others, whoever opened them: what is not there cannot be used.
    public static func closeDescriptors(except kept: [CInt]) throws(SystemError) {
        var first: UInt32 = 3
        for descriptor in kept.map({ UInt32($0) }).filter({ $0 >= 3 }).sorted() {
            try closeRange(first, through: Int64(descriptor) - 1)
            first = descriptor + 1
        }
        try closeRange(first, through: Int64(UInt32.max))
    }

    private static func closeRange(_ first: UInt32, through last: Int64) throws(SystemError) {
        guard last >= Int64(first) else { return }
        try SystemError.check("close_range") { clinux_close_range(first, UInt32(last)) }
    }

    /// Standard input and output lead nowhere; standard error stays, for the log.
    public static func detachStandardStreams() throws(SystemError) {
        let null = try OwnedDescriptor(open: "/dev/null", flags: O_RDWR)
        for stream in [STDIN_FILENO, STDOUT_FILENO] {
            try SystemError.check("dup2") { dup2(null.rawValue, stream) }
        }
    }

    /// Limits: open descriptors, within the hard limit that is there; no core dump, little locked memory:
    /// for keys.
    public static func setLimits(descriptors: UInt64) throws(SystemError) {
        try SystemError.check("setrlimit") { clinux_set_limits(descriptors) }
    }

    /// Becomes another user and group, without supplementary groups, and empties the bounding set on the way.
    ///
    /// - Precondition: neither is 0.
    /// - Throws: ``SystemError`` EPERM with a hint unless the caller has CAP_SETUID, CAP_SETGID and CAP_SETPCAP.
    public static func become(user: UInt32, group: UInt32) throws(SystemError) {
        precondition(user != 0 && group != 0, "root is what is given up")
        let hint = "needs CAP_SETUID, CAP_SETGID and CAP_SETPCAP, or to be started as that user"
        do throws(SystemError) {
            try SystemError.check("prctl(PR_CAPBSET_DROP)") { clinux_drop_bounding() }
            try SystemError.check("setresuid", "\(user):\(group)") { clinux_become(user, group) }
        } catch {
            throw SystemError(error.call, error.subject, errnoCode: error.errnoCode, hint: hint)
        }
    }

    /// Empties every set of capabilities of the calling thread; no program that it executes gets any (no_new_privs); no
    /// core dump, no tracing by its own user. Before other threads exist.
    public static func dropPrivileges() throws(SystemError) {
        try SystemError.check("capset") { clinux_drop_capabilities() }
        try SystemError.check("prctl(PR_SET_NO_NEW_PRIVS)") { clinux_lock_privileges() }
    }

    /// For a process that keeps its rights and holds keys: no core file, and no look into its memory but by root.
    public static func forbidDumps() throws(SystemError) {
        try SystemError.check("prctl(PR_SET_DUMPABLE)") { clinux_forbid_dumps() }
    }
}
