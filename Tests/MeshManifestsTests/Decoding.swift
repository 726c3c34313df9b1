// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@testable import MeshManifests

/// Short ways to decode text in tests.
enum Decoding {
    static func manifest(_ text: String, unknownKinds: ManifestDecoder.UnknownKinds = .refuse) -> DecodedManifest {
        ManifestDecoder(unknownKinds: unknownKinds).decode(Array(text.utf8), file: "f.yaml")
    }

    /// The messages of all errors and warnings, in order.
    static func messages(_ text: String, unknownKinds: ManifestDecoder.UnknownKinds = .refuse) -> [String] {
        let manifest = manifest(text, unknownKinds: unknownKinds)
        return (manifest.errors + manifest.warnings).sorted().map(\.description)
    }

    /// The only object of a text without errors.
    static func object(_ text: String) throws -> MeshObject {
        let manifest = manifest(text)
        try #require(manifest.errors.isEmpty, "\(manifest.errors)")
        try #require(manifest.objects.count == 1)
        return manifest.objects[0].object
    }
}

/// A text, and what must be said about it.
struct BadManifest: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let text: String
    let messages: [String]

    init(_ description: String, _ text: String, _ messages: String...) {
        self.testDescription = description
        self.text = text
        self.messages = messages
    }
}
