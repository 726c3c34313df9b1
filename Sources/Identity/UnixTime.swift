// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A moment of wall-clock time in whole seconds since 1970-01-01T00:00:00Z, as certificates count it.
public struct UnixTime: Hashable, Comparable, Sendable {
    public let seconds: Int64

    public init(seconds: Int64) { self.seconds = seconds }

    public static func < (left: Self, right: Self) -> Bool { left.seconds < right.seconds }

    public static func + (time: Self, seconds: Int64) -> Self { Self(seconds: time.seconds + seconds) }

    public static func - (time: Self, seconds: Int64) -> Self { Self(seconds: time.seconds - seconds) }

    /// Seconds from the right to the left.
    public static func - (left: Self, right: Self) -> Int64 { left.seconds - right.seconds }
}

extension UnixTime {
    /// The time now.
    public static var now: UnixTime { UnixTime(seconds: Int64(time(nil))) }
}

extension UnixTime: CustomStringConvertible {
    /// RFC 3339, in UTC: `2026-11-25T21:09:08Z`.
    public var description: String {
        var time = time_t(seconds)
        var parts = tm()
        guard gmtime_r(&time, &parts) != nil else { return "\(seconds) s since 1970" }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 40) { text in
            guard let start = text.baseAddress, strftime(start, text.count, "%Y-%m-%dT%H:%M:%SZ", &parts) > 0 else {
                return "\(seconds) s since 1970"
            }
            return String(cString: start)
        }
    }
}
