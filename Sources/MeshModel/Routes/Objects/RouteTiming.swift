// SPDX-License-Identifier: Apache-2.0

/// A duration of the Gateway API, in milliseconds.
///
/// One to four numbers of one to five digits with a unit each, in any order: `1h30m`, `100ms`.
/// https://gateway-api.sigs.k8s.io/geps/gep-2257/
public struct GatewayDuration: Hashable, Sendable, Comparable {
    public let milliseconds: UInt64

    public init(milliseconds: UInt64) {
        self.milliseconds = milliseconds
    }

    public init?(_ text: String) {
        var rest = text.utf8[...]
        var sum: UInt64 = 0
        for _ in 0..<4 {
            let digits = rest.prefix { (0x30...0x39).contains($0) }
            guard (1...5).contains(digits.count) else { return nil }
            let number = digits.reduce(UInt64(0)) { $0 * 10 + UInt64($1 - 0x30) }
            rest = rest.dropFirst(digits.count)
            // `ms` before `m`, which begins it.
            guard let unit = Self.units.first(where: { rest.starts(with: $0.suffix.utf8) }) else { return nil }
            rest = rest.dropFirst(unit.suffix.utf8.count)
            sum += number * unit.milliseconds
            if rest.isEmpty {
                milliseconds = sum
                return
            }
        }
        return nil
    }

    private static let units: [(suffix: String, milliseconds: UInt64)] = [
        ("ms", 1), ("h", 3_600_000), ("m", 60000), ("s", 1000),
    ]

    public static func < (left: Self, right: Self) -> Bool { left.milliseconds < right.milliseconds }
}

extension GatewayDuration: CustomStringConvertible {
    /// As GEP-2257 formats: the largest units first, zero as `0s`.
    public var description: String {
        if milliseconds == 0 { return "0s" }
        var rest = milliseconds
        var text = ""
        for (suffix, size) in [("h", 3_600_000), ("m", 60000), ("s", 1000), ("ms", 1)] as [(String, UInt64)]
        where rest >= size {
            text += "\(rest / size)\(suffix)"
            rest %= size
        }
        return text
    }
}

/// GEP-1742. Zero turns a time limit off, as if it were not given.
public struct RouteTimeouts: Hashable, Sendable {
    /// From the request to the end of its response, retries and waits included.
    public var request: GatewayDuration?
    /// For each attempt. Not more than `request`.
    public var backendRequest: GatewayDuration?

    public init(request: GatewayDuration? = nil, backendRequest: GatewayDuration? = nil) {
        self.request = request
        self.backendRequest = backendRequest
    }
}

/// GEP-1731.
public struct RouteRetry: Hashable, Sendable {
    /// Statuses of a backend that are worth another attempt, 400 to 599.
    public var codes: [UInt16]
    /// Attempts beside the first. `nil`: ``defaultAttempts``; 0: none.
    public var attempts: UInt32?
    /// The wait before the first retry, which later ones double. `nil`: ``defaultBackoff``.
    public var backoff: GatewayDuration?

    public static let defaultAttempts: UInt32 = 1
    public static let defaultBackoff = GatewayDuration(milliseconds: 25)

    public init(codes: [UInt16] = [], attempts: UInt32? = nil, backoff: GatewayDuration? = nil) {
        self.codes = codes
        self.attempts = attempts
        self.backoff = backoff
    }
}
