// SPDX-License-Identifier: Apache-2.0

/// The lines that differ between two texts, with three lines around each place, as diff -u prints them.
enum LineDiff {
    private static let context = 3

    private enum Line {
        case same(String)
        case removed(String)
        case added(String)

        var text: String {
            switch self {
            case .same(let line): " \(line)\n"
            case .removed(let line): "-\(line)\n"
            case .added(let line): "+\(line)\n"
            }
        }

        var isChange: Bool {
            if case .same = self { false } else { true }
        }
    }

    /// - Returns: the hunks without file names; empty if the texts are equal.
    static func unified(_ before: String, _ after: String) -> String {
        let lines = merged(split(before), split(after))
        let changed = lines.indices.filter { lines[$0].isChange }
        var text = ""
        var next = changed.startIndex
        while next < changed.endIndex {
            let first = max(0, changed[next] - context)
            var last = changed[next]
            while next < changed.endIndex, changed[next] <= last + 2 * context + 1 {
                last = changed[next]
                next += 1
            }
            last = min(lines.count - 1, last + context)
            text += header(lines, first, last)
            for line in lines[first...last] { text += line.text }
        }
        return text
    }

    private static func split(_ text: String) -> [String] {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        if lines.last == "" { lines.removeLast() }
        return lines
    }

    private static func merged(_ before: [String], _ after: [String]) -> [Line] {
        let difference = after.difference(from: before)
        var removed: Set<Int> = []
        var added: Set<Int> = []
        for change in difference {
            switch change {
            case .remove(let offset, _, _): removed.insert(offset)
            case .insert(let offset, _, _): added.insert(offset)
            }
        }
        var lines: [Line] = []
        var (old, new) = (0, 0)
        while old < before.count || new < after.count {
            if removed.contains(old) {
                lines.append(.removed(before[old]))
                old += 1
            } else if added.contains(new) {
                lines.append(.added(after[new]))
                new += 1
            } else {
                lines.append(.same(before[old]))
                old += 1
                new += 1
            }
        }
        return lines
    }

    private static func header(_ lines: [Line], _ first: Int, _ last: Int) -> String {
        func range(_ counts: (Line) -> Bool) -> String {
            let start = lines[..<first].count(where: counts)
            let count = lines[first...last].count(where: counts)
            return "\(count == 0 ? start : start + 1),\(count)"
        }
        let old = range { if case .added = $0 { false } else { true } }
        let new = range { if case .removed = $0 { false } else { true } }
        return "@@ -\(old) +\(new) @@\n"
    }
}
