// SPDX-License-Identifier: Apache-2.0

/// Objects by their reference; at most one for each.
public struct ObjectSet: Hashable, Sendable {
    public private(set) var objects: [ObjectReference: MeshObject]

    /// Of several objects with one reference the last is kept.
    public init(_ objects: some Sequence<MeshObject> = []) {
        self.objects = Dictionary(objects.lazy.map { ($0.reference, $0) }) { $1 }
    }

    public var count: Int { objects.count }

    public subscript(reference: ObjectReference) -> MeshObject? { objects[reference] }

    /// - Returns: The object that was replaced.
    @discardableResult
    public mutating func insert(_ object: MeshObject) -> MeshObject? {
        objects.updateValue(object, forKey: object.reference)
    }

    @discardableResult
    public mutating func remove(_ reference: ObjectReference) -> MeshObject? {
        objects.removeValue(forKey: reference)
    }

    /// The change that turns this set into `other`. Objects that differ only in origin are equal.
    public func change(to other: ObjectSet) -> MeshChange {
        var change = MeshChange()
        for (reference, object) in other.objects where objects[reference] != object {
            change.changed.append(object)
        }
        for reference in objects.keys where other.objects[reference] == nil {
            change.removed.append(reference)
        }
        change.changed.sort { $0.reference < $1.reference }
        change.removed.sort()
        return change
    }
}

/// What the compiler is told: objects that are new or differ, and those that are gone.
public struct MeshChange: Hashable, Sendable {
    public var changed: [MeshObject]
    public var removed: [ObjectReference]
    /// The pods of this node that the kernel hooks cover; `nil`: as before.
    public var enrolled: Set<NamespacedName>?

    public init(
        changed: [MeshObject] = [], removed: [ObjectReference] = [], enrolled: Set<NamespacedName>? = nil
    ) {
        self.changed = changed
        self.removed = removed
        self.enrolled = enrolled
    }
}
