// SPDX-License-Identifier: Apache-2.0

import Yams

/// Reads one document into a ``ManifestNode``.
///
/// JSON is read too: it is YAML, but for surrogate pairs written as `\uD83D\uDE00`, which libyaml refuses with a
/// position.
struct YAMLReader {
    private let limits: YAMLLimits
    private let lineOffset: Int
    private var nodes = 0

    /// The value of `document`; `nil` if it has no content, or only comments.
    ///
    /// - Throws: ``YAMLSyntaxError`` if it is not YAML, uses tags or keys that no manifest needs, or exceeds `limits`.
    static func read(
        _ document: YAMLDocument, limits: YAMLLimits = .standard
    ) throws(YAMLSyntaxError) -> ManifestNode? {
        let size = document.text.utf8.count
        guard size <= limits.documentBytes else {
            throw YAMLSyntaxError(
                line: document.firstLine, column: 1,
                reason: "the document has \(size) bytes; the limit is \(limits.documentBytes)",
                remedy: "split the list into several documents")
        }
        if let offset = AliasGuard.suspiciousKey(in: document.text.utf8) {
            let (line, column) = document.text.position(atUTF8Offset: offset)
            throw YAMLSyntaxError(
                line: document.firstLine - 1 + line, column: column,
                reason: "a list, mapping or alias as a key, in a document with anchors",
                remedy: "write the values out instead of using anchors")
        }
        let root: Node?
        do {
            // The basic resolver has no rules: scalars are resolved by YAMLScalar, without regular expressions.
            root = try Parser(yaml: document.text, resolver: .basic, constructor: .default, encoding: .utf8)
                .singleRoot()
        } catch {
            throw YAMLSyntaxError(error, in: document)
        }
        guard let root else { return nil }
        var reader = YAMLReader(limits: limits, lineOffset: document.firstLine - 1)
        let node = try reader.convert(root, depth: 0)
        return node.isNull ? nil : node
    }

    private init(limits: YAMLLimits, lineOffset: Int) {
        self.limits = limits
        self.lineOffset = lineOffset
    }

    private mutating func convert(_ node: Node, depth: Int) throws(YAMLSyntaxError) -> ManifestNode {
        let position = position(of: node)
        nodes += 1
        guard nodes <= limits.nodes else {
            throw error(
                position, "the document has more than \(limits.nodes) values once its aliases are resolved",
                "write fewer aliases, or split the document")
        }
        guard depth <= limits.depth else {
            throw error(position, "nested deeper than \(limits.depth) levels", "")
        }
        switch node {
        case .scalar(let scalar):
            return try convert(scalar, at: position)
        case .sequence(let sequence):
            try refuseTag(sequence.tag, allowed: "tag:yaml.org,2002:seq", at: position)
            var elements: [ManifestNode] = []
            elements.reserveCapacity(sequence.count)
            for element in sequence { elements.append(try convert(element, depth: depth + 1)) }
            return ManifestNode(.sequence(elements), position: position)
        case .mapping(let mapping):
            try refuseTag(mapping.tag, allowed: "tag:yaml.org,2002:map", at: position)
            return try convert(mapping, at: position, depth: depth)
        case .alias:
            // The parser resolves aliases while it composes; this case is for documents built by hand.
            throw error(position, "an alias that was not resolved", "")
        }
    }

    private mutating func convert(
        _ mapping: Node.Mapping, at position: ManifestNode.Position, depth: Int
    ) throws(YAMLSyntaxError) -> ManifestNode {
        var fields: [ManifestNode.Field] = []
        fields.reserveCapacity(mapping.count)
        var merged: [ManifestNode] = []
        var seen: Set<String> = []
        for (key, value) in mapping {
            let keyPosition = self.position(of: key)
            guard case .scalar(let scalar) = key else {
                throw error(keyPosition, "a key must be a plain name, not a list or a mapping", "")
            }
            let value = try convert(value, depth: depth + 1)
            if scalar.string == "<<", scalar.style == .plain {
                merged.append(contentsOf: try mergeSources(value))
                continue
            }
            guard seen.insert(scalar.string).inserted else {
                throw error(
                    keyPosition, "the key \"\(scalar.string.clipped)\" is given twice in one mapping",
                    "remove one of the two")
            }
            fields.append(.init(key: scalar.string, keyPosition: keyPosition, value: value))
        }
        // Merge keys (`<<: *defaults`, YAML 1.1, which kubectl reads too): what is written out wins.
        for source in merged {
            for field in source.fields ?? [] where seen.insert(field.key).inserted {
                fields.append(field)
            }
        }
        return ManifestNode(.mapping(fields), position: position)
    }

    private func mergeSources(_ value: ManifestNode) throws(YAMLSyntaxError) -> [ManifestNode] {
        let sources = value.elements ?? [value]
        for source in sources where source.fields == nil {
            throw error(source.position, "the merge key << needs a mapping, or a list of mappings", "")
        }
        return sources
    }

    private func convert(
        _ scalar: Node.Scalar, at position: ManifestNode.Position
    ) throws(YAMLSyntaxError) -> ManifestNode {
        guard
            let content = YAMLScalar.content(
                scalar.string, isPlain: scalar.style == .plain, tag: scalar.tag.description)
        else {
            throw error(
                position, "the tag \(scalar.tag.description.clipped) does not fit \"\(scalar.string.clipped)\"",
                "remove the tag; only !!str, !!int, !!bool, !!float and !!null are read")
        }
        return ManifestNode(content, text: scalar.string, position: position)
    }

    private func refuseTag(
        _ tag: Tag, allowed: String, at position: ManifestNode.Position
    ) throws(YAMLSyntaxError) {
        let name = tag.description
        if name.isEmpty || name == "!" || name == allowed { return }
        throw error(position, "the tag \(name.clipped) is not supported", "remove the tag")
    }

    private func position(of node: Node) -> ManifestNode.Position {
        .init(line: (node.mark?.line ?? 0) + lineOffset, column: node.mark?.column ?? 0)
    }

    private func error(
        _ position: ManifestNode.Position, _ reason: String, _ remedy: String
    ) -> YAMLSyntaxError {
        YAMLSyntaxError(line: Int(position.line), column: Int(position.column), reason: reason, remedy: remedy)
    }
}

extension String {
    /// The line and column, from 1, of the byte at `offset`.
    func position(atUTF8Offset offset: Int) -> (line: Int, column: Int) {
        var (line, column) = (1, 1)
        for byte in utf8.prefix(offset) {
            if byte == UInt8(ascii: "\n") {
                (line, column) = (line + 1, 1)
            } else if byte & 0xC0 != 0x80 {
                column += 1
            }
        }
        return (line, column)
    }
}
