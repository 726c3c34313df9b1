// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A file operation on the state directory or the configuration directory that the kernel refused.
public struct StateFileError: Error, Equatable, Sendable {
    /// As an operator would say it: `write`, `rename`, `read directory`.
    public let operation: String
    public let path: String
    /// The positive `errno` of the failed call.
    public let code: CInt

    public init(_ operation: String, _ path: String, code: CInt) {
        self.operation = operation
        self.path = path
        self.code = code
    }

    /// The result of a call that returns -1 on failure; retried when a signal interrupted it.
    static func check<Value: SignedInteger>(
        _ operation: String, _ path: String, _ call: () -> Value
    ) throws(StateFileError) -> Value {
        while true {
            let result = call()
            if result != -1 { return result }
            let code = errno
            if code != EINTR { throw StateFileError(operation, path, code: code) }
        }
    }
}

extension StateFileError: CustomStringConvertible {
    public var description: String {
        let cause = "\(operation) \(path): \(String(cString: strerror(code)))"
        return remedy.map { "\(cause) (\($0))" } ?? cause
    }

    /// The operation and what the kernel said, without the path.
    var cause: String { "\(operation): \(String(cString: strerror(code)))" }

    /// Advice for the refusals that have one usual cause.
    var remedy: String? {
        switch code {
        case EACCES, EPERM: "the agent must be able to read and write it: run as root, or change its owner"
        case EROFS: "the file system is read-only; choose another directory with --state-dir"
        case ENOSPC, EDQUOT: "no space left; free some"
        case ENOENT: "it does not exist"
        case EFBIG: "it is too large for a manifest; split it"
        case EISDIR: "it is a directory, not a file"
        case EINVAL: "it is not a regular file"
        case ELOOP: "a symbolic link leads back to itself"
        case ENOTDIR: "a part of the path is a file, not a directory"
        case EMFILE, ENFILE: "too many open files; raise the limit"
        default: nil
        }
    }
}
