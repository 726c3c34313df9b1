// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL
public import Identity

/// An identity that can be proved: a leaf certificate, the intermediates between it and the bundle, and its key.
///
/// Immutable and shared by all who use it; a renewal is a new one. Its text names the identity, never the key.
public final class X509SVID: Sendable {
    public let id: SPIFFEID
    public let notBefore: UnixTime
    public let notAfter: UnixTime
    /// DER, leaf first, without the root.
    public let chain: [[UInt8]]
    public let key: PrivateKey

    let leaf: Certificate

    /// - Throws: ``TLSError`` if the leaf breaks the rules of a leaf, or the key is not the leaf's.
    public init(chain: [[UInt8]], key: consuming PrivateKey) throws(TLSError) {
        let operation = "use a certificate"
        guard let first = chain.first else { throw TLSError(operation, .noCertificate) }
        guard chain.count <= SVIDVerifier.maximumChain else { throw TLSError(operation, .longChain(chain.count)) }
        let leaf = try Certificate(der: first)
        switch SVIDLeaf.identity(of: leaf.x509) {
        case .success(let id): self.id = id
        case .failure(let rejection): throw TLSError(operation, rejection)
        }
        guard key.belongs(to: leaf) else {
            throw TLSError(operation, reason: "the private key is not the certificate's")
        }
        notBefore = leaf.notBefore
        notAfter = leaf.notAfter
        self.chain = chain
        self.key = key
        self.leaf = leaf
    }
}

extension X509SVID: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "\(id), valid until \(notAfter)" }
    public var debugDescription: String { description }
    /// Without the key.
    public var customMirror: Mirror { Mirror(self, children: ["id": id, "notAfter": notAfter]) }
}
