// SPDX-License-Identifier: Apache-2.0

/// Bounds on what one manifest may cost to read.
public struct YAMLLimits: Sendable {
    /// Bytes of one file. A file of 16 MiB holds some 20 000 policies.
    public var fileBytes: Int
    /// Bytes of one document. An object of Kubernetes has at most 1.5 MiB (the limit of etcd), but a List has many.
    public var documentBytes: Int
    /// Values of one document after aliases are resolved. Stops "billion laughs": aliases of aliases of aliases.
    public var nodes: Int
    /// Lists and mappings inside each other. Stops stack exhaustion in everything that walks a document.
    public var depth: Int

    public init(
        fileBytes: Int = 16 << 20, documentBytes: Int = 8 << 20, nodes: Int = 1_000_000, depth: Int = 100
    ) {
        self.fileBytes = fileBytes
        self.documentBytes = documentBytes
        self.nodes = nodes
        self.depth = depth
    }

    public static let standard = YAMLLimits()
}

/// Text that is not YAML, or YAML that goes beyond what a manifest may use.
public struct YAMLSyntaxError: Error, Equatable, Sendable {
    /// Counted from 1; 0 when the error is about the file as a whole.
    public let line: Int
    public let column: Int
    public let reason: String
    /// What to do; empty if the reason says it all.
    public let remedy: String

    public init(line: Int, column: Int, reason: String, remedy: String = "") {
        self.line = line
        self.column = column
        self.reason = reason
        self.remedy = remedy
    }
}
