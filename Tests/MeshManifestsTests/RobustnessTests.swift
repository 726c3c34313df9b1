// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@testable import MeshManifests

/// Whatever the bytes are: the decoder ends, with objects or with errors that have a place.
@Suite struct RobustnessTests {
    static let corpus = [
        NetworkPolicyTests.complete, AuthorizationPolicyTests.complete, PeerAuthenticationTests.complete,
        CoreObjectTests.pod, CoreObjectTests.service, CoreObjectTests.slice,
        "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[{\"apiVersion\":\"v1\",\"kind\":\"Namespace\","
            + "\"metadata\":{\"name\":\"a\",\"annotations\":{\"x\":\"\\u00e9\\n\"}}}]}",
        "a: &a {b: [1, *c]}\n---\nx: &x [1]\ny: {<<: {z: *x}}\n--- |\n  text\n...\n%YAML 1.1\n---\n? a\n: b\n",
    ]

    /// Everything that must hold for any input.
    private func check(_ bytes: [UInt8]) -> DecodedManifest {
        let manifest = ManifestDecoder(unknownKinds: .warn).decode(bytes, file: "f")
        for error in manifest.errors where error.line < 1 || error.reason.isEmpty {
            Issue.record("an error without a place or reason: \(error)")
        }
        for object in manifest.objects {
            // What is stored must be what was read.
            let again = ManifestDecoder(unknownKinds: .warn).decode(Array(object.text.utf8), file: "f")
            if again.objects.map(\.object) != [object.object] {
                Issue.record("the text of \(object.reference) reads back as something else:\n\(object.text)")
            }
        }
        for rejected in manifest.rejected where rejected.errors.isEmpty {
            Issue.record("\(rejected.reference) is rejected without an error")
        }
        return manifest
    }

    @Test(arguments: corpus)
    func everyPrefixIsAnErrorOrAValue(_ text: String) {
        let bytes = Array(text.utf8)
        for count in 0...bytes.count {
            let manifest = check(Array(bytes[..<count]))
            if count == bytes.count {
                #expect(!manifest.objects.isEmpty || text.hasPrefix("a: &a"))
            }
        }
    }

    /// Deterministic: a failure is repeated by running the test again.
    @Test(.timeLimit(.minutes(2)), arguments: 0..<8)
    func mutationsNeverCrash(_ seed: Int) {
        var random = SplitMix64(state: UInt64(seed) &* 0x9E37_79B9 &+ 1)
        let tokens = [
            "\n", "  ", "- ", ": ", "{", "}", "[", "]", "\"", "'", "*a", "&a ", "? ", "|\n", "#", "---\n", "\t", "null",
            "-1", "65536", "\u{0}", "\u{FEFF}", "\u{2028}", "<<: *a\n", "!!int ", "10.0.0.1/8", "spec:", "é",
        ].map { Array($0.utf8) }
        for _ in 0..<400 {
            var bytes = Array(Self.corpus[Int(random.next() % UInt64(Self.corpus.count))].utf8)
            for _ in 0...random.next() % 6 {
                let place = Int(random.next() % UInt64(bytes.count + 1))
                switch random.next() % 5 {
                case 0: bytes.insert(contentsOf: tokens[Int(random.next() % UInt64(tokens.count))], at: place)
                case 1: bytes.removeSubrange(place..<min(bytes.count, place + Int(random.next() % 9)))
                case 2 where place < bytes.count: bytes[place] = UInt8(truncatingIfNeeded: random.next())
                case 3 where place < bytes.count: bytes[place] ^= 1 << UInt8(random.next() % 8)
                default:
                    let end = min(bytes.count, place + Int(random.next() % 60))
                    bytes.insert(contentsOf: bytes[place..<end], at: Int(random.next() % UInt64(bytes.count + 1)))
                }
            }
            _ = check(bytes)
        }
    }

    private struct SplitMix64 {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var value = state
            value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
            value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
            return value ^ (value >> 31)
        }
    }
}
