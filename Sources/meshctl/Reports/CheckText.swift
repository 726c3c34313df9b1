// SPDX-License-Identifier: Apache-2.0

import MeshAdmin

/// What was looked at, one line each, and below what is not well the thing to do.
enum CheckText {
    /// - Parameter all: also list what is well; else it is only counted.
    static func render(_ items: [CheckItem], all: Bool) -> String {
        let shown = all ? items : items.filter { $0.outcome != .passed }
        let passed = items.count { $0.outcome == .passed }
        let summary = "\(passed) of \(items.count) checks passed\(all ? "" : "; --all lists them").\n"
        guard !shown.isEmpty else { return summary }
        return render(shown) + "\n" + summary
    }

    static func render(_ items: [CheckItem]) -> String {
        var table = Table("RESULT", "CHECK", "FOUND")
        for item in items {
            table.add(word(item.outcome), item.name, item.detail)
            if let hint = item.hint, item.outcome != .passed { table.addContinuation("", "", "-> \(hint)") }
        }
        return table.rendered(empty: "Nothing was checked.")
    }

    private static func word(_ outcome: CheckItem.Outcome) -> String {
        switch outcome {
        case .passed: "ok"
        case .warning: "warning"
        case .failed: "FAILED"
        case .skipped: "skipped"
        }
    }
}
