// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@testable import MeshManifests

@Suite struct YAMLTests {
    private func read(_ text: String, limits: YAMLLimits = .standard) throws -> ManifestNode? {
        try YAMLReader.read(YAMLDocument(text: text), limits: limits)
    }

    private func json(_ text: String) throws -> String {
        try read(text).map(NodeWriter.json) ?? "nothing"
    }

    private func errors(_ text: String) -> [String] { Decoding.messages(text) }

    // MARK: - Scalars

    @Test(arguments: [
        ("~", "nothing"), ("[null, ~, ]", "[null,null]"),
        ("[true, False, yes, off, y]", "[true,false,true,false,true]"),
        ("[1, -1, +1, 0, 0x10, -0x10]", "[1,-1,1,0,16,-16]"), ("[9223372036854775807]", "[9223372036854775807]"),
        ("[1.5, 1e3, .5]", "[1.5,1e3,\".5\"]"),
        (
            "[1.2.3, 1-2, 10.0.0.1, v1, 2001-01-01]",
            "[\"1.2.3\",\"1-2\",\"10.0.0.1\",\"v1\",\"2001-01-01\"]"
        ),
        ("['1', \"true\", !!str 80, !!int 80, !!null ~]", "[\"1\",\"true\",\"80\",80,null]"),
        ("{a: |\n  x\n  y\n}", "error"), ("a: |\n  x\n  y\n", "{\"a\":\"x\\ny\\n\"}"),
        ("{\"a\": {\"b\": [1, \"\\u00e9\\n\"]}}", "{\"a\":{\"b\":[1,\"é\\n\"]}}"),
        ("a: &x {b: 1}\nc: *x", "{\"a\":{\"b\":1},\"c\":{\"b\":1}}"),
        ("a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  c: 3", "{\"a\":{\"b\":1,\"c\":2},\"d\":{\"c\":3,\"b\":1}}"),
    ])
    func values(_ text: String, _ expected: String) {
        let result = (try? json(text)) ?? "error"
        #expect(result == expected)
    }

