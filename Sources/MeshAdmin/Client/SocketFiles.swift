// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO

/// The admin sockets of this machine, and what it means that one cannot be reached.
public enum SocketFiles {
    /// Where agents put their sockets unless they are told otherwise.
    public static let directory = "/run/sockmesh"

    /// The socket of the agent of `node`.
    public static func path(node: String, directory: String = directory) -> String { "\(directory)/\(node).sock" }

    /// The socket files below `directory`, sorted; somebody need not listen on them.
    public static func existing(in directory: String = directory) -> [String] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var found: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.hasSuffix(".sock") { found.append("\(directory)/\(name)") }
        }
        return found.sorted()
    }

    /// The socket to talk to when the user named neither a socket nor a node.
    ///
    /// That of the node with the host's name; where that does not exist, the only one there is.
    public static func usual(hostname: String, in directory: String = directory) -> String {
        let usual = path(node: hostname.lowercased(), directory: directory)
        let existing = existing(in: directory)
        return existing.count == 1 && !existing.contains(usual) ? existing[0] : usual
    }

    /// Tells the user why `path` could not be connected to, and what to do.
    static func explain(_ error: SystemError, path: String) -> AdminError {
        switch error.errnoCode {
        case ENOENT:
            let directory = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
            let others = existing(in: directory.isEmpty ? "/" : directory)
            let hint =
                others.isEmpty
                ? "is mesh-agent running? start it, or say where its socket is with --socket"
                : "agents listen on \(others.joined(separator: ", ")); choose one with --node or --socket"
            return AdminError(.unreachable, "no agent: the socket \(path) does not exist", hint: hint)
        case ECONNREFUSED:
            return AdminError(
                .unreachable, "no agent listens on \(path): the one that made it has ended",
                hint: "start mesh-agent again; the kernel enforces the last policy meanwhile")
        case EACCES:
            var status = stat()
            let user = Accounts.nameFromFile(.users, number: geteuid()) ?? "uid \(geteuid())"
            guard stat(path, &status) == 0, status.st_mode & S_IWGRP != 0 else {
                return AdminError(
                    .permissionDenied, "user \(user) may not use \(path): only root may",
                    hint: "run it as root, or start mesh-agent with --admin-group")
            }
            let group = Accounts.nameFromFile(.groups, number: status.st_gid) ?? "gid \(status.st_gid)"
            return AdminError(
                .permissionDenied, "user \(user) may not use \(path): not a member of group \(group)",
                hint: "run it as root, or join the group (usermod -aG \(group) \(user)) and log in again")
        case EAGAIN:
            return AdminError(
                .busy, "the agent on \(path) does not accept connections", hint: "see its log; it may hang")
        default:
            return AdminError(.unreachable, "cannot reach the agent: \(error)")
        }
    }
}
