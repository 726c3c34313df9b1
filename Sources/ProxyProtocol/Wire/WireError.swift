// SPDX-License-Identifier: Apache-2.0

/// Bytes that are not what they should be.
public struct WireError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Bytes before the place.
    public let offset: Int
    public let reason: String

    public init(offset: Int, _ reason: String) {
        self.offset = offset
        self.reason = reason
    }

    public var description: String { "\(reason), at byte \(offset)" }
}
