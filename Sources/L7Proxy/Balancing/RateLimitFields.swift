// SPDX-License-Identifier: Apache-2.0

/// The fields that tell a client about a limit, as values without names, in memory that the caller lends.
///
/// https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-ratelimit-headers-10 sections 3 and 4, and Retry-After of
/// RFC 9110 section 10.2.3, which goes with the status 429 (RFC 6585 section 4).
public enum RateLimitFields {
    public static let policyName: StaticString = "ratelimit-policy"
    public static let limitName: StaticString = "ratelimit"
    public static let retryAfterName: StaticString = "retry-after"

    /// Bytes that are enough for any of the values, if the policy's name has 64 at most.
    public static let maximumLength = 128

    /// `"name";q=20;w=2`: 20 requests in 2 seconds.
    ///
    /// - Parameter name: of letters, digits, `-`, `_`, `.` and `/`: the name of a policy.
    /// - Returns: The bytes that were written; `nil` if there is no room, or the name has other characters.
    public static func policy(
        _ limit: RateLimit, name: UnsafeRawBufferPointer, into buffer: UnsafeMutableRawBufferPointer
    ) -> Int? {
        item(name, (";q=", UInt64(limit.burst)), (";w=", UInt64(limit.window)), buffer)
    }

    /// `"name";r=7;t=2`: 7 requests are left, and after 2 seconds there are all again.
    public static func limit(
        _ decision: RateLimitDecision, name: UnsafeRawBufferPointer, into buffer: UnsafeMutableRawBufferPointer
    ) -> Int? {
        item(name, (";r=", UInt64(decision.remaining)), (";t=", UInt64(decision.resetSeconds)), buffer)
    }

    /// Seconds, 1 at least: a client that is told 0 would come back at once.
    public static func retryAfter(_ decision: RateLimitDecision, into buffer: UnsafeMutableRawBufferPointer) -> Int? {
        var writer = ByteWriter(buffer)
        writer.append(decimal: UInt64(max(decision.waitSeconds, 1)))
        return writer.failure == nil ? writer.count : nil
    }

    /// A name with two parameters.
    private static func item(
        _ name: UnsafeRawBufferPointer, _ first: (key: StaticString, value: UInt64),
        _ second: (key: StaticString, value: UInt64), _ buffer: UnsafeMutableRawBufferPointer
    ) -> Int? {
        let isName = name.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."),
                UInt8(ascii: "/"):
                true
            default: false
            }
        }
        guard isName, !name.isEmpty else { return nil }
        var writer = ByteWriter(buffer)
        writer.append(UInt8(ascii: "\""))
        writer.append(name)
        writer.append(UInt8(ascii: "\""))
        writer.append(first.key)
        writer.append(decimal: first.value)
        writer.append(second.key)
        writer.append(decimal: second.value)
        return writer.failure == nil ? writer.count : nil
    }
}
