// SPDX-License-Identifier: Apache-2.0

/// One value of a document on its way to becoming a field of an object.
///
/// Every method that cannot deliver what it is asked for reports why, with position and path, and returns `nil`; the
/// decoder goes on to the next field, so that one reading finds every mistake.
struct FieldReader {
    let node: ManifestNode
    let path: FieldPath
    let sink: ProblemSink

    /// Reports that this value is wrong.
    func report(_ reason: String, remedy: String = "", severity: ManifestError.Severity = .error) {
        sink.report(severity, at: node.position, field: path, reason, remedy: remedy)
    }

    /// Reports that the value has the wrong type. The remedy for a string that YAML reads otherwise is quotes.
    private func reportType(_ expected: String) {
        let remedy =
            switch (node.content, expected) {
            case (.bool, "a string"), (.integer, "a string"), (.otherNumber, "a string"):
                "put it in quotes: \"\(node.text)\""
            case (.string, "an integer") where Int64(node.text) != nil: "remove the quotes"
            case (.otherNumber, "an integer"): "write it in decimal, without leading zeros"
            case (.string, "a boolean"): "write true or false, without quotes"
            case (.mapping, "a list"), (.string, "a list"): "begin each element with \"- \""
            default: ""
            }
        report("must be \(expected), but is \(node.kindOfValue)", remedy: remedy)
    }

    // MARK: - Scalars

    func string() -> String? {
        if let string = node.string { return string }
        reportType("a string")
        return nil
    }

    /// A string that is one of `values`.
    func string(oneOf values: [String]) -> String? {
        guard let string = string() else { return nil }
        if values.contains(string) { return string }
        report("\"\(string.clipped)\" is not a known value", remedy: Suggestion.remedy(for: string, among: values))
        return nil
    }

    func bool() -> Bool? {
        if case .bool(let value) = node.content { return value }
        reportType("a boolean")
        return nil
    }

    func integer(in range: ClosedRange<Int64>) -> Int64? {
        guard case .integer(let value) = node.content else {
            reportType("an integer")
            return nil
        }
        guard range.contains(value) else {
            report("must be between \(range.lowerBound) and \(range.upperBound), but is \(value)")
            return nil
        }
        return value
    }

    /// A port number, 1 to 65535.
    func port() -> UInt16? {
        integer(in: 1...65535).map { UInt16($0) }
    }

    // MARK: - Collections

    /// The elements of a list; empty if the value is not a list, which is reported.
    func list(atMost limit: Int = 100_000) -> [FieldReader] {
        guard let elements = node.elements else {
            reportType("a list")
            return []
        }
        if elements.count > limit { report("has \(elements.count) elements; the limit is \(limit)") }
        return elements.prefix(limit).enumerated().compactMap { index, element in
            let reader = FieldReader(node: element, path: path.index(index), sink: sink)
            if element.isNull {
                reader.report("is empty", remedy: "remove the dash, or write {} for an empty element")
                return nil
            }
            return reader
        }
    }

    /// A list of strings.
    func strings() -> [String] {
        list().compactMap { $0.string() }
    }

    /// A mapping that may have only the fields in `known`; others are reported, with the nearest known name.
    func object(strict known: [String]) -> ObjectReader? {
        guard let object = object() else { return nil }
        for field in object.fields where !known.contains(field.key) {
            sink.report(
                at: field.keyPosition, field: path.key(field.key), "unknown field",
                remedy: Suggestion.remedy(for: field.key, among: known))
        }
        return object
    }

    /// A mapping that may have any fields: an object of Kubernetes of which we read a part.
    func object() -> ObjectReader? {
        guard let fields = node.fields else {
            reportType("a mapping")
            return nil
        }
        return ObjectReader(fields: fields, position: node.position, path: path, sink: sink)
    }

    /// A mapping of strings to strings: labels, annotations, selectors.
    func stringMap() -> [(key: FieldReader, value: String)] {
        guard let fields = node.fields else {
            reportType("a mapping")
            return []
        }
        return fields.compactMap { field in
            let fieldPath = path.key(field.key)
            // Kubernetes reads an empty value as an empty string here.
            let value =
                field.value.isNull
                ? "" : FieldReader(node: field.value, path: fieldPath, sink: sink).string()
            let key = ManifestNode(.string, text: field.key, position: field.keyPosition)
            return value.map { (FieldReader(node: key, path: fieldPath, sink: sink), $0) }
        }
    }
}

/// The fields of a mapping. A field that is `null` counts as absent, as in Kubernetes.
struct ObjectReader {
    let fields: [ManifestNode.Field]
    let position: ManifestNode.Position
    let path: FieldPath
    let sink: ProblemSink

    subscript(_ key: String) -> FieldReader? {
        guard let field = fields.first(where: { $0.key == key }), !field.value.isNull else { return nil }
        return FieldReader(node: field.value, path: path.key(key), sink: sink)
    }

    /// The field, which must be there.
    func required(_ key: String, remedy: String = "") -> FieldReader? {
        if let field = self[key] { return field }
        sink.report(at: position, field: path.key(key), "is required", remedy: remedy)
        return nil
    }

    /// True if the key is written, even with an empty value.
    func has(_ key: String) -> Bool {
        fields.contains { $0.key == key }
    }

    func report(_ reason: String, remedy: String = "", severity: ManifestError.Severity = .error) {
        sink.report(severity, at: position, field: path, reason, remedy: remedy)
    }
}
