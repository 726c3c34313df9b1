// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// One change that `meshctl` made: what each object was before, and what it is after.
public struct StateGeneration: Hashable, Sendable {
    public struct Change: Hashable, Sendable {
        public let reference: ObjectReference
        /// The text of the object; `nil` if it was not there.
        public let before: String?
        /// `nil` if it was deleted.
        public let after: String?

        public init(reference: ObjectReference, before: String?, after: String?) {
            self.reference = reference
            self.before = before
            self.after = after
        }
    }

    /// Counted from 1.
    public let number: UInt64
    /// When, as seconds since 1970.
    public let time: Int64
    /// Who and what, for people: `uid 0: apply web.yaml`.
    public let summary: String
    public let changes: [Change]

    public init(number: UInt64, time: Int64, summary: String, changes: [Change]) {
        self.number = number
        self.time = time
        self.summary = summary
        self.changes = changes
    }
}

extension StateGeneration {
    /// Our own files may be larger than what a user may hand in: one change can hold thousands of objects.
    private static let limits = YAMLLimits(
        fileBytes: 1 << 30, documentBytes: 1 << 30, nodes: 100_000_000, depth: 8)

    var json: String {
        let changes = changes.map { change -> String in
            var fields = ["apiVersion", "kind", "namespace", "name"]
            let values = [
                change.reference.apiVersion, change.reference.kind, change.reference.namespace, change.reference.name,
            ]
            fields = zip(fields, values).map { "\"\($0)\":\(NodeWriter.quoted($1))" }
            if let before = change.before { fields.append("\"before\":\(NodeWriter.quoted(before))") }
            if let after = change.after { fields.append("\"after\":\(NodeWriter.quoted(after))") }
            return "{\(fields.joined(separator: ","))}"
        }
        return """
            {"number":\(number),"time":\(time),"summary":\(NodeWriter.quoted(summary)),"changes":[
            \(changes.joined(separator: ",\n"))
            ]}

            """
    }

    /// - Returns: `nil` if the text has not the form that ``json`` writes.
    init?(json text: String) {
        guard let root = try? YAMLReader.read(YAMLDocument(text: text), limits: Self.limits),
            case .integer(let number)? = root["number"]?.content, number > 0,
            case .integer(let time)? = root["time"]?.content,
            let summary = root["summary"]?.string, let elements = root["changes"]?.elements
        else { return nil }
        var changes: [Change] = []
        for element in elements {
            guard let apiVersion = element["apiVersion"]?.string, let kind = element["kind"]?.string,
                let namespace = element["namespace"]?.string, let name = element["name"]?.string
            else { return nil }
            changes.append(
                Change(
                    reference: ObjectReference(apiVersion: apiVersion, kind: kind, namespace: namespace, name: name),
                    before: element["before"]?.string, after: element["after"]?.string))
        }
        self.init(number: UInt64(number), time: time, summary: summary, changes: changes)
    }
}
