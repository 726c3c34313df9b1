// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import MeshAdmin
import Yams

/// What the user sees: answers on standard output, everything else on standard error.
enum Console {
    /// Writes all of it, unbuffered: whoever follows events sees each at once.
    static func write(_ text: String, to descriptor: CInt = STDOUT_FILENO) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            // The reader has gone; there is nobody left to tell.
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }

    /// Prints an answer in the form that was asked for.
    static func print<Value: Encodable>(
        _ value: Value, as format: OutputFormat, table: (Value) -> String
    ) throws(AdminError) {
        switch format {
        case .table: write(table(value))
        case .json: write(try json(value, pretty: true) + "\n")
        case .yaml: write(try yaml(value))
        }
    }

    /// JSON with the keys in alphabetical order.
    ///
    /// - Parameter pretty: over several lines; else one line.
    static func json(_ value: some Encodable, pretty: Bool) throws(AdminError) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        if pretty { encoder.outputFormatting.insert(.prettyPrinted) }
        do {
            return String(decoding: try encoder.encode(value), as: UTF8.self)
        } catch {
            throw AdminError(.failed, "cannot encode the answer as JSON: \(error)")
        }
    }

    static func yaml(_ value: some Encodable) throws(AdminError) -> String {
        do {
            return try YAMLEncoder().encode(value)
        } catch {
            throw AdminError(.failed, "cannot encode the answer as YAML: \(error)")
        }
    }

    /// `meshctl: MESSAGE`, the findings, and what to do, each on a line of its own.
    static func printError(_ error: AdminError) {
        write(describe(error), to: STDERR_FILENO)
    }

    static func describe(_ error: AdminError) -> String {
        var text = "meshctl: \(error.message)\n"
        for finding in error.findings { text += "  \(finding)\n" }
        if let hint = error.hint { text += "  hint: \(hint)\n" }
        return text
    }

    /// Findings that come with a success, on standard error.
    static func printFindings(_ findings: [Finding]) {
        write(findings.map { "\($0)\n" }.joined(), to: STDERR_FILENO)
    }

    static func isTerminal(_ descriptor: CInt) -> Bool { isatty(descriptor) == 1 }
}

/// A line on the terminal that says what is waited for, and goes away afterwards. Nothing without a terminal.
struct ProgressLine {
    private let isShown = Console.isTerminal(STDERR_FILENO)
    private var isDirty = false

    mutating func show(_ text: String) {
        guard isShown else { return }
        // Back to the start of the line, and erase it: ECMA-48, EL.
        Console.write("\r\u{1B}[K\(text)", to: STDERR_FILENO)
        isDirty = true
    }

    mutating func clear() {
        guard isDirty else { return }
        Console.write("\r\u{1B}[K", to: STDERR_FILENO)
        isDirty = false
    }
}
