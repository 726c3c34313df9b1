// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import Testing

@testable import ProxyProcess

/// What the filter says of system calls, by running its program here.
struct FilterTests {
    /// As the kernel runs it: struct seccomp_data is the memory. Answers with the returned word.
    private static func run(
        _ program: [SystemCallFilter.Instruction], number: UInt32, architecture: UInt32, arguments: [UInt64]
    ) -> UInt32? {
        var data = [UInt8](repeating: 0, count: 64)
        func store(_ value: some FixedWidthInteger, at offset: Int) {
            withUnsafeBytes(of: value.littleEndian) {
                for (index, byte) in $0.enumerated() { data[offset + index] = byte }
            }
        }
        store(number, at: 0)
        store(architecture, at: 4)
        for (index, argument) in arguments.enumerated() { store(argument, at: 16 + 8 * index) }
        var (accumulator, next) = (UInt32(0), 0)
        while next < program.count {
            let instruction = program[next]
            next += 1
            let holds: Bool
            switch instruction.code {
            case 0x20:
                accumulator = data.withUnsafeBytes {
                    $0.loadUnaligned(fromByteOffset: Int(instruction.k), as: UInt32.self)
                }
                continue
            case 0x06: return instruction.k
            case 0x15: holds = accumulator == instruction.k
            case 0x35: holds = accumulator >= instruction.k
            case 0x45: holds = accumulator & instruction.k != 0
            default: return nil
            }
            next += Int(holds ? instruction.jumpTrue : instruction.jumpFalse)
        }
        return nil
    }

    private static func verdict(_ call: String, _ arguments: [UInt64] = []) throws -> UInt32? {
        let program = try ProxyFilter.make().instructions
        // The second instruction compares the architecture.
        return run(
            program, number: try #require(SystemCallFilter.number(of: call), "\(call)"), architecture: program[1].k,
            arguments: arguments)
    }

    static let allow: UInt32 = 0x7fff_0000
    static let kill: UInt32 = 0x8000_0000
    static func fail(_ code: CInt) -> UInt32 { 0x5_0000 | UInt32(code) }

    static let table: [(call: String, arguments: [UInt64], verdict: UInt32)] = [
        ("read", [], allow), ("sendmsg", [], allow), ("accept4", [], allow), ("exit_group", [], allow),
        ("socket", [UInt64(AF_UNIX)], allow), ("socket", [UInt64(AF_INET)], fail(EPERM)),
        ("socket", [UInt64(AF_INET6)], fail(EPERM)), ("socket", [UInt64(AF_NETLINK)], fail(EPERM)),
        ("socket", [UInt64(AF_PACKET)], fail(EPERM)), ("socketpair", [UInt64(AF_UNIX)], allow),
        ("socketpair", [UInt64(AF_INET)], fail(EPERM)),
        // The kernel takes an int: what stands above it is nothing.
        ("socket", [0x1_0000_0000 | UInt64(AF_UNIX)], allow),
        ("mmap", [0, 4096, 3], allow), ("mmap", [0, 4096, 7], fail(EPERM)), ("mmap", [0, 4096, 4], fail(EPERM)),
        ("mprotect", [0, 4096, 5], fail(EPERM)), ("mprotect", [0, 4096, 1], allow),
        ("clone", [0x3d0f00], allow), ("clone", [17], fail(EPERM)), ("clone", [0x4000_0000], fail(EPERM)),
        ("clone3", [], fail(ENOSYS)), ("prctl", [15], allow), ("prctl", [0x5356_4d41], allow),
        ("prctl", [4, 1], fail(EPERM)), ("prctl", [22], fail(EPERM)),
        ("bind", [], fail(EPERM)), ("listen", [], fail(EPERM)), ("setuid", [], fail(EPERM)),
        ("capset", [], fail(EPERM)), ("dup3", [], fail(EPERM)),
    ]

    @Test(arguments: table) func eachCallHasItsVerdict(call: String, arguments: [UInt64], verdict: UInt32) throws {
        #expect(try Self.verdict(call, arguments) == verdict)
    }

    @Test func whatOnlyAnIntruderCallsKills() throws {
        for call in ProxyFilter.killing { #expect(try Self.verdict(call) == Self.kill, "\(call)") }
        for call in ["execve", "ptrace", "bpf", "mount", "setns", "unshare"] {
            #expect(ProxyFilter.killing.contains(call))
        }
    }

    @Test func anotherArchitectureKills() throws {
        let program = try ProxyFilter.make().instructions
        let read = try #require(SystemCallFilter.number(of: "read"))
        #expect(Self.run(program, number: read, architecture: program[1].k ^ 1, arguments: []) == Self.kill)
        #if arch(x86_64)
        // x32: another numbering under the same architecture.
        #expect(
            Self.run(program, number: read | 0x4000_0000, architecture: program[1].k, arguments: []) == Self.kill)
        #endif
        #expect(Self.run(program, number: 0xffff, architecture: program[1].k, arguments: []) != Self.allow)
    }

    @Test func aRuleForACallThatNobodyKnowsIsAnError() {
        #expect(throws: SystemError.self) {
            try SystemCallFilter([.init("reed")], otherwise: .kill).instructions.count
        }
    }
}
