// SPDX-License-Identifier: Apache-2.0

/// One field in which two versions of an object differ.
public struct FieldDifference: Hashable, Sendable {
    /// `spec.ingress[0].ports[1].port`; for elements of lists the index in the version that has the element.
    public let path: String
    /// As JSON on one line; `nil` if the field is new.
    public let before: String?
    /// `nil` if the field is gone.
    public let after: String?

    /// The differences that turn `old` into `new`, in the order of the new version, removals first in each mapping.
    public static func between(_ old: ManifestNode, _ new: ManifestNode) -> [FieldDifference] {
        var differences: [FieldDifference] = []
        compare(old, new, .root, &differences)
        return differences
    }

    private static func compare(
        _ old: ManifestNode, _ new: ManifestNode, _ path: FieldPath, _ found: inout [FieldDifference]
    ) {
        if old == new { return }
        if let oldFields = old.fields, let newFields = new.fields {
            for field in oldFields where new[field.key] == nil {
                found.append(.init(path: path.key(field.key), before: field.value, after: nil))
            }
            for field in newFields {
                if let before = old[field.key] {
                    compare(before, field.value, path.key(field.key), &found)
                } else {
                    found.append(.init(path: path.key(field.key), before: nil, after: field.value))
                }
            }
        } else if let oldElements = old.elements, let newElements = new.elements {
            compare(oldElements, newElements, path, &found)
        } else {
            found.append(.init(path: path, before: old, after: new))
        }
    }

    /// Equal elements at both ends are passed over, so that one inserted rule is one difference; what is left is
    /// compared pair by pair.
    private static func compare(
        _ old: [ManifestNode], _ new: [ManifestNode], _ path: FieldPath, _ found: inout [FieldDifference]
    ) {
        let shorter = min(old.count, new.count)
        var head = 0
        while head < shorter, old[head] == new[head] { head += 1 }
        var tail = 0
        while tail < shorter - head, old[old.count - 1 - tail] == new[new.count - 1 - tail] { tail += 1 }
        let (oldEnd, newEnd) = (old.count - tail, new.count - tail)
        let pairs = min(oldEnd, newEnd)
        for index in head..<max(head, pairs) {
            compare(old[index], new[index], path.index(index), &found)
        }
        for index in max(head, pairs)..<max(head, oldEnd) where index < oldEnd {
            found.append(.init(path: path.index(index), before: old[index], after: nil))
        }
        for index in max(head, pairs)..<max(head, newEnd) where index < newEnd {
            found.append(.init(path: path.index(index), before: nil, after: new[index]))
        }
    }

    private init(path: FieldPath, before: ManifestNode?, after: ManifestNode?) {
        self.path = path.description
        self.before = before.map(NodeWriter.json)
        self.after = after.map(NodeWriter.json)
    }
}

extension FieldDifference: CustomStringConvertible {
    /// `~ path: old -> new`, `+ path: new`, `- path: old`.
    public var description: String {
        switch (before, after) {
        case (let before?, let after?): "~ \(path): \(before) -> \(after)"
        case (nil, let after?): "+ \(path): \(after)"
        case (let before?, nil): "- \(path): \(before)"
        case (nil, nil): "  \(path)"
        }
    }
}
