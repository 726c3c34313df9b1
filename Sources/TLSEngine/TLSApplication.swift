// SPDX-License-Identifier: Apache-2.0

/// What is spoken inside a connection, as both ends agree by ALPN (RFC 7301): a connection that was meant for one
/// protocol is never taken for another's.
public enum TLSApplication: Int, Sendable {
    /// HTTP/2 (RFC 9113 section 3.2): tunnels.
    case h2 = 1
    /// Version 1 of what nodes and their certificate authority speak.
    case authority

    public var name: String {
        switch self {
        case .h2: "h2"
        case .authority: "sockmesh-ca/1"
        }
    }

    /// With its length before it (RFC 7301 section 3.1).
    var wireName: [UInt8] { [UInt8(name.utf8.count)] + name.utf8 }

    func isNamed(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool { bytes.elementsEqual(name.utf8) }
}
