// SPDX-License-Identifier: Apache-2.0

public import Glibc

/// A directory of the cgroup v2 hierarchy. The value is a name; it does not own the directory.
public struct Cgroup: Hashable, Sendable {
    /// Absolute path, without a trailing slash.
    public let path: String

    /// - Parameter path: absolute; the directory need not exist yet.
    public init(path: String) {
        self.path = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
    }

    /// The cgroup v2 of the process `pid`, below the hierarchy's mount point.
    ///
    /// - Throws: ``SystemError``: ENOENT or ESRCH if there is no such process; ENODATA if the hierarchy is not
    ///   mounted or the process is in no cgroup v2.
    public static func ofProcess(_ pid: pid_t) throws(SystemError) -> Cgroup {
        let file = "/proc/\(pid)/cgroup"
        let text = try SmallFile.readText(file)
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("0::/") }),
            let mount = try Mounts.current().cgroup2
        else { throw SystemError("read", file, errnoCode: ENODATA, hint: "no cgroup2 hierarchy is mounted") }
        let relative = line.dropFirst("0::".count)
        return Cgroup(path: relative == "/" ? mount : mount + relative)
    }

    /// Creates the cgroup and what is missing above it. One that exists already is left as it is.
    ///
    /// - Throws: ``SystemError``; EINVAL with a hint if the path is not in a cgroup v2 hierarchy.
    public func create() throws(SystemError) {
        guard Mounts.isOnCgroup2(nearestExistingDirectory) else {
            throw SystemError("mkdir", path, errnoCode: EINVAL, hint: "not in a cgroup v2 hierarchy")
        }
        try Mounts.makeDirectories(path, mode: 0o755)
    }

    /// Whether the directory is there.
    public var exists: Bool { access(path, F_OK) == 0 }

    /// Whether this cgroup is `other` or below it.
    public func isWithin(_ other: Cgroup) -> Bool {
        path == other.path || path.hasPrefix(other.path == "/" ? "/" : other.path + "/")
    }

    /// The inode number, which is the cgroup's id in BPF (`bpf_get_current_cgroup_id`).
    public func id() throws(SystemError) -> UInt64 {
        var status = stat()
        try SystemError.check("stat", path) { stat(path, &status) }
        return UInt64(status.st_ino)
    }

    /// Opens the directory, for attaching programs to it.
    public func open() throws(SystemError) -> OwnedDescriptor {
        try OwnedDescriptor(open: path, flags: O_RDONLY | O_DIRECTORY)
    }

    /// The cgroups directly below this one.
    public func children() throws(SystemError) -> [Cgroup] {
        guard let directory = opendir(path) else { throw SystemError("opendir", path, errnoCode: errno) }
        defer { closedir(directory) }
        var found: [Cgroup] = []
        while let entry = readdir(directory) {
            guard entry.pointee.d_type == UInt8(DT_DIR) else { continue }
            let name = withUnsafePointer(to: entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { found.append(Cgroup(path: "\(path)/\(name)")) }
        }
        return found
    }

    /// This cgroup and all below it, parents before children.
    public func subtree() throws(SystemError) -> [Cgroup] {
        var found = [self]
        var next = 0
        while next < found.count {
            do throws(SystemError) {
                found += try found[next].children()
            } catch  where error.errnoCode == ENOENT && next > 0 {
                // Removed by someone else while we walk: it has no children.
            }
            next += 1
        }
        return found
    }

    /// Processes of this cgroup, as this PID namespace numbers them; not those of cgroups below.
    public func processes() throws(SystemError) -> [pid_t] {
        try SmallFile.readText("\(path)/cgroup.procs").split(separator: "\n").compactMap { pid_t($0) }
    }

    /// Moves a process here, all of its threads. Sockets that it has open stay where they were created.
    ///
    /// - Throws: ``SystemError``; ESRCH if there is no such process.
    public func add(_ pid: pid_t) throws(SystemError) {
        try SmallFile.writeText("\(path)/cgroup.procs", "\(pid)")
    }

    /// Removes the cgroup and all below it; none may have processes. Absent is fine.
    ///
    /// - Throws: ``SystemError``; EBUSY with a hint that names the processes.
    public func remove() throws(SystemError) {
        guard exists else { return }
        for cgroup in try subtree().reversed() where rmdir(cgroup.path) != 0 && errno != ENOENT {
            let code = errno
            let processes = (try? cgroup.processes()) ?? []
            throw SystemError(
                "rmdir", cgroup.path, errnoCode: code,
                hint: processes.isEmpty ? nil : "still runs processes \(processes.prefix(8).map(String.init))")
        }
    }

    private var nearestExistingDirectory: String {
        var components = path.split(separator: "/")
        while !components.isEmpty {
            let candidate = "/" + components.joined(separator: "/")
            if access(candidate, F_OK) == 0 { return candidate }
            components.removeLast()
        }
        return "/"
    }
}
