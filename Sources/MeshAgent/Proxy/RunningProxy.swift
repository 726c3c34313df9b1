// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO

/// A proxy of a node that runs, whoever started it: proxies outlive their agents.
struct RunningProxy: Hashable, Sendable {
    let pid: pid_t

    /// Processes that one look takes in at most: what it costs is bounded on a node with very many.
    private static let limit = 65536

    /// Those whose command line says that they look for their agent at `socket`. One in another PID namespace is not
    /// seen.
    static func all(of socket: String) -> [RunningProxy] {
        guard let directory = opendir("/proc") else { return [] }
        defer { closedir(directory) }
        var found: [RunningProxy] = []
        var count = 0
        while count < limit, let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard let pid = pid_t(name) else { continue }
            count += 1
            if looks(pid, for: socket) { found.append(RunningProxy(pid: pid)) }
        }
        return found
    }

    private static func looks(_ pid: pid_t, for socket: String) -> Bool {
        guard let line = try? SmallFile.read("/proc/\(pid)/cmdline", limit: 65536) else { return false }
        let words = line.split(separator: 0, omittingEmptySubsequences: false)
        return zip(words, words.dropFirst()).contains {
            $0.elementsEqual("--agent-socket".utf8) && $1.elementsEqual(socket.utf8)
        }
    }

    /// Kills it, and waits for its end.
    ///
    /// - Returns: whether it has ended within two seconds.
    func end(socket: String) -> Bool {
        guard let process = try? ChildProcess(attachingTo: pid) else { return true }
        // The number may have become another process's before it was attached to.
        guard Self.looks(pid, for: socket) else { return true }
        process.signal(SIGKILL)
        var entry = pollfd(fd: process.descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, 2000) == 1
    }
}
