// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import Testing

/// Processes that somebody else has started.
@Suite struct ChildProcessTests {
    /// The process behind a socket, and no other that has its number since.
    @Test func theProcessBehindASocketCanBeKilled() throws {
        let path = "/tmp/mesh-peer-test-\(getpid()).sock"
        defer { unlink(path) }
        let listener = try UnixListener(path: path, group: getgid(), mode: 0o600, isForPackets: true)
        let child = try ChildProcess(
            starting: "/usr/bin/python3",
            arguments: [
                "-c",
                "import socket, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); "
                    + "s.connect('\(path)'); time.sleep(60)",
            ])
        let start = ContinuousClock.now
        while start.duration(to: .now) < .seconds(20) {
            guard let socket = try listener.acceptPacketSocket() else {
                usleep(1000)
                continue
            }
            let peer = try socket.peer()
            #expect(peer.process == child.pid)
            let process = try ChildProcess(peerOf: socket.descriptor, pid: peer.process)
            let isThere = process.signal(0)
            let isKilled = process.kill(waitingAtMost: .seconds(20))
            let status = child.reap()
            #expect(isThere && isKilled && status == 128 + SIGKILL)
            let isFine = process.signal(SIGKILL)
            #expect(isFine, "one that has ended")
            return
        }
        Issue.record("nobody has connected")
    }
}
