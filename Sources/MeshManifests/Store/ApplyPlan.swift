// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// One object before and after a change.
public struct ObjectChange: Sendable {
    public let reference: ObjectReference
    /// `nil` if the object is new, or had no good version.
    public let before: ManifestObject?
    /// `nil` if the object is deleted.
    public let after: ManifestObject?

    public init(reference: ObjectReference, before: ManifestObject?, after: ManifestObject?) {
        self.reference = reference
        self.before = before
        self.after = after
    }

    /// What was done, in the word of `kubectl`.
    public var verb: String {
        after == nil ? "deleted" : before == nil ? "created" : "configured"
    }

    /// The fields that differ; empty unless both versions are there.
    public var differences: [FieldDifference] {
        guard let before = before?.value, let after = after?.value else { return [] }
        return FieldDifference.between(before, after)
    }

    /// Whether both texts say the same, comments and order of keys aside.
    var saysTheSame: Bool {
        guard let before, let after else { return false }
        if before.text == after.text { return true }
        guard let old = before.value, let new = after.value else { return false }
        return old == new
    }
}

extension ManifestObject {
    /// The document as a value, read again from its text.
    public var value: ManifestNode? {
        (try? YAMLReader.read(YAMLDocument(text: text))) ?? nil
    }
}

/// A set of changes that can be carried out as a whole.
public struct ApplyPlan: Sendable {
    public var changes: [ObjectChange] = []
    /// Objects that are in force already as they were given.
    public var unchanged: [ObjectReference] = []

    public init() {}
}

/// Why nothing was applied.
public struct ApplyRefusal: Error, Equatable, Sendable, CustomStringConvertible {
    /// One line for each object.
    public let reasons: [String]

    public init(reasons: [String]) {
        self.reasons = reasons
    }

    public var description: String { reasons.joined(separator: "\n") }
}
