// SPDX-License-Identifier: Apache-2.0

/// A namespace and a name in it.
public struct NamespacedName: Hashable, Sendable {
    public let namespace: String
    public let name: String

    public init(namespace: String, name: String) {
        self.namespace = namespace
        self.name = name
    }

    /// Parses `namespace/name`.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else { return nil }
        self.init(namespace: String(parts[0]), name: String(parts[1]))
    }
}

extension NamespacedName: Comparable, CustomStringConvertible {
    public static func < (left: Self, right: Self) -> Bool {
        left.namespace == right.namespace ? left.name < right.name : left.namespace < right.namespace
    }

    public var description: String { "\(namespace)/\(name)" }
}

/// What identifies an object among all others.
public struct ObjectReference: Hashable, Sendable {
    /// Group and version, such as `networking.k8s.io/v1`; `v1` for the core group.
    public let apiVersion: String
    public let kind: String
    /// Empty for objects of the cluster.
    public let namespace: String
    public let name: String

    public init(apiVersion: String, kind: String, namespace: String, name: String) {
        self.apiVersion = apiVersion
        self.kind = kind
        self.namespace = namespace
        self.name = name
    }

    public var namespacedName: NamespacedName { NamespacedName(namespace: namespace, name: name) }
}

extension ObjectReference: Comparable, CustomStringConvertible {
    public static func < (left: Self, right: Self) -> Bool {
        (left.kind, left.namespace, left.name, left.apiVersion)
            < (right.kind, right.namespace, right.name, right.apiVersion)
    }

    /// As in messages: `NetworkPolicy shop/allow-web`.
    public var description: String { namespace.isEmpty ? "\(kind) \(name)" : "\(kind) \(namespace)/\(name)" }
}

/// Where an object was read from.
///
/// No part of the object's value: two objects that differ only in origin are equal, and moving a
/// document inside its file changes nothing.
public struct ObjectOrigin: Sendable {
    /// A path, or what stands for it, such as `stdin`.
    public let file: String
    /// Index of the YAML document in the file, from 0.
    public let document: Int
    /// Line where the document's object begins, from 1.
    public let line: Int

    public init(file: String, document: Int, line: Int) {
        self.file = file
        self.document = document
        self.line = line
    }
}

extension ObjectOrigin: Hashable, CustomStringConvertible {
    public static func == (left: Self, right: Self) -> Bool { true }

    public func hash(into hasher: inout Hasher) {}

    public var description: String { "\(file):\(line)" }
}

/// What every object carries.
public struct ObjectMetadata: Hashable, Sendable {
    public var name: String
    /// Empty for objects of the cluster.
    public var namespace: String
    public var labels: Labels
    public var annotations: [String: String]
    /// RFC 3339 in UTC, so that texts order as times do.
    public var creationTimestamp: String?
    public var origin: ObjectOrigin?

    public init(
        name: String, namespace: String = "", labels: Labels = [:], annotations: [String: String] = [:],
        creationTimestamp: String? = nil, origin: ObjectOrigin? = nil
    ) {
        self.name = name
        self.namespace = namespace
        self.labels = labels
        self.annotations = annotations
        self.creationTimestamp = creationTimestamp
        self.origin = origin
    }

    public var namespacedName: NamespacedName { NamespacedName(namespace: namespace, name: name) }
}
