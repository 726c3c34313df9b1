// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// A list of the system calls that a process may make, as a program of classic BPF (seccomp(2)).
///
/// It is assembled here, because what it must say is small: compare the number of the call, and for a few calls one
/// argument. Instructions: https://docs.kernel.org/networking/filter.html, struct seccomp_data: linux/seccomp.h.
public struct SystemCallFilter: Sendable {
    /// What becomes of a call.
    public enum Verdict: Hashable, Sendable {
        case allow
        /// It fails with this errno.
        case fail(CInt)
        /// The process is killed (SIGSYS): nothing of ours makes this call.
        case kill

        /// SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS of linux/seccomp.h.
        var code: UInt32 {
            switch self {
            case .allow: 0x7fff_0000
            case .fail(let errno): 0x0005_0000 | UInt32(errno) & 0xffff
            case .kill: 0x8000_0000
            }
        }
    }

    /// A condition on the low 32 bits of an argument, counted from 0.
    public enum Condition: Hashable, Sendable {
        case always
        case equals(argument: Int, UInt32)
        case equalsAny(argument: Int, [UInt32])
        case hasBits(argument: Int, UInt32)
        case hasNoBits(argument: Int, UInt32)
    }

    /// The first rule for a call whose condition holds decides.
    public struct Rule: Hashable, Sendable {
        public var call: String
        public var condition: Condition
        public var verdict: Verdict

        public init(_ call: String, when condition: Condition = .always, _ verdict: Verdict = .allow) {
            self.call = call
            self.condition = condition
            self.verdict = verdict
        }
    }

    /// One instruction, as `struct sock_filter`.
    public struct Instruction: Hashable, Sendable {
        public let code: UInt16
        public let jumpTrue: UInt8
        public let jumpFalse: UInt8
        public let k: UInt32

        init(_ code: UInt16, _ k: UInt32, true jumpTrue: UInt8 = 0, false jumpFalse: UInt8 = 0) {
            self.code = code
            self.k = k
            self.jumpTrue = jumpTrue
            self.jumpFalse = jumpFalse
        }
    }

    public let instructions: [Instruction]

    // BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, |BPF_JGE|, |BPF_JSET|, BPF_RET|BPF_K of linux/bpf_common.h.
    private static let load: UInt16 = 0x20
    private static let equal: UInt16 = 0x15
    private static let greaterOrEqual: UInt16 = 0x35
    private static let bits: UInt16 = 0x45
    private static let give: UInt16 = 0x06

    /// Offsets in struct seccomp_data: `nr`, `arch`, the low half of `args[n]` on a little-endian machine.
    private static let numberOffset: UInt32 = 0
    private static let architectureOffset: UInt32 = 4
    private static func argumentOffset(_ index: Int) -> UInt32 { 16 + 8 * UInt32(index) }

    /// - Parameters:
    ///   - rules: frequent calls first. A call that this architecture does not have is passed over.
    ///   - otherwise: for calls without a rule that holds.
    /// - Throws: ``SystemError`` EINVAL naming a call that is not in the table of CLinux.
    public init(_ rules: [Rule], otherwise: Verdict) throws(SystemError) {
        var program = [
            Instruction(Self.load, Self.architectureOffset),
            Instruction(Self.equal, clinux_audit_arch, true: 1),
            Instruction(Self.give, Verdict.kill.code),
            Instruction(Self.load, Self.numberOffset),
        ]
        if clinux_foreign_calls != 0 {
            program.append(Instruction(Self.greaterOrEqual, clinux_foreign_calls, false: 1))
            program.append(Instruction(Self.give, Verdict.kill.code))
        }
        for rule in rules {
            guard let number = Self.numbers[rule.call] else {
                guard Self.callsOfOneArchitecture.contains(rule.call) else {
                    throw SystemError(
                        "seccomp", rule.call, errnoCode: EINVAL, hint: "no such call in clinux_confine.c; add it")
                }
                continue
            }
            let body = Self.body(of: rule)
            // A jump reaches 255 instructions, a body has at most a few.
            program.append(Instruction(Self.equal, number, false: UInt8(body.count)))
            program += body
        }
        program.append(Instruction(Self.give, otherwise.code))
        // BPF_MAXINSNS of linux/bpf_common.h.
        guard program.count <= 4096 else { throw SystemError("seccomp", errnoCode: E2BIG) }
        instructions = program
    }

    /// What follows when the number of the call is that of the rule: ends by returning, or with the number loaded again.
    private static func body(of rule: Rule) -> [Instruction] {
        let result = Instruction(give, rule.verdict.code)
        let again = Instruction(load, numberOffset)
        func argument(_ index: Int, _ code: UInt16, _ value: UInt32, isNegated: Bool = false) -> [Instruction] {
            let test =
                isNegated
                ? Instruction(code, value, true: 1, false: 0) : Instruction(code, value, true: 0, false: 1)
            return [Instruction(load, argumentOffset(index)), test, result, again]
        }
        switch rule.condition {
        case .always: return [result]
        case .equals(let index, let value): return argument(index, equal, value)
        case .equalsAny(let index, let values):
            return values.flatMap { argument(index, equal, $0) }
        case .hasBits(let index, let mask): return argument(index, bits, mask)
        case .hasNoBits(let index, let mask): return argument(index, bits, mask, isNegated: true)
        }
    }

    /// Installs it in every thread of the process, for good. Needs no_new_privs.
    public func install() throws(SystemError) {
        let program = instructions.map {
            clinux_filter(code: $0.code, jump_true: $0.jumpTrue, jump_false: $0.jumpFalse, k: $0.k)
        }
        try SystemError.check("seccomp(SECCOMP_SET_MODE_FILTER)") { () -> CInt in
            let status = clinux_install_filter(program, CInt(program.count))
            // The id of a thread that could not be given the filter.
            guard status > 0 else { return status }
            errno = EBUSY
            return -1
        }
    }

    /// The number of a call on this architecture; `nil` if it has none, or the table does not name it.
    public static func number(of call: String) -> UInt32? { numbers[call] }

    private static let numbers: [String: UInt32] = {
        var table: [String: UInt32] = [:]
        var next = clinux_calls_table()
        while let entry = next, let name = entry.pointee.name {
            table[String(cString: name)] = UInt32(entry.pointee.number)
            next = entry + 1
        }
        return table
    }()

    /// Calls that only some architectures, or newer headers, have.
    private static let callsOfOneArchitecture: Set<String> = [
        "epoll_wait", "poll", "accept", "dup2", "rseq", "epoll_pwait2", "newfstatat",
    ]
}
