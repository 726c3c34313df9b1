// SPDX-License-Identifier: Apache-2.0

/// The name of a trust domain: the host of a SPIFFE ID (SPIFFE-ID standard, section 2.1).
///
/// `cluster.local` unless a mesh says otherwise.
public struct TrustDomain: Hashable, Sendable {
    public let name: String

    /// Longest name, in bytes (section 2.3).
    public static let maximumBytes = 255

    /// - Throws: ``SPIFFEIDError`` that says which byte is wrong; its offset counts from the name's first byte.
    public init(_ name: String) throws(SPIFFEIDError) {
        var copy = name
        let defect = copy.withUTF8 { Self.defect(UnsafeRawBufferPointer($0)) }
        if let defect { throw defect }
        self.name = name
    }

    /// - Parameter checked: without a ``defect(_:)``.
    init(checked name: String) { self.name = name }

    /// What is wrong with a name.
    static func defect(_ name: UnsafeRawBufferPointer) -> SPIFFEIDError? {
        if name.isEmpty { return SPIFFEIDError(.emptyTrustDomain, at: 0) }
        for (offset, byte) in name.enumerated() where !byte.isTrustDomainByte {
            switch byte {
            case UInt8(ascii: "@"): return SPIFFEIDError(.userInformation, at: offset)
            case UInt8(ascii: ":"): return SPIFFEIDError(.port, at: offset)
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): return SPIFFEIDError(.upperCaseTrustDomain(byte), at: offset)
            case UInt8(ascii: "%"): return SPIFFEIDError(.percentEncoding, at: offset)
            case UInt8(ascii: "?"): return SPIFFEIDError(.query, at: offset)
            case UInt8(ascii: "#"): return SPIFFEIDError(.fragment, at: offset)
            default: return SPIFFEIDError(.trustDomainByte(byte), at: offset)
            }
        }
        if name.count > maximumBytes { return SPIFFEIDError(.longTrustDomain(bytes: name.count), at: maximumBytes) }
        return nil
    }
}

extension TrustDomain: CustomStringConvertible {
    public var description: String { name }
}

extension TrustDomain: Comparable {
    public static func < (left: Self, right: Self) -> Bool { left.name < right.name }
}

extension UInt8 {
    /// `a-z0-9.-_`
    fileprivate var isTrustDomainByte: Bool {
        switch self {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."),
            UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    /// `a-zA-Z0-9.-_`
    var isPathByte: Bool { isTrustDomainByte || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(self) }
}
