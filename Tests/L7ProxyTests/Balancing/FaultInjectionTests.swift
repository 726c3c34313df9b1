// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

@Suite struct FaultInjectionTests {
    static func share(_ perMillion: UInt32) throws -> FaultInjection.Share {
        try #require(FaultInjection.Share(perMillion: perMillion))
    }

    @Test func nothingIsDoneUnasked() {
        #expect(FaultInjection().decide(random: 0) == .init())
    }

    @Test(arguments: [0, 1, 1000, 500_000, 999_999, 1_000_000] as [UInt32])
    func theShareIsMet(_ perMillion: UInt32) throws {
        let share = try Self.share(perMillion)
        let fault = FaultInjection(
            delay: .init(nanoseconds: 5, share: share), abort: .init(.status(503), share: share))
        var randoms = Randoms(11)
        var delays = 0.0
        var aborts = 0.0
        var both = 0.0
        let count = 100_000.0
        for _ in 0..<Int(count) {
            let decision = fault.decide(random: randoms.next())
            delays += decision.delayNanoseconds == 5 ? 1 : 0
            aborts += decision.answer == .status(503) ? 1 : 0
            both += decision.delayNanoseconds == 5 && decision.answer != nil ? 1 : 0
        }
        func isNear(_ seen: Double, _ share: Double) -> Bool {
            abs(seen - count * share) <= 6 * (count * share * (1 - share)).squareRoot()
        }
        let part = Double(perMillion) / 1e6
        #expect(isNear(delays, part) && isNear(aborts, part))
        // Drawn apart.
        #expect(isNear(both, part * part))
    }

    @Test func theExtremesAreExact() throws {
        let always = FaultInjection(abort: .init(.grpcStatus(14), share: try Self.share(1_000_000)))
        let never = FaultInjection(abort: .init(.grpcStatus(14), share: try Self.share(0)))
        for random in [0, 1, .max, .max / 2] as [UInt64] {
            #expect(always.decide(random: random).answer == .grpcStatus(14))
            #expect(never.decide(random: random).answer == nil)
        }
        #expect(FaultInjection.Share(perMillion: 1_000_001) == nil)
    }
}
