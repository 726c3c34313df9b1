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
        ProcessTable.all(atMost: limit).filter { looks($0, for: socket) }.map(RunningProxy.init)
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
        return process.kill(waitingAtMost: .seconds(2))
    }
}
