// SPDX-License-Identifier: Apache-2.0

/// The identity of a workload, or of a trust domain if it has no path.
///
/// Read to the letter of the SPIFFE-ID standard: scheme in any case, a trust domain of `a-z0-9.-_`, segments of
/// `a-zA-Z0-9.-_`, nothing else. There is one text for each ID, so equal IDs are equal texts.
public struct SPIFFEID: Hashable, Sendable {
    public let trustDomain: TrustDomain
    /// Empty, or one with a slash before each segment.
    public let path: String

    /// Longest URI, in bytes (section 2.3).
    public static let maximumBytes = 2048
    private static let scheme: StaticString = "spiffe://"

    /// - Throws: ``SPIFFEIDError``.
    public init(_ text: String) throws(SPIFFEIDError) {
        var copy = text
        // `withUTF8` would lose the type of the error.
        self = try copy.withUTF8 { bytes in
            Result { () throws(SPIFFEIDError) in try SPIFFEID(bytes: UnsafeRawBufferPointer(bytes)) }
        }.get()
    }

    /// Reads the bytes of a certificate's URI, which may be anything, NUL included.
    public init(bytes: UnsafeRawBufferPointer) throws(SPIFFEIDError) {
        if bytes.isEmpty { throw SPIFFEIDError(.empty, at: 0) }
        if bytes.count > Self.maximumBytes {
            throw SPIFFEIDError(.long(bytes: bytes.count), at: Self.maximumBytes)
        }
        let start = Self.scheme.utf8CodeUnitCount
        for index in 0..<start {
            let expected = Self.scheme.utf8Start[index]
            // A scheme is case-insensitive (RFC 3986 section 3.1).
            let isLetter = expected >= UInt8(ascii: "a")
            guard index < bytes.count, bytes[index] == expected || isLetter && bytes[index] == expected - 0x20 else {
                throw SPIFFEIDError(.scheme, at: index)
            }
        }
        let slash = bytes[start...].firstIndex(of: UInt8(ascii: "/")) ?? bytes.count
        if let defect = TrustDomain.defect(UnsafeRawBufferPointer(rebasing: bytes[start..<slash])) {
            throw defect.moved(by: start)
        }
        let path = UnsafeRawBufferPointer(rebasing: bytes[slash...])
        if let defect = Self.defect(path: path) { throw defect.moved(by: slash) }
        trustDomain = TrustDomain(checked: String(decoding: bytes[start..<slash], as: UTF8.self))
        self.path = String(decoding: path, as: UTF8.self)
    }

    /// The ID of the trust domain itself, as a certificate that signs has it.
    public init(_ trustDomain: TrustDomain) {
        self.trustDomain = trustDomain
        path = ""
    }

    /// The ID of a Kubernetes service account, as Istio writes it.
    ///
    /// - Throws: ``SPIFFEIDError``; its offset is that in the whole text.
    public init(
        _ trustDomain: TrustDomain, namespace: String, serviceAccount: String
    ) throws(SPIFFEIDError) {
        try self.init("spiffe://\(trustDomain.name)/ns/\(namespace)/sa/\(serviceAccount)")
        guard workload != nil else {
            throw SPIFFEIDError(.notNamespaceAndServiceAccount, at: Self.scheme.utf8CodeUnitCount)
        }
    }

    /// Namespace and service account, if the path is of Istio's form.
    public var workload: (namespace: Substring, serviceAccount: Substring)? {
        let parts = path.split(separator: "/", omittingEmptySubsequences: true)
        guard parts.count == 4, parts[0] == "ns", parts[2] == "sa" else { return nil }
        return (parts[1], parts[3])
    }

    /// What is wrong with a path (section 2.2); the empty one is right.
    private static func defect(path: UnsafeRawBufferPointer) -> SPIFFEIDError? {
        var segment = 1
        for offset in path.indices {
            switch path[offset] {
            case UInt8(ascii: "/"):
                if offset > 0, let defect = defect(path, segment..<offset) { return defect }
                segment = offset + 1
            case UInt8(ascii: "%"): return SPIFFEIDError(.percentEncoding, at: offset)
            case UInt8(ascii: "?"): return SPIFFEIDError(.query, at: offset)
            case UInt8(ascii: "#"): return SPIFFEIDError(.fragment, at: offset)
            case let byte where !byte.isPathByte: return SPIFFEIDError(.pathByte(byte), at: offset)
            default: break
            }
        }
        if path.isEmpty { return nil }
        if segment == path.count { return SPIFFEIDError(.trailingSlash, at: path.count - 1) }
        return defect(path, segment..<path.count)
    }

    private static func defect(_ path: UnsafeRawBufferPointer, _ segment: Range<Int>) -> SPIFFEIDError? {
        if segment.isEmpty { return SPIFFEIDError(.emptySegment, at: segment.lowerBound) }
        let isDots = segment.count <= 2 && path[segment].allSatisfy { $0 == UInt8(ascii: ".") }
        return isDots ? SPIFFEIDError(.dotSegment, at: segment.lowerBound) : nil
    }
}

extension SPIFFEID: CustomStringConvertible {
    public var description: String { "spiffe://\(trustDomain.name)\(path)" }
}

extension SPIFFEID: Comparable {
    public static func < (left: Self, right: Self) -> Bool {
        (left.trustDomain, left.path) < (right.trustDomain, right.path)
    }
}
