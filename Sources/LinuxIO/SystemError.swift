// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A system call that the kernel refused.
public struct SystemError: Error, Sendable, Hashable {
    /// The call, as its manual page names it: `setns(CLONE_NEWNET)`.
    public let call: String
    /// What it was done to: a path, a device, an address. Empty if the call has no object.
    public let subject: String
    /// The positive `errno` of the failed call.
    public let errnoCode: CInt
    /// What went wrong or what to do, where the errno alone does not tell; nil if it does.
    public let hint: String?

    /// - Parameter errnoCode: positive; read `errno` before anything else is called.
    public init(_ call: String, _ subject: String = "", errnoCode: CInt, hint: String? = nil) {
        self.call = call
        self.subject = subject
        self.errnoCode = errnoCode
        self.hint = hint
    }
}

extension SystemError: CustomStringConvertible {
    public var description: String {
        var text = call
        if !subject.isEmpty { text += " \(subject)" }
        text += ": \(Self.message(of: errnoCode))"
        if let hint { text += " (\(hint))" }
        return text
    }

    /// The text of an errno, as strerror(3) gives it.
    public static func message(of errnoCode: CInt) -> String {
        // strerror's buffer is shared by all threads; the reentrant form is not.
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { buffer in
            guard let base = buffer.baseAddress, strerror_r(errnoCode, base, buffer.count) == 0 else {
                return "errno \(errnoCode)"
            }
            return String(cString: base)
        }
    }
}

extension SystemError {
    /// The gate that every system call passes: repeats it on EINTR, turns -1 into an error.
    ///
    /// close(2) and connect(2) must not go through here: neither may be repeated after EINTR.
    ///
    /// - Parameters:
    ///   - call: name of the call for the error message.
    ///   - subject: what it is done to; only evaluated on failure.
    /// - Returns: what `body` returned, never -1.
    @discardableResult
    public static func check<Value: SignedInteger>(
        _ call: String, _ subject: @autoclosure () -> String = "", _ body: () -> Value
    ) throws(SystemError) -> Value {
        while true {
            let value = body()
            guard value == -1 else { return value }
            // Before anything else: every call below may change errno.
            let code = errno
            if code == EINTR { continue }
            throw SystemError(call, subject(), errnoCode: code)
        }
    }
}

/// An error type that a ``SystemError`` can be told as.
///
/// Lets a function that makes system calls on behalf of a body throw the body's own error type.
public protocol SystemErrorConvertible: Error {
    /// Tells `error` in this type's terms.
    init(_ error: SystemError)
}

extension SystemError: SystemErrorConvertible {
    /// The error itself.
    public init(_ error: SystemError) { self = error }
}
