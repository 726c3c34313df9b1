// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// An object that was read without an error.
public struct ManifestObject: Sendable {
    public let object: MeshObject
    /// The document as its author wrote it; for an element of a List, the element as YAML.
    public let text: String
    public let warnings: [ManifestError]

    public init(object: MeshObject, text: String, warnings: [ManifestError] = []) {
        self.object = object
        self.text = text
        self.warnings = warnings
    }

    public var reference: ObjectReference { object.reference }

    /// Where it was read; every decoded object has one.
    public var origin: ObjectOrigin {
        object.origin ?? ObjectOrigin(file: "", document: 0, line: 0)
    }
}

/// An object with at least one error, known by kind and name.
public struct RejectedObject: Sendable {
    public let reference: ObjectReference
    public let origin: ObjectOrigin
    /// In the order of the file; never empty.
    public let errors: [ManifestError]
    /// For a policy that is meant to be enforced: what must be denied while there is no good version of it.
    public let failClosed: FailClosedSelector?
    public let text: String

    public init(
        reference: ObjectReference, origin: ObjectOrigin, errors: [ManifestError], failClosed: FailClosedSelector?,
        text: String
    ) {
        self.reference = reference
        self.origin = origin
        self.errors = errors
        self.failClosed = failClosed
        self.text = text
    }
}

/// Everything that was found in one file, or in several that are read together.
public struct DecodedManifest: Sendable {
    /// In written order; no two have one reference.
    public private(set) var objects: [ManifestObject] = []
    public internal(set) var rejected: [RejectedObject] = []
    /// What concerns no object that could be named: syntax errors, kinds that are not read, nameless objects.
    public internal(set) var findings: [ManifestError] = []
    private var origins: [ObjectReference: ObjectOrigin] = [:]

    public init() {}

    /// Every error, in the order of the files. Empty: all of it can be used.
    public var errors: [ManifestError] {
        (findings.filter { $0.severity == .error } + rejected.flatMap { $0.errors.filter { $0.severity == .error } })
            .sorted()
    }

    public var warnings: [ManifestError] {
        (findings.filter { $0.severity == .warning } + objects.flatMap(\.warnings)
            + rejected.flatMap { $0.errors.filter { $0.severity == .warning } }).sorted()
    }

    /// Whether some document could not be read so far that its object is known: it may have been any object.
    public var hasUnnamedErrors: Bool { findings.contains { $0.severity == .error } }

    /// Adds what was read after it. An object that is there already is rejected: it cannot be both.
    public mutating func append(_ other: DecodedManifest) {
        rejected += other.rejected
        findings += other.findings
        for object in other.objects { append(object) }
    }

    mutating func append(_ object: ManifestObject) {
        if let first = origins[object.reference] {
            rejected.append(object.rejectedAsDuplicate(of: first))
        } else {
            origins[object.reference] = object.origin
            objects.append(object)
        }
    }
}

extension ManifestObject {
    /// The error for a second object of the same name.
    func rejectedAsDuplicate(of first: ObjectOrigin) -> RejectedObject {
        .duplicate(reference, at: origin, of: first, text: text)
    }
}

extension RejectedObject {
    static func duplicate(
        _ reference: ObjectReference, at origin: ObjectOrigin, of first: ObjectOrigin, text: String
    ) -> RejectedObject {
        let error = ManifestError(
            file: origin.file, line: origin.line, column: 1, object: reference.description,
            reason: "the same object is at \(first)", remedy: "remove one of the two")
        // The first one is in force, so nothing needs to be denied.
        return RejectedObject(
            reference: reference, origin: origin, errors: [error], failClosed: nil, text: text)
    }
}
