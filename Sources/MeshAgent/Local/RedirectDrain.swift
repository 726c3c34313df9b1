// SPDX-License-Identifier: Apache-2.0

import CMeshABI
import Glibc
import LinuxIO
import SockOps

/// Waits until receivers have read what was redirected to them.
///
/// Redirected bytes live in the receiver's socket only as long as the sockhash does. With the kill switch on, none
/// are added; when the receivers have read theirs, the sockhash can go without loss.
enum RedirectDrain {
    /// What a receiver has not read after this time is given up: it may never read.
    private static let patience = Duration.seconds(10)

    /// - Returns: the number of sockets that still had unread bytes when time was up.
    static func wait(_ maps: borrowing MeshMaps) throws(BPFError) -> Int {
        let start = ContinuousClock.now
        while true {
            let unread = try unreadSockets(maps)
            if unread == 0 || ContinuousClock.now - start > patience { return unread }
            usleep(10_000)
        }
    }

    private static func unreadSockets(_ maps: borrowing MeshMaps) throws(BPFError) -> Int {
        var members: [UInt64: Set<UInt64>] = [:]
        try maps.ends.forEach { key, end in
            let connection = ConnectionEnd(key: key, end: end)
            if connection.isMember, !connection.isClosed { members[end.netns, default: []].insert(end.cookie) }
        }
        guard !members.isEmpty else { return 0 }
        var unread = 0
        for pid in processes() {
            guard !members.isEmpty else { break }
            // A process that has gone meanwhile has no sockets to drain.
            guard let namespace = try? NetworkNamespace(process: pid), let cookie = try? namespace.cookie(),
                let cookies = members.removeValue(forKey: cookie)
            else { continue }
            do throws(SystemError) {
                unread += try namespace.run { () throws(SystemError) -> Int in
                    var count = 0
                    try SockDiag().forEach(.tcp) { socket in
                        // Without a file no process can read any more.
                        if cookies.contains(socket.cookie), socket.receiveMemory > 0, socket.inode != 0 { count += 1 }
                    }
                    return count
                }
            } catch {
                throw BPFError(error)
            }
        }
        return unread
    }

    /// How many of these sockets may have unread bytes: those that have some, and those that no process's namespace
    /// shows, of which nothing is known.
    ///
    /// - Parameter cookies: of sockets that are members of a sockhash, so not closed.
    static func undrained(_ cookies: Set<UInt64>) -> Int {
        var left = cookies
        for pid in processes() {
            guard !left.isEmpty else { break }
            // What cannot be looked into counts as undrained, and is looked into the next time.
            guard let namespace = try? NetworkNamespace(process: pid) else { continue }
            let drained = try? namespace.run { () throws(SystemError) -> [UInt64] in
                var drained: [UInt64] = []
                try SockDiag().forEach(.tcp) { if $0.receiveMemory == 0 { drained.append($0.cookie) } }
                return drained
            }
            left.subtract(drained ?? [])
        }
        return left.count
    }

    /// One process of each network namespace.
    private static func processes() -> [pid_t] {
        var found: [UInt64: pid_t] = [:]
        for pid in ProcessTable.all() {
            var status = stat()
            if stat("/proc/\(pid)/ns/net", &status) == 0 { found[UInt64(status.st_ino)] = pid }
        }
        return Array(found.values)
    }
}
