// SPDX-License-Identifier: Apache-2.0

/// When a certificate is renewed: at half of its life, sooner and sooner again if that fails.
///
/// Decides only. Randomness comes from the caller, so that many certificates that were made together are not renewed
/// together, and so that a test can say what happens.
public struct RenewalSchedule: Hashable, Sendable {
    /// What an operator is told.
    public enum Health: Hashable, Sendable {
        case current
        /// The renewal fails, but the certificate is still valid.
        case renewalFails(since: UnixTime, attempts: Int)
        /// There was none yet.
        case missing(attempts: Int)
        case expired(at: UnixTime)
    }

    /// Longest pause between two attempts, in seconds, as ztunnel has it.
    public static let longestPause: Int64 = 150

    /// Of the certificate in use.
    public private(set) var notAfter: UnixTime?
    public private(set) var nextAttempt: UnixTime
    private var attempts = 0
    private var failingSince: UnixTime?

    /// Without a certificate: the first attempt is due.
    public init(at now: UnixTime) { nextAttempt = now }

    /// With a certificate that somebody has obtained before: renewed as if it had been here.
    ///
    /// - Parameter random: as of ``succeeded(at:notAfter:random:)``.
    public init(holdingFrom notBefore: UnixTime, until notAfter: UnixTime, random: UInt64) {
        self.init(at: notBefore)
        succeeded(at: notBefore, notAfter: notAfter, random: random)
    }

    public func isDue(at now: UnixTime) -> Bool { now >= nextAttempt }

    /// A certificate was obtained.
    ///
    /// - Parameter random: uniform over all values.
    public mutating func succeeded(at now: UnixTime, notAfter: UnixTime, random: UInt64) {
        self.notAfter = notAfter
        attempts = 0
        failingSince = nil
        // Between 45 and 55 hundredths of what is left. Whoever issues certificates that have expired is not asked
        // without pause.
        let left = max(0, notAfter - now)
        nextAttempt = now + max(1, left * 45 / 100 + Self.share(of: left / 10, random))
    }

    /// An attempt has failed.
    public mutating func failed(at now: UnixTime, random: UInt64) {
        failingSince = failingSince ?? now
        let pause = min(1 << Int64(min(attempts, 16)), Self.longestPause)
        attempts += 1
        // Between half of the pause and all of it.
        nextAttempt = now + max(1, (pause + 1) / 2 + Self.share(of: pause / 2, random))
    }

    /// The next attempt is due, whatever the certificate: its issuer is to be left.
    public mutating func hasten(to time: UnixTime) { nextAttempt = min(nextAttempt, time) }

    public func health(at now: UnixTime) -> Health {
        guard let notAfter else { return .missing(attempts: attempts) }
        if now >= notAfter { return .expired(at: notAfter) }
        guard let failingSince else { return .current }
        return .renewalFails(since: failingSince, attempts: attempts)
    }

    /// A number from 0 to `bound`.
    private static func share(of bound: Int64, _ random: UInt64) -> Int64 {
        Int64(UInt64(bound + 1).multipliedFullWidth(by: random).high)
    }
}
