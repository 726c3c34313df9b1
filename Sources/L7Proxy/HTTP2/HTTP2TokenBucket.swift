// SPDX-License-Identifier: Apache-2.0

/// Lets through a burst, and then so much in a second. Whole numbers only, so that it does the same everywhere.
struct HTTP2TokenBucket: Sendable, BitwiseCopyable {
    /// In thousandths of a token, so that a flow of less than one in a millisecond is not lost.
    private var level: UInt64
    /// Milliseconds, of the last time that tokens flowed in.
    private var filledAt: UInt64

    init(_ rate: HTTP2Guard.Rate, now: UInt64) {
        level = UInt64(rate.burst) * 1000
        filledAt = now
    }

    /// Takes one token.
    ///
    /// - Parameter now: Milliseconds of a clock that does not go back; an earlier time than before counts as the same.
    /// - Returns: Whether there was one.
    mutating func take(_ rate: HTTP2Guard.Rate, now: UInt64) -> Bool {
        if now > filledAt {
            let elapsed = min(now - filledAt, 1 << 31)
            level = min(level + elapsed * UInt64(rate.perSecond), UInt64(rate.burst) * 1000)
            filledAt = now
        }
        guard level >= 1000 else { return false }
        level -= 1000
        return true
    }

    /// Puts `count` tokens in, up to the burst.
    mutating func credit(_ count: UInt32, _ rate: HTTP2Guard.Rate) {
        level = min(level + UInt64(count) * 1000, UInt64(rate.burst) * 1000)
    }
}