    @Test(arguments: ["0644", "1_000", "0o17", "0b1", "-.inf", ".nan", "9223372036854775808", "0xFFFFFFFFFFFFFFFF"])
    func numbersThatAreNoIntegers(_ text: String) throws {
        guard case .otherNumber = try #require(try read(text)).content else {
            Issue.record("\(text) was read as something else")
            return
        }
    }

    // MARK: - Documents

    @Test func documentsAreCutAtMarkers() throws {
        let text = "# c\n---\na: 1\n---\n# only a comment\n--- {b: 2}\n...\n%YAML 1.1\n---\nc: |\n  ---\n  x\n---x: 1\n"
        let documents = try YAMLDocument.split(Array(text.utf8), limits: .standard)
        #expect(documents.map(\.firstLine) == [1, 4, 6, 8])
        #expect(documents.map(\.text).joined() == text.replacing("...\n", with: ""))
        #expect(try read(documents[1].text) == nil)
        #expect(try json(documents[2].text) == "{\"b\":2}")
    }

    @Test func carriageReturnsAndByteOrderMarks() throws {
        let documents = try YAMLDocument.split(
            [0xEF, 0xBB, 0xBF] + Array("a: 1\r\n---\r\nb: 2\r\n".utf8), limits: .standard)
        #expect(documents.count == 2)
        #expect(documents[1].firstLine == 2)
        #expect(try json(documents[1].text) == "{\"b\":2}")
    }

    @Test func anErrorInOneDocumentLeavesTheOthers() {
        let good = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n"
        let manifest = Decoding.manifest(good + "---\nkind: [\n---\n" + good.replacing("a}", with: "b}"))
        #expect(manifest.objects.map(\.reference.name) == ["a", "b"])
        #expect(manifest.errors.map(\.line) == [6])
    }

    // MARK: - Errors

    static let bad: [BadManifest] = [
        .init(
            "tab", "a:\n\tb: 1\n",
            "f.yaml:2:1: not valid YAML: found character that cannot start any token, while scanning for the next "
                + "token (indent with spaces; YAML allows no tabs)"),
        .init(
            "unclosed list", "---\na: 1\n---\nb: [1,\n",
            "f.yaml:2:1: kind: is required",
            "f.yaml:5:1: not valid YAML: did not find expected node content, "
                + "while parsing a flow node"),
        .init(
            "value with a colon", "a: b: c\n",
            "f.yaml:1:5: not valid YAML: mapping values are not allowed in this context (check the indentation, and "
                + "put a value that contains \": \" in quotes)"),
        .init(
            "bad indentation", "a:\n  b: 1\n c: 2\n",
            "f.yaml:3:2: not valid YAML: did not find expected key, while parsing a block mapping that begins on "
                + "line 1 (check the indentation)"),
        .init(
            "duplicate key", "a: 1\nb:\n  c: 1\n  c: 2\n",
            "f.yaml:3:3: the key \"c\" is given twice in one mapping (remove one of the two)"),
        .init(
            "duplicate key, one quoted", "a: 1\n\"a\": 2\n",
            "f.yaml:1:1: the key \"a\" is given twice in one mapping (remove one of the two)"),
        .init(
            "list as a key", "[a]: 1\n", "f.yaml:1:1: a key must be a plain name, not a list or a mapping"),
        .init(
            "unknown alias", "a: *b\n", "f.yaml:1:4: not valid YAML: found undefined alias"),
        .init(
            "tag", "a: !secret b\n",
            "f.yaml:1:4: the tag !secret does not fit \"b\" (remove the tag; only !!str, !!int, !!bool, !!float and "
                + "!!null are read)"),
        .init(
            "control character", "a: 1\nb: \u{1}\n",
            "f.yaml:2:4: not valid YAML: control characters are not allowed (remove the character, or write it as an "
                + "escape in double quotes)"),
        .init("no object", "- a\n", "f.yaml:1:1: must be a mapping, but is a list"),
        .init("no kind", "apiVersion: v1\n", "f.yaml:1:1: kind: is required"),
        .init("no apiVersion", "kind: Pod\n", "f.yaml:1:1: apiVersion: is required"),
    ]

    @Test(arguments: bad)
    func says(_ manifest: BadManifest) {
        #expect(errors(manifest.text) == manifest.messages)
    }

    @Test func invalidUTF8HasAPosition() {
        let manifest = ManifestDecoder(unknownKinds: .warn).decode(
            Array("é: 1\nab: ".utf8) + [0xFF, 0x0A], file: "f")
        #expect(manifest.errors.map(\.description) == ["f:2:5: the bytes here are not UTF-8 (save the file as UTF-8)"])
        let wide = ManifestDecoder(unknownKinds: .warn).decode([0xFF, 0xFE, 0x61, 0], file: "f")
        #expect(wide.errors.first?.reason == "the file is UTF-16, not UTF-8")
    }

    // MARK: - Limits

    @Test func limitsAreSaid() {
        let decoder = ManifestDecoder(
            unknownKinds: .warn, limits: YAMLLimits(fileBytes: 40, documentBytes: 20, nodes: 5, depth: 2))
        func reason(_ text: String) -> String? { decoder.decode(Array(text.utf8), file: "f").errors.first?.reason }
        #expect(reason(String(repeating: "a", count: 41)) == "the file has 41 bytes; the limit is 40")
        #expect(reason(String(repeating: "a", count: 21)) == "the document has 21 bytes; the limit is 20")
        #expect(reason("[1,2,3,4,5]") == "the document has more than 5 values once its aliases are resolved")
        #expect(reason("[[[1]]]") == "nested deeper than 2 levels")
    }

    @Test(
        .timeLimit(.minutes(1)),
        arguments: [
            // Billion laughs in values, in keys, in keys without a question mark, and in merge keys.
            ("[*i]", "the document has more than 1000000 values once its aliases are resolved"),
            ("{? *i : 1}", "a list, mapping or alias as a key, in a document with anchors"),
            ("{*i : 1}", "a list, mapping or alias as a key, in a document with anchors"),
            ("{[*i, *i]: 1}", "a list, mapping or alias as a key, in a document with anchors"),
            ("{<<: *i}", "the document has more than 1000000 values once its aliases are resolved"),
        ])
    func aliasBombsAreRefusedQuickly(_ end: String, _ reason: String) {
        var text = "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        for (previous, name) in zip("abcdefgh", "bcdefghi") {
            text += "\(name): &\(name) [" + Array(repeating: "*\(previous)", count: 10).joined(separator: ",") + "]\n"
        }
        text += "z: \(end)\n"
        #expect(Decoding.manifest(text).errors.map(\.reason) == [reason])
    }

    @Test(arguments: ["[", "{a: ", "- ", "? ", "[{"])
    func deepNestingIsRefused(_ opening: String) {
        #expect(!Decoding.manifest(String(repeating: opening, count: 100_000)).errors.isEmpty)
    }

    // MARK: - Writing

    @Test(arguments: [
        "a: 1\nb:\n- x\n- - y\n  - {}\n- c: d\n  e: []\n",
        "\"1\": \"true\"\n\"\": \"\"\nk: \"a: b\\n\\u0085\\u2028\\ufeff\\u007f #\"\nd: \"2001-01-01\"\n",
        "- - - 1\n- a:\n    b:\n      c:\n      - d: 1\n", "x: 0x10\nw: 0644\nz: null\n",
    ])
    func whatIsWrittenReadsBackTheSame(_ text: String) throws {
        let node = try #require(try read(text))
        #expect(try read(NodeWriter.yaml(node)) == node, "\(NodeWriter.yaml(node))")
        #expect(NodeWriter.yaml(node) == text)
        let json = NodeWriter.json(node)
        #expect(try read(json).map(NodeWriter.json) == json)
    }
}
