// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import Testing

@testable import MeshAgent

@Suite(.serialized, .timeLimit(.minutes(1))) struct RunningProxyTests {
    /// A shell that calls itself a proxy of `socket`, and waits until it is killed.
    private static func start(_ socket: String) throws -> pid_t {
        let child = try ChildProcess(
            starting: "/bin/sh",
            arguments: ["-c", "kill -STOP $$", "mesh-proxy", "--fd", "9", "--agent-socket", socket, "--user", "1"])
        return child.pid
    }

    @Test func thoseOfOneSocketAreFoundAndEnded() throws {
        let socket = "/tmp/running-proxy-\(getpid()).sock"
        #expect(RunningProxy.all(of: socket).isEmpty)
        let (own, other) = (try Self.start(socket), try Self.start("\(socket)2"))
        defer {
            kill(other, SIGKILL)
            for pid in [own, other] { waitpid(pid, nil, 0) }
        }
        let found = RunningProxy.all(of: socket)
        #expect(found == [RunningProxy(pid: own)])
        #expect(found.allSatisfy { $0.end(socket: socket) })
        #expect(RunningProxy.all(of: socket).isEmpty)
        #expect(RunningProxy.all(of: "\(socket)2") == [RunningProxy(pid: other)])
        // A number that means another process now is left alone.
        #expect(RunningProxy(pid: other).end(socket: socket))
        #expect(RunningProxy.all(of: "\(socket)2") == [RunningProxy(pid: other)])
    }
}
