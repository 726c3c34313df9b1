// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// Turns the calling process into a process of a pod. For single-threaded programs that execute something afterwards:
/// namespaces belong to threads, and there is no way back.
public enum PodEntry {
    /// Enters the pod's cgroup, in which the mesh sees every socket that is made, and then its network namespace.
    ///
    /// - Parameter cookie: of the namespace that is meant: another one may have taken its path meanwhile.
    /// - Throws: ``SystemError``; ESTALE with a hint if the namespace is another one.
    public static func enter(cgroup: String, netns: String, cookie: UInt64) throws(SystemError) {
        let namespace = try NetworkNamespace(path: netns)
        // First the cgroup: a socket made between the two would be seen, the other way round it would not.
        // 0 is the writer itself, cgroup-v2.rst, "Processes".
        try SmallFile.writeText("\(cgroup)/cgroup.procs", "0")
        let raw = namespace.rawDescriptor
        try SystemError.check("setns(CLONE_NEWNET)", netns) { clinux_setns_net(raw) }
        let entered = try NetworkNamespace.currentCookie()
        guard entered == cookie else {
            throw SystemError(
                "setns(CLONE_NEWNET)", netns, errnoCode: ESTALE,
                hint: "the namespace was replaced (cookie \(entered), expected \(cookie)); try again")
        }
    }

    /// Gives the process mounts of its own: a /sys that shows the devices of its network namespace, and the files of
    /// `/etc/netns/NAME` over those of `/etc`, where NAME is the last part of the namespace's path. As ip-netns(8).
    public static func mountFiles(ofNamespace netns: String) throws(SystemError) {
        try SystemError.check("unshare(CLONE_NEWNS)") { clinux_unshare_mounts() }
        // What we mount must not appear outside; what others unmount outside must go here too.
        try SystemError.check("mount(MS_SLAVE)", "/") { clinux_mount_slave("/") }
        try SystemError.check("mount(sysfs)", "/sys") { clinux_mount_sysfs("/sys") }
        let directory = "/etc/netns/\(netns.split(separator: "/").last ?? "")"
        for name in names(in: directory) {
            try SystemError.check("mount(MS_BIND)", "/etc/\(name)") {
                clinux_bind("\(directory)/\(name)", "/etc/\(name)")
            }
        }
    }

    /// Gives up root: user, group, supplementary groups, and HOME, USER and LOGNAME.
    public static func become(_ user: Accounts.User) throws(SystemError) {
        try SystemError.check("initgroups", user.name) { initgroups(user.name, user.group) }
        try SystemError.check("setgid", user.name) { setgid(user.group) }
        try SystemError.check("setuid", user.name) { setuid(user.number) }
        for (name, value) in [("HOME", user.home), ("USER", user.name), ("LOGNAME", user.name)] {
            setenv(name, value, 1)
        }
    }

    /// Becomes the command, found on PATH.
    ///
    /// - Parameter command: the program and its arguments; not empty.
    /// - Returns: only on failure: why.
    public static func execute(_ command: [String]) -> SystemError {
        var arguments = command.map { strdup($0) }
        arguments.append(nil)
        execvp(command[0], arguments)
        let code = errno
        for argument in arguments { free(argument) }
        return SystemError("execvp", command[0], errnoCode: code)
    }

    private static func names(in directory: String) -> [String] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var found: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if !name.hasPrefix(".") { found.append(name) }
        }
        return found.sorted()
    }
}
