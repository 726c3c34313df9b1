// SPDX-License-Identifier: Apache-2.0

/// What the peer has said of itself (RFC 9113 section 6.5.2).
struct HTTP2PeerSettings: BitwiseCopyable {
    /// Until it says something, as many as it should allow (section 6.5.2).
    var concurrentStreams: UInt32 = 100
    var initialWindow = HTTP2Core.defaultWindow
    var frameBytes = 16_384
    /// RFC 8441 section 3.
    var takesExtendedConnect = false
    /// Once said, it stays (RFC 9218 section 2.1).
    var ignoresPriorities: Bool?
}
