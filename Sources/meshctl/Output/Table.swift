// SPDX-License-Identifier: Apache-2.0

/// Rows of text in aligned columns, two spaces apart.
struct Table {
    /// Columns are aligned to the left, but numbers to the right.
    struct Column {
        let title: String
        var isNumber = false
    }

    private let columns: [Column]
    private var rows: [[String]] = []

    /// - Parameter columns: titles; one that starts with `>` holds numbers.
    init(_ columns: String...) {
        self.columns = columns.map { title in
            title.hasPrefix(">") ? Column(title: String(title.dropFirst()), isNumber: true) : Column(title: title)
        }
    }

    var isEmpty: Bool { rows.isEmpty }

    /// - Parameter cells: one for each column; an empty one is printed as `-`.
    mutating func add(_ cells: String...) {
        precondition(cells.count == columns.count, "a row has \(cells.count) cells for \(columns.count) columns")
        rows.append(cells.map { $0.isEmpty ? "-" : $0 })
    }

    /// A row that belongs to the one before: empty cells stay empty.
    mutating func addContinuation(_ cells: String...) {
        precondition(cells.count == columns.count, "a row has \(cells.count) cells for \(columns.count) columns")
        rows.append(cells)
    }

    /// The table with its titles; `empty` if it has no rows.
    func rendered(empty: String) -> String {
        guard !rows.isEmpty else { return "\(empty)\n" }
        let lines = [columns.map(\.title)] + rows
        let widths = columns.indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
        return lines.map { line in
            let cells = columns.indices.map { column in
                let padding = String(repeating: " ", count: widths[column] - line[column].count)
                return columns[column].isNumber ? padding + line[column] : line[column] + padding
            }
            let text = cells.joined(separator: "  ")
            return text.trimmingTrailingSpaces + "\n"
        }.joined()
    }
}

/// Names and values below each other.
struct FieldList {
    private var fields: [(name: String, value: String)] = []

    mutating func add(_ name: String, _ value: String?) {
        if let value { fields.append((name, value)) }
    }

    func rendered() -> String {
        let width = fields.map(\.name.count).max() ?? 0
        return fields.map { field in
            field.name + String(repeating: " ", count: width - field.name.count + 2) + field.value + "\n"
        }.joined()
    }
}

extension String {
    fileprivate var trimmingTrailingSpaces: String {
        var text = self[...]
        while text.last == " " { text = text.dropLast() }
        return String(text)
    }
}
