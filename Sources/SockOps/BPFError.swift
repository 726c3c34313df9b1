// SPDX-License-Identifier: Apache-2.0

import CLibBPF
import Glibc
public import LinuxIO

/// A BPF operation that libbpf or the kernel refused.
public struct BPFError: Error, Sendable, Hashable {
    /// What was tried; the raw value is the word of the message.
    public enum Operation: String, Sendable {
        case open, load, find, reuse, attach, detach, update, delete, pin, unpin, query, run, consume, start
        case lookUp = "look up"
        case iterate = "iterate over"
        case memoryMap = "mmap"
        /// A plain system call; the subject says which.
        case system = "system call"
    }

    /// What was tried.
    public let operation: Operation
    /// What it was done to, as an operator would say it: `map mesh_sockets`.
    public let subject: String
    /// The positive `errno` of the failed call, or one of libbpf's own codes from 4000 on.
    public let errnoCode: CInt
    /// What was found, where the errno alone does not tell.
    public let detail: String?
    /// The last lines that libbpf and the verifier wrote, oldest first; empty where they wrote nothing.
    public let log: [String]

    /// - Parameter errnoCode: with either sign: libbpf returns it negated.
    public init(
        _ operation: Operation, _ subject: String, errnoCode: CInt, detail: String? = nil, log: [String] = []
    ) {
        self.operation = operation
        self.subject = subject
        self.errnoCode = errnoCode < 0 ? -errnoCode : errnoCode
        self.detail = detail
        self.log = log
    }
}

extension BPFError: SystemErrorConvertible {
    /// Tells a failed system call as a BPF error, with the same text.
    public init(_ error: SystemError) {
        self.init(
            .system, error.subject.isEmpty ? error.call : "\(error.call) \(error.subject)",
            errnoCode: error.errnoCode, detail: error.hint)
    }
}

extension BPFError {
    /// Runs `body` and tells what it throws as a BPF error.
    static func telling<Value: ~Copyable>(_ body: () throws(SystemError) -> Value) throws(BPFError) -> Value {
        do throws(SystemError) { return try body() } catch { throw BPFError(error) }
    }
}

extension BPFError: CustomStringConvertible {
    /// One line, then the log indented by two blanks.
    public var description: String {
        let what = operation == .system ? subject : "\(operation.rawValue) \(subject)"
        var text = "\(what): \(Self.message(of: errnoCode))"
        let notes = [detail, remedy].compactMap { $0 }
        if !notes.isEmpty { text += " (\(notes.joined(separator: "; ")))" }
        for line in log { text += "\n  \(line)" }
        return text
    }

    /// What to do, for the refusals that have one usual cause; nil for the others.
    public var remedy: String? {
        switch (operation, errnoCode) {
        case (.load, EPERM), (.attach, EPERM), (.query, EPERM), (.open, EPERM), (.find, EPERM):
            "needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON: run as root"
        case (.load, EACCES), (.load, EINVAL): "the kernel's verifier refused it; see `meshctl check`"
        case (.load, ESRCH), (.load, 4002), (.load, ENOENT): "the kernel may lack BTF; see `meshctl check`"
        case (.update, E2BIG), (.update, ENOSPC): "the map is full; its size is in mesh_abi.h, see docs/limits.md"
        case (.update, ENOMEM), (.load, ENOMEM): "out of kernel memory, or over RLIMIT_MEMLOCK"
        case (.pin, EINVAL): "pins need a bpf file system: mount -t bpf bpf /sys/fs/bpf"
        default: nil
        }
    }

    private static func message(of code: CInt) -> String {
        // Both are outside what strerror knows.
        if code == 524 { return "not supported by this kernel (ENOTSUPP)" }
        guard code >= 4000 else { return SystemError.message(of: code) }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { buffer in
            guard let base = buffer.baseAddress else { return "libbpf error \(code)" }
            _ = libbpf_strerror(code, base, buffer.count)
            return String(cString: base)
        }
    }
}
