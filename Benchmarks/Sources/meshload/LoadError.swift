// SPDX-License-Identifier: Apache-2.0
import Glibc

/// What stopped the tool, in words for the person who started it.
struct LoadError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }

    /// The system call that failed just now, with the text of `errno`.
    init(call: String) {
        let code = errno
        self.init("\(call): \(String(cString: strerror(code))) (errno \(code))")
    }
}

/// Writes one line to standard error, in one piece.
func complain(_ message: String) {
    let line = "meshload: \(message)\n"
    _ = line.utf8.withContiguousStorageIfAvailable { write(STDERR_FILENO, $0.baseAddress, $0.count) }
}

/// Writes one line to standard output, in one piece and at once.
func announce(_ line: String) {
    _ = (line + "\n").utf8.withContiguousStorageIfAvailable { write(STDOUT_FILENO, $0.baseAddress, $0.count) }
}
