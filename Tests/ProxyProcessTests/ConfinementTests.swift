// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import ProxyProcess
import Testing

/// What a confined process can do, tried by one. As root it also gives that up.
@Suite(.timeLimit(.minutes(1))) struct ConfinementTests {
    /// A program beside the test bundle, where the build puts both.
    private static func path(of program: String) throws -> String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        try #require(count > 0)
        let path = String(decoding: buffer.prefix(count).map(UInt8.init(bitPattern:)), as: UTF8.self)
        return "\(path[..<(try #require(path.lastIndex(of: "/")))])/\(program)"
    }

    /// - Returns: as a shell says it: 128 and the signal, if one killed it.
    private static func run(_ program: String, _ arguments: [String]) throws -> CInt {
        let child = try ChildProcess(starting: try path(of: program), arguments: arguments)
        var ready = pollfd(fd: child.descriptor, events: Int16(POLLIN), revents: 0)
        #expect(poll(&ready, 1, 50_000) == 1)
        let status = child.reap()
        return try #require(status)
    }

    static let tries: [(what: String, status: CInt)] = [
        ("nothing", 0), ("unix-socket", 0), ("memory", 0), ("thread", 0), ("loop", 0), ("serve", 0),
        ("inet-socket", EPERM), ("packet-socket", EPERM), ("open", EPERM), ("executable-memory", EPERM),
        ("spawn", EPERM), ("setuid", EPERM),
        ("execute", 128 + SIGSYS), ("chroot", 128 + SIGSYS), ("namespace", 128 + SIGSYS), ("mount", 128 + SIGSYS),
    ]

    @Test(arguments: tries) func aConfinedProcessCanDoWhatItNeedsAndNoMore(what: String, status: CInt) throws {
        #expect(try Self.run("confined-probe", [what]) == status)
    }

    @Test func aProgramThatIsNotThereIsNamed() {
        #expect(throws: SystemError("execve", "/absent", errnoCode: ENOENT)) {
            _ = try ChildProcess(starting: "/absent", arguments: []).pid
        }
    }

    @Test func theProxyRefusesRootAndMissingWords() throws {
        #expect(try Self.run("mesh-proxy", ["--agent-socket", "/run/none", "--user", "0"]) == 2)
        #expect(try Self.run("mesh-proxy", []) == 2)
        #expect(try Self.run("mesh-proxy", ["--fd", "99"]) == 1)
    }
}
