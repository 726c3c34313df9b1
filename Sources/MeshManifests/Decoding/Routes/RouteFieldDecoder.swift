// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// Conditions on header fields and query parameters, and the fields of header modifiers.
struct RouteFieldDecoder {
    let unsupported: UnsupportedRouteSink

    /// `headers` or `queryParams` of a match.
    func matches(_ reader: FieldReader, ignoringCase: Bool, valueLimit: Int) -> [FieldMatch] {
        var names: Set<String> = []
        return reader.list(atMost: HTTPRouteDecoder.maximumFields).compactMap { field in
            guard let fields = field.object(strict: ["type", "name", "value"]) else { return nil }
            let type = fields["type"].map { $0.string(oneOf: ["Exact", "RegularExpression"]) } ?? "Exact"
            let name = fields.required("name").flatMap(Self.name)
            let value = fields.required("value").flatMap { reader -> String? in
                guard let value = reader.string() else { return nil }
                if value.isEmpty { reader.report("must not be empty") }
                if value.utf8.count > valueLimit {
                    reader.report("has \(value.utf8.count) characters; the limit is \(valueLimit)")
                }
                if type == "RegularExpression" { checkPattern(reader, value) }
                return value
            }
            guard let name, let value, let type else { return nil }
            if !names.insert(ignoringCase ? name.lowercased() : name).inserted {
                // The API server refuses equal names, and lets pass those that differ in case, which have no effect.
                fields["name"]?.report("\"\(name.clipped)\" is there twice; only the first would count")
            }
            return FieldMatch(name: name, value: type == "Exact" ? .exact(value) : .regularExpression(value))
        }
    }

    /// A pattern that the mesh cannot match is none of the API's errors: the API leaves the syntax open.
    func checkPattern(_ field: FieldReader, _ text: String) {
        do {
            _ = try RegexPattern(text)
        } catch {
            unsupported.report(
                field, .match, "the regular expression \"\(text.clipped)\" is not supported: \(error)",
                remedy: "docs/routing.md has the syntax")
        }
    }

    /// A header name, which names query parameters too.
    static func name(_ field: FieldReader) -> String? {
        guard let name = field.string() else { return nil }
        if let problem = RouteText.headerName(name) { field.report(problem) }
        return name
    }

    /// `requestHeaderModifier` or `responseHeaderModifier`.
    func modifier(_ reader: FieldReader) -> HeaderModifier? {
        guard let fields = reader.object(strict: ["set", "add", "remove"]) else { return nil }
        var names: Set<String> = []
        func accept(_ field: FieldReader?, _ name: String) {
            guard let field else { return }
            if !names.insert(name.lowercased()).inserted {
                field.report("\"\(name.clipped)\" has more than one action", remedy: "keep one of them")
            }
            if let problem = RouteText.reservedHeader(name) {
                unsupported.report(field, .action, problem.reason, remedy: problem.remedy)
            }
        }
        func lines(_ key: String) -> [HeaderField] {
            fields[key]?.list(atMost: HTTPRouteDecoder.maximumFields).compactMap { field in
                guard let line = field.object(strict: ["name", "value"]) else { return nil }
                let name = line.required("name").flatMap(Self.name)
                let value = line.required("value").flatMap { reader -> String? in
                    guard let value = reader.string() else { return nil }
                    if let problem = RouteText.headerValue(value) { reader.report(problem) }
                    return value
                }
                guard let name, let value else { return nil }
                accept(line["name"], name)
                return HeaderField(name, value)
            } ?? []
        }
        let set = lines("set")
        let add = lines("add")
        let remove =
            fields["remove"]?.list(atMost: HTTPRouteDecoder.maximumFields).compactMap { field -> String? in
                guard let name = Self.name(field) else { return nil }
                accept(field, name)
                return name
            } ?? []
        return HeaderModifier(set: set, add: add, remove: remove)
    }
}
