// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import MeshModel

/// A program that finds its rules by its index, and the same one that tries all of them for every request.
@Suite struct AuthorizerIndexTests {
    /// Many rules, so that they crowd: which index a rule is in depends on the others.
    @Test(arguments: 0..<6)
    func theIndexFindsWhatTryingAllFinds(_ batch: UInt64) {
        var found: [AuthorizerProgram.Group: Int] = [:]
        for seed in batch * 20..<batch * 20 + 20 {
            var generator = RequestGenerator(seed: 7000 + seed)
            let count = generator.random.pick([1, 4, 20, 100])
            let program = RequestAuthorizer((0..<count).map { generator.policy("p\($0)") }).program
            let naive = Self.withoutIndex(program)
            for _ in 0..<40 {
                let request = generator.request()
                request.borrowed { bytes, headers in
                    for path in [bytes.path.normal, bytes.path.other].compactMap({ $0 }) {
                        let matches = program.matches(bytes, path, headers)
                        let expected = naive.matches(bytes, path, headers)
                        for group in [AuthorizerProgram.Group.deny, .dryRunDeny, .allow, .dryRunAllow] {
                            #expect(matches[group] == expected[group], "seed \(seed), \(group): \(request)")
                            if expected[group] >= 0 { found[group, default: 0] += 1 }
                        }
                    }
                }
            }
        }
        #expect(found.count == 4 && found.values.allSatisfy { $0 > 20 }, "\(found)")
    }

    /// A test of the index only is one where rules are not all in the list that is always tried.
    @Test func rulesThatNameSomethingAreNotTriedForEveryRequest() {
        let policies = (0..<100).map { number in
            RequestAuthorizerTests.policy(
                number % 2 == 0 ? .deny : .allow,
                [
                    .init(to: [PolicyFixture.operation { $0.paths = ["/a/\(number)/*"] }]),
                    .init(to: [PolicyFixture.operation { $0.paths = ["/b/\(number)"] }]),
                    .init(to: [PolicyFixture.operation { $0.methods = ["M\(number)"] }]),
                    .init(from: [PolicyFixture.source { $0.principals = ["td/ns/a/sa/\(number)"] }]),
                    .init(from: [PolicyFixture.source { $0.namespaces = ["n\(number)"] }]),
                ], name: "p\(number)")
        }
        let program = RequestAuthorizer(policies).program
        #expect(program.rules.count == 500)
        #expect(program.others.isEmpty)
        #expect(program.prefixLengths == [5, 6])
    }

    /// Every length around those at which words are compared, with every place at which two texts can differ.
    @Test func bytesAreComparedWherever() {
        for length in 0...40 {
            let text = (0..<length).map { UInt8($0 + 1) }
            for place in -1..<length {
                var other = text
                if place >= 0 { other[place] ^= 0x80 }
                // At an odd address too.
                let shifted = [0] + other
                let isEqual = text.withUnsafeBytes { text in
                    shifted.withUnsafeBytes { text.equals(UnsafeRawBufferPointer(rebasing: $0[1...])) }
                }
                #expect(isEqual == (place < 0), "length \(length), place \(place)")
            }
            let isEqual = text.withUnsafeBytes { text in (text + [0]).withUnsafeBytes { text.equals($0) } }
            #expect(!isEqual)
        }
    }

    private static func withoutIndex(_ program: AuthorizerProgram) -> AuthorizerProgram {
        var naive = program
        naive.candidates = program.rules.indices.map {
            .init(rule: Int32($0), group: program.rules[$0].group, kind: .rule)
        }
        naive.others = naive.candidates.indices
        naive.exactPaths = PathIndex([], isTree: false)
        naive.pathPrefixes = PathIndex([], isTree: false)
        naive.prefixLengths = []
        naive.principals = PathIndex([], isTree: false)
        naive.namespaces = PathIndex([], isTree: false)
        naive.accounts = PathIndex([], isTree: false)
        naive.methods = PathIndex([], isTree: false)
        return naive
    }
}
