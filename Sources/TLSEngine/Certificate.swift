// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL
public import Identity

/// An X.509 certificate.
///
/// Safe to use from several threads: OpenSSL counts the references atomically, and nothing here changes a certificate.
public struct Certificate: ~Copyable, @unchecked Sendable {
    /// Largest certificate that is read, in bytes of DER.
    public static let maximumBytes = 16 << 10

    let x509: OpaquePointer

    /// Takes ownership.
    init(adopting x509: OpaquePointer) { self.x509 = x509 }

    /// With a reference of its own.
    init(sharing x509: OpaquePointer) {
        X509_up_ref(x509)
        self.x509 = x509
    }

    /// - Throws: ``TLSError``, also if bytes follow the certificate.
    public init(der: [UInt8]) throws(TLSError) {
        guard der.count <= Self.maximumBytes else {
            throw TLSError(
                "read a certificate", reason: "it has \(der.count) bytes; the limit is \(Self.maximumBytes)")
        }
        ERR_clear_error()
        var used = 0
        let x509 = der.withUnsafeBufferPointer { bytes in
            var next = bytes.baseAddress
            let read = d2i_X509(nil, &next, bytes.count)
            if let next, let start = bytes.baseAddress { used = next - start }
            return read
        }
        guard let x509 else { throw TLSError("read a certificate") }
        guard used == der.count else {
            X509_free(x509)
            throw TLSError("read a certificate", reason: "\(der.count - used) bytes follow it")
        }
        self.x509 = x509
    }

    deinit { X509_free(x509) }

    /// Another reference to the same certificate.
    public func share() -> Certificate { Certificate(sharing: x509) }

    public var der: [UInt8] {
        let count = Int(i2d_X509(x509, nil))
        precondition(count > 0, "a certificate that was read can be written")
        return [UInt8](unsafeUninitializedCapacity: count) { buffer, used in
            var next = buffer.baseAddress
            used = Int(i2d_X509(x509, &next))
        }
    }

    public var notBefore: UnixTime { Self.time(X509_get0_notBefore(x509)) }
    public var notAfter: UnixTime { Self.time(X509_get0_notAfter(x509)) }

    /// Whether it says that it may sign others.
    public var isAuthority: Bool { X509_get_extension_flags(x509) & UInt32(EXFLAG_CA) != 0 }

    /// Its URI names; none if they cannot be read.
    public var uris: [String] { (try? CertificateURIs.read(x509).get()) ?? [] }

    /// Whether it has itself for issuer, by name.
    public var isSelfIssued: Bool { X509_get_extension_flags(x509) & UInt32(EXFLAG_SI) != 0 }

    /// A time that OpenSSL cannot read is the beginning: such a certificate has expired.
    private static func time(_ time: UnsafePointer<ASN1_TIME>?) -> UnixTime {
        time.flatMap { UnixTime($0) } ?? UnixTime(seconds: 0)
    }
}

extension UnixTime {
    /// - Returns: `nil` for a time that OpenSSL cannot read.
    init?(_ time: UnsafePointer<ASN1_TIME>) {
        var parts = tm()
        guard ASN1_TIME_to_tm(time, &parts) == 1 else { return nil }
        self.init(seconds: Int64(timegm(&parts)))
    }
}
