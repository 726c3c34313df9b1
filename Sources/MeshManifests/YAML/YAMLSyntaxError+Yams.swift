// SPDX-License-Identifier: Apache-2.0

import Yams

extension YAMLSyntaxError {
    /// What the YAML library says, with the line in the file instead of the line in the document.
    init(_ error: any Error, in document: YAMLDocument) {
        let offset = document.firstLine - 1
        switch error as? YamlError {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            var reason = problem
            if problem.hasPrefix("Maximum nesting level") {
                reason = "nested too deep"
            } else if let context, !context.text.isEmpty {
                reason += ", \(context.text)"
                if context.mark.line != mark.line { reason += " that begins on line \(context.mark.line + offset)" }
            }
            self.init(
                line: mark.line + offset, column: mark.column, reason: "not valid YAML: \(reason)",
                remedy: Self.remedy(problem: problem, document: document, line: mark.line, column: mark.column))
        case .reader(let problem, let characters, _, let text):
            // The library counts characters here. It fails on control characters; everything before is readable.
            let before = text.prefix(characters ?? 0)
            let (line, column) = text.position(atUTF8Offset: before.utf8.count)
            self.init(
                line: line + offset, column: column, reason: "not valid YAML: \(problem)",
                remedy: "remove the character, or write it as an escape in double quotes")
        case .duplicatedKeysInMapping(let keys, let context):
            let names = keys.map { "\"\($0.clipped)\"" }.joined(separator: ", ")
            self.init(
                line: context.mark.line + offset, column: context.mark.column,
                reason: "the key \(names) is given twice in one mapping", remedy: "remove one of the two")
        default:
            self.init(line: document.firstLine, column: 1, reason: "not valid YAML: \(error)")
        }
    }

    private static func remedy(problem: String, document: YAMLDocument, line: Int, column: Int) -> String {
        let lines = document.text.split(separator: "\n", omittingEmptySubsequences: false)
        let text = line >= 1 && line <= lines.count ? lines[line - 1] : ""
        if problem.contains("cannot start any token") {
            let next = text.unicodeScalars.dropFirst(column - 1).first
            if next == "\t" { return "indent with spaces; YAML allows no tabs" }
            if let next { return "put a value that begins with \(next) in quotes" }
        }
        if text.prefix(while: { $0 == " " || $0 == "\t" }).contains("\t") {
            return "indent with spaces; YAML allows no tabs"
        }
        if problem.contains("could not find expected ':'") { return "write it as key: value" }
        if problem.contains("mapping values are not allowed") {
            return "check the indentation, and put a value that contains \": \" in quotes"
        }
        if problem.contains("did not find expected key") || problem.contains("did not find expected '-' indicator") {
            return "check the indentation"
        }
        if problem.contains("another document") { return "separate documents by a line ---" }
        return ""
    }
}
