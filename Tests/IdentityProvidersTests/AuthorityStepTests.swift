// SPDX-License-Identifier: Apache-2.0

import Identity
import Testing

@testable import IdentityProviders

@Suite struct AuthorityStepTests {
    private static let lifetimes = AuthorityLifetimes(leaf: 100, intermediate: 1000, root: 10_000, announcement: 500)
    private static let zero = UnixTime(seconds: 0)

    private static func generation(
        _ made: Int64, signsSince: Int64? = nil, rootLife: Int64 = 10_000
    ) -> AuthorityStep.Generation {
        AuthorityStep.Generation(
            rootMade: zero + made, rootNotAfter: zero + made + rootLife, intermediateMade: signsSince.map { zero + $0 },
            intermediateNotAfter: signsSince.map { zero + $0 + 1000 })
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let generations: [AuthorityStep.Generation]
        let now: Int64
        var isAsked = false
        let step: AuthorityStep?
    }

    static let cases: [Case] = [
        Case(testDescription: "nothing there", generations: [], now: 0, step: .begin),
        Case(testDescription: "new", generations: [generation(0, signsSince: 0)], now: 0, step: nil),
        Case(
            testDescription: "before half of the intermediate's life", generations: [generation(0, signsSince: 0)],
            now: 499, step: nil),
        Case(
            testDescription: "half of the intermediate's life", generations: [generation(0, signsSince: 0)], now: 500,
            step: .renewIntermediate),
        Case(
            testDescription: "asked", generations: [generation(0, signsSince: 0)], now: 10, isAsked: true,
            step: .announce),
        Case(
            testDescription: "a quarter of the root's life is left", generations: [generation(0, signsSince: 7400)],
            now: 7500, step: .announce),
        Case(
            testDescription: "announced, not yet known to all",
            generations: [generation(0, signsSince: 7400), generation(7500)], now: 7700, step: nil),
        Case(
            testDescription: "announced, and asked again",
            generations: [generation(0, signsSince: 7400), generation(7500)], now: 7700, isAsked: true, step: nil),
        Case(
            testDescription: "announced, the intermediate's half",
            generations: [generation(0, signsSince: 7400), generation(7500)], now: 7900, step: .renewIntermediate),
        Case(
            testDescription: "known to all", generations: [generation(0, signsSince: 7900), generation(7500)],
            now: 8000,
            step: .activate),
        Case(
            testDescription: "leaves of the old one live",
            generations: [generation(0, signsSince: 7900), generation(7500, signsSince: 8000)], now: 8100, step: nil),
        Case(
            testDescription: "connections live that were made to leaves of the old one",
            generations: [generation(0, signsSince: 7900), generation(7500, signsSince: 8000)], now: 8200, step: nil),
        Case(
            testDescription: "nothing of the old one lives",
            generations: [generation(0, signsSince: 7900), generation(7500, signsSince: 8000)], now: 8201, step: .retire
        ),
        Case(
            testDescription: "the old root has expired",
            generations: [generation(0, signsSince: 7900, rootLife: 8050), generation(7500, signsSince: 8000)],
            now: 8050,
            step: .retire),
        Case(
            testDescription: "asked while the old one is still there",
            generations: [generation(0, signsSince: 7900), generation(7500, signsSince: 8000)], now: 8050,
            isAsked: true,
            step: nil),
        Case(
            testDescription: "everything has expired", generations: [generation(0, signsSince: 0)], now: 10_000,
            step: .begin),
        Case(
            testDescription: "it was off, and a root is announced",
            generations: [generation(0, signsSince: 7400), generation(7500)], now: 10_000, step: .begin),
    ]

    @Test(arguments: cases)
    func step(_ testCase: Case) {
        #expect(
            AuthorityStep.next(
                testCase.generations, Self.lifetimes, at: Self.zero + testCase.now, isAskedToRotate: testCase.isAsked)
                == testCase.step)
    }
}
