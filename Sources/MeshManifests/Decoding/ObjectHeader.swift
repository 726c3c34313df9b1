// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// What is common to all objects: `apiVersion`, `kind` and `metadata`.
struct ObjectHeader {
    let kind: ObjectKind
    let apiVersion: String
    let metadata: ObjectMetadata
    /// The annotations again, with the places of their keys.
    let annotations: [(key: FieldReader, value: String)]
    let isDeleting: Bool
    /// `metadata.generation`, which an API server counts.
    let generation: Int64?
    /// The whole object.
    let object: ObjectReader

    private static let metadataFields = [
        "name", "namespace", "labels", "annotations", "generateName", "uid", "resourceVersion", "generation",
        "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "finalizers", "ownerReferences",
        "managedFields", "selfLink",
    ]

    /// Reads the header of an object of a known kind.
    ///
    /// - Returns: `nil` if there is no name by which to speak of the object.
    init?(_ object: ObjectReader, kind: ObjectKind, apiVersion: String, origin: ObjectOrigin) {
        let sink = object.sink
        guard let reader = object.required("metadata", remedy: "every object has metadata with a name"),
            let fields = kind.isStrict ? reader.object(strict: Self.metadataFields) : reader.object()
        else { return nil }

        var namespace = ""
        if let field = fields["namespace"], let text = field.string() {
            if kind.isNamespaced {
                namespace = text
                if let problem = NameRules.label(text) { field.report(problem) }
            } else {
                field.report("a \(kind.rawValue) is not in a namespace", remedy: "remove the field")
            }
        } else if kind.isNamespaced {
            namespace = "default"
        }
        let hint = fields.has("generateName") ? "generateName needs an API server; write a name" : ""
        guard let nameField = fields.required("name", remedy: hint), let name = nameField.string() else { return nil }
        sink.object = "\(kind.rawValue) \(namespace.isEmpty ? name : "\(namespace)/\(name)")".clipped
        let problem =
            switch kind {
            case .namespace: NameRules.label(name)
            case .service: NameRules.service(name)
            default: NameRules.subdomain(name)
            }
        if let problem { nameField.report(problem) }

        self.kind = kind
        self.apiVersion = ObjectKind.storageVersion(of: apiVersion)
        self.object = object
        self.annotations = fields["annotations"].map(Self.annotations) ?? []
        self.isDeleting = fields["deletionTimestamp"] != nil
        if case .integer(let generation) = fields["generation"]?.node.content {
            self.generation = generation
        } else {
            self.generation = nil
        }
        self.metadata = ObjectMetadata(
            name: name, namespace: namespace, labels: fields["labels"].map(Self.labels) ?? [:],
            annotations: Dictionary(
                annotations.map { ($0.key.node.text, $0.value) }, uniquingKeysWith: { first, _ in first }),
            creationTimestamp: fields["creationTimestamp"]?.string(), origin: origin)
    }

    /// Labels or a selector's `matchLabels`, with both keys and values checked.
    static func labels(_ reader: FieldReader) -> Labels {
        var labels: Labels = [:]
        for (key, value) in reader.stringMap() {
            if let problem = NameRules.qualifiedName(key.node.text) ?? NameRules.labelValue(value) {
                key.report(problem)
            }
            labels[key.node.text] = value
        }
        return labels
    }

    private static func annotations(_ reader: FieldReader) -> [(key: FieldReader, value: String)] {
        let annotations = reader.stringMap()
        for (key, _) in annotations {
            // The API server takes upper case in the prefix of an annotation, unlike in a label.
            if let problem = NameRules.qualifiedName(key.node.text.lowercased()) { key.report(problem) }
        }
        return annotations
    }
}

extension ObjectHeader {
    /// Annotations of the mesh that other parts write or that are reserved.
    private static let furtherAnnotations = ["sockmesh.io/redirection", "sockmesh.io/opaque-ports"]

    /// Reads each annotation of the mesh alone with `parse`, so that every bad value is reported.
    func checkAnnotations(_ parse: ([String: String]) throws(AnnotationError) -> Void) {
        let known = MeshAnnotation.allCases.map(\.rawValue) + Self.furtherAnnotations
        for (key, value) in annotations {
            let name = key.node.text
            if MeshAnnotation(rawValue: name) != nil {
                do {
                    try parse([name: value])
                } catch {
                    key.report("\"\(error.value.clipped)\" is not valid; expected \(error.expected)")
                }
            } else if name.hasPrefix("sockmesh.io/"), !known.contains(name) {
                key.report(
                    "unknown annotation, it has no effect", remedy: Suggestion.remedy(for: name, among: known),
                    severity: .warning)
            }
        }
    }

    /// Whether a policy is only evaluated and reported.
    func dryRun() -> Bool {
        checkAnnotations { annotations throws(AnnotationError) in _ = try MeshAnnotation.dryRun(in: annotations) }
        return (try? MeshAnnotation.dryRun(in: metadata.annotations)) ?? false
    }
}
