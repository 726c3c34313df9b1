// SPDX-License-Identifier: Apache-2.0

/// Quantities as people read them.
enum Units {
    /// `999 B`, `1.5 KB`, `2.0 MB`: powers of 1024.
    static func bytes(_ count: UInt64) -> String {
        guard count >= 1024 else { return "\(count) B" }
        var value = Double(count)
        for unit in ["KB", "MB", "GB", "TB"] {
            value /= 1024
            // 1023.95 and more would be printed with four digits.
            if value < 1023.95 || unit == "TB" { return "\(oneDecimal(value)) \(unit)" }
        }
        return "\(count) B"
    }

    /// `0.4ms`, `12.5s`, `3m20s`, `4h05m`, `9d03h`.
    static func seconds(_ seconds: Double) -> String {
        if seconds < 1 { return "\(oneDecimal(seconds * 1000))ms" }
        if seconds < 60 { return "\(oneDecimal(seconds))s" }
        let whole = UInt64(seconds)
        func pair(_ large: UInt64, _ largeUnit: String, _ small: UInt64, _ smallUnit: String) -> String {
            "\(large)\(largeUnit)\(small < 10 ? "0" : "")\(small)\(smallUnit)"
        }
        if whole < 3600 { return pair(whole / 60, "m", whole % 60, "s") }
        if whole < 86_400 { return pair(whole / 3600, "h", whole % 3600 / 60, "m") }
        return pair(whole / 86_400, "d", whole % 86_400 / 3600, "h")
    }

    static func oneDecimal(_ value: Double) -> String {
        let tenths = Int64((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }

    /// An address and port as in a URL: IPv6 in brackets.
    static func endpoint(_ address: String, _ port: UInt16) -> String {
        address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)"
    }
}
