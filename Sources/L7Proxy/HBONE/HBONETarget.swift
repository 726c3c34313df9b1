// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// What an HBONE client asks to be connected with: the `:authority` of its CONNECT (RFC 9113 section 8.5).
public enum HBONETarget: Hashable, Sendable {
    /// A pod's address: the client has chosen the endpoint.
    case address(IPAddress, port: UInt16)
    /// A Service by its host name, of which the authority has so many bytes, and the Service's own port: sent to
    /// gateways and waypoints.
    case service(hostBytes: Int, port: UInt16)

    /// Longest host name (RFC 1035 section 2.3.4), without a dot at its end.
    static let maximumHostBytes = 253

    /// Reads `address:port`, `[address]:port` or `host:port`.
    ///
    /// - Returns: `nil` if it is none of them. A port is always there, and not 0. A host name that ends in a number is
    ///   refused, because readers of addresses differ about it (RFC 1123 section 2.1).
    public init?(_ authority: UnsafeRawBufferPointer) {
        guard let parts = Authority.parts(authority), let port = parts.port, port != 0 else { return nil }
        let host = UnsafeRawBufferPointer(rebasing: authority[..<parts.hostLength])
        if host.first == UInt8(ascii: "[") {
            let inner = UnsafeRawBufferPointer(rebasing: host[1..<(host.count - 1)])
            guard let address = Self.address(inner) else { return nil }
            self = .address(address, port: port)
        } else if let address = Self.address(host) {
            self = .address(address, port: port)
        } else {
            guard Self.isHostName(host) else { return nil }
            self = .service(hostBytes: host.count, port: port)
        }
    }

    /// No address has a letter beyond `f`; the longest has 45 characters.
    private static func address(_ text: UnsafeRawBufferPointer) -> IPAddress? {
        guard text.count <= 45, let first = text.first, ASCII.hexValue(first) != nil || first == ASCII.colon else {
            return nil
        }
        return IPAddress(String(decoding: text, as: UTF8.self))
    }

    /// RFC 1123 section 2.1; `_` as in RFC 8552, which host names of tests and pods have.
    private static func isHostName(_ text: UnsafeRawBufferPointer) -> Bool {
        guard text.count <= maximumHostBytes else { return false }
        var label = 0
        var hasLetter = false
        for byte in text {
            if byte == UInt8(ascii: ".") {
                guard label > 0 else { return false }
                label = 0
                hasLetter = false
                continue
            }
            let isLetter = ASCII.lowercased(byte) &- 0x61 < 26
            guard isLetter || ASCII.isDigit(byte) || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_") else {
                return false
            }
            if !ASCII.isDigit(byte) { hasLetter = true }
            label += 1
            guard label <= 63 else { return false }
        }
        return label > 0 && hasLetter
    }
}
