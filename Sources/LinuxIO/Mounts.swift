// SPDX-License-Identifier: Apache-2.0

import CLinux
public import Glibc

/// One line of `/proc/self/mountinfo`.
/// https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
public struct Mount: Hashable, Sendable {
    /// The directory of the mounted file system that appears at ``path``; `/` if it is all of it.
    public let root: String
    /// Where it is mounted, as this process sees it.
    public let path: String
    /// `cgroup2`, `bpf`, `tmpfs` and so on.
    public let type: String

    /// - Returns: nil if `line` does not have the form that the manual page describes.
    public init?(mountInfoLine line: Substring) {
        let fields = line.split(separator: " ")
        // Optional fields stand between the sixth field and a lone hyphen.
        guard fields.count >= 9, let hyphen = fields.dropFirst(6).firstIndex(of: "-"), hyphen + 1 < fields.count
        else { return nil }
        self.root = Self.unescape(fields[3])
        self.path = Self.unescape(fields[4])
        self.type = String(fields[hyphen + 1])
    }

    /// Blank, tab, newline and backslash appear as `\` and three octal digits.
    private static func unescape(_ field: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(field.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\\"), rest.count >= 3,
                let code = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8)
            {
                bytes.append(code)
                rest.removeFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// The mounts of this process' mount namespace.
public struct Mounts: Sendable {
    /// In mount order; a later mount may hide an earlier one.
    public let all: [Mount]

    /// Parses text in the format of `/proc/self/mountinfo`; lines that do not parse are left out.
    public init(parsing text: String) {
        self.all = text.split(separator: "\n").compactMap(Mount.init(mountInfoLine:))
    }

    /// Reads the mounts as they are now.
    public static func current() throws(SystemError) -> Mounts {
        Mounts(parsing: try SmallFile.readText("/proc/self/mountinfo"))
    }

    /// Where the cgroup v2 hierarchy is mounted, its root for choice; nil if it is not mounted.
    public var cgroup2: String? {
        let candidates = all.filter { $0.type == "cgroup2" }
        return (candidates.last { $0.root == "/" } ?? candidates.last)?.path
    }

    /// Where bpf file systems are mounted.
    public var bpffs: [String] { all.filter { $0.type == "bpf" }.map(\.path) }

    /// Makes `directory` exist on a bpf file system, for pins.
    ///
    /// Creates the directory if its parent is on one already; else mounts a new bpf file system on
    /// `/sys/fs/bpf`, provided `directory` is there.
    ///
    /// - Throws: ``SystemError``; EINVAL with a hint if `directory` is on another file system.
    public static func ensureBPFFS(_ directory: String) throws(SystemError) {
        let standard = "/sys/fs/bpf"
        if directory == standard || directory.hasPrefix(standard + "/"), !isOnBPFFS(standard) {
            try SystemError.check("mount -t bpf", standard) { clinux_mount_bpffs(standard) }
        }
        try makeDirectories(directory, mode: 0o700)
        guard isOnBPFFS(directory) else {
            throw SystemError(
                "pin", directory, errnoCode: EINVAL,
                hint: "not on a bpf file system; mount one there with: mount -t bpf bpf \(directory)")
        }
    }

    /// Whether `path` exists and is on a bpf file system.
    public static func isOnBPFFS(_ path: String) -> Bool { magic(of: path) == UInt64(CLINUX_MAGIC_BPFFS) }

    /// Whether `path` exists and is a cgroup v2 directory or file.
    public static func isOnCgroup2(_ path: String) -> Bool { magic(of: path) == UInt64(CLINUX_MAGIC_CGROUP2) }

    /// Creates `path` and what is missing above it, as `mkdir -p`.
    public static func makeDirectories(_ path: String, mode: mode_t) throws(SystemError) {
        var prefix = ""
        for component in path.split(separator: "/") {
            prefix += "/\(component)"
            if mkdir(prefix, mode) == 0 { continue }
            // EROFS and EACCES hide EEXIST on some file systems: ask whether it is there.
            let code = errno
            var status = stat()
            guard stat(prefix, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
                throw SystemError("mkdir", prefix, errnoCode: code)
            }
        }
    }

    private static func magic(of path: String) -> UInt64? {
        var magic: UInt64 = 0
        return clinux_fs_magic(path, &magic) == 0 ? magic : nil
    }
}
