// SPDX-License-Identifier: Apache-2.0

import Identity
import Testing

@Suite struct RenewalScheduleTests {
    private static let start = UnixTime(seconds: 1_000_000)
    private static let draws: [UInt64] = [0, 1, .max / 3, .max / 2, .max - 1, .max]

    @Test(arguments: draws)
    func renewsAtHalfLife(_ random: UInt64) {
        var schedule = RenewalSchedule(at: Self.start)
        #expect(schedule.isDue(at: Self.start))
        #expect(schedule.health(at: Self.start) == .missing(attempts: 0))
        schedule.succeeded(at: Self.start, notAfter: Self.start + 86_400, random: random)
        let after = schedule.nextAttempt - Self.start
        #expect((38_880...47_520).contains(after), "\(after) s")
        #expect(!schedule.isDue(at: Self.start + 38_879))
        #expect(schedule.isDue(at: Self.start + 47_520))
        #expect(schedule.health(at: Self.start + 86_399) == .current)
        #expect(schedule.health(at: Self.start + 86_400) == .expired(at: Self.start + 86_400))
    }

    /// The ends of the span are met, so that many certificates are spread over all of it.
    @Test func jitterHasItsWholeSpan() {
        var ends: [Int64] = []
        for random in [UInt64.min, .max] {
            var schedule = RenewalSchedule(at: Self.start)
            schedule.succeeded(at: Self.start, notAfter: Self.start + 1000, random: random)
            ends.append(schedule.nextAttempt - Self.start)
        }
        #expect(ends == [450, 550])
    }

    @Test(arguments: draws)
    func failuresPauseLongerAndLonger(_ random: UInt64) {
        var schedule = RenewalSchedule(at: Self.start)
        schedule.succeeded(at: Self.start, notAfter: Self.start + 86_400, random: 0)
        var now = schedule.nextAttempt
        let first = now
        for (attempt, longest) in [1, 2, 4, 8, 16, 32, 64, 128, 150, 150, 150].enumerated() {
            schedule.failed(at: now, random: random)
            let pause = schedule.nextAttempt - now
            #expect(pause >= max(1, longest / 2) && pause <= longest, "\(attempt): \(pause) s")
            #expect(schedule.health(at: now) == .renewalFails(since: first, attempts: attempt + 1))
            now = schedule.nextAttempt
        }
        // Until it has expired and after it, it goes on.
        #expect(schedule.health(at: Self.start + 90_000) == .expired(at: Self.start + 86_400))
        schedule.succeeded(at: now, notAfter: now + 100, random: random)
        #expect(schedule.health(at: now) == .current)
        schedule.failed(at: now, random: .max)
        #expect(schedule.nextAttempt == now + 1)
    }

    /// A million failures pause no longer, and overflow nothing.
    @Test func failuresHaveNoEnd() {
        var schedule = RenewalSchedule(at: Self.start)
        for _ in 0..<1000 { schedule.failed(at: Self.start, random: .max) }
        #expect(schedule.nextAttempt == Self.start + 150)
        #expect(schedule.health(at: Self.start) == .missing(attempts: 1000))
    }

    /// An issuer whose certificates have expired is not asked without pause.
    @Test func anExpiredCertificateIsNoLoop() {
        var schedule = RenewalSchedule(at: Self.start)
        schedule.succeeded(at: Self.start, notAfter: Self.start - 5, random: .max)
        #expect(schedule.nextAttempt == Self.start + 1)
    }

    @Test func hastenedOnlyForward() {
        var schedule = RenewalSchedule(at: Self.start)
        schedule.succeeded(at: Self.start, notAfter: Self.start + 1000, random: 0)
        schedule.hasten(to: Self.start + 10)
        #expect(schedule.nextAttempt == Self.start + 10)
        schedule.hasten(to: Self.start + 20)
        #expect(schedule.nextAttempt == Self.start + 10)
    }
}

@Suite struct UnixTimeTests {
    @Test(arguments: [
        (Int64(0), "1970-01-01T00:00:00Z"), (1_780_272_000, "2026-06-01T00:00:00Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (-1, "1969-12-31T23:59:59Z"), (4_102_444_799, "2099-12-31T23:59:59Z"),
    ])
    func text(_ seconds: Int64, _ text: String) {
        #expect(UnixTime(seconds: seconds).description == text)
    }
}
