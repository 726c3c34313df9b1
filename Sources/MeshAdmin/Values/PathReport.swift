// SPDX-License-Identifier: Apache-2.0

/// Which way the bytes of one direction go.
public struct PathReport: Hashable, Codable, Sendable {
    public enum Path: String, Codable, Sendable {
        /// Connecting, or nothing was sent yet.
        case new
        /// From socket to socket.
        case redirect
        /// Through the TCP stack, to the end of the connection; `reason` says why.
        case tcp
        case denied
    }

    public var path: Path
    /// Name of the reason (docs/errors.md) where the path is `tcp` or `denied`.
    public var reason: String?

    public init(_ path: Path, reason: String? = nil) {
        self.path = path
        self.reason = reason
    }
}
