// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL
public import Identity

/// The certificates that a trust domain's chains end at, by trust domain.
///
/// Immutable: a change is a new value. Safe to use from several threads, because nothing here changes after `init` but
/// OpenSSL's atomic counts of references.
public final class TrustBundles: @unchecked Sendable {
    /// Most certificates in one bundle: a root and its successor, of several makers.
    public static let maximumCertificates = 64

    private let stacks: [TrustDomain: OpaquePointer]

    /// - Parameter bundles: for each trust domain the DER of its certificates. An empty bundle trusts nobody.
    /// - Throws: ``TLSError`` that names the trust domain and the certificate, if one cannot be read or is no authority:
    ///   a leaf in a bundle would be trusted without a signature.
    public init(_ bundles: [TrustDomain: [[UInt8]]]) throws(TLSError) {
        var stacks: [TrustDomain: OpaquePointer] = [:]
        do throws(TLSError) {
            for (domain, certificates) in bundles {
                stacks[domain] = try Self.stack(domain, certificates)
            }
        } catch {
            for stack in stacks.values { mesh_stack_free(stack) }
            throw error
        }
        self.stacks = stacks
    }

    deinit {
        for stack in stacks.values { mesh_stack_free(stack) }
    }

    public var trustDomains: [TrustDomain] { stacks.keys.sorted() }

    /// The stack of a trust domain's certificates. Lent.
    func anchors(of domain: TrustDomain) -> OpaquePointer? { stacks[domain] }

    private static func stack(_ domain: TrustDomain, _ certificates: [[UInt8]]) throws(TLSError) -> OpaquePointer {
        let operation = "read the bundle of \(domain)"
        guard certificates.count <= maximumCertificates else {
            throw TLSError(
                operation, reason: "it has \(certificates.count) certificates; the limit is \(maximumCertificates)")
        }
        guard let stack = mesh_stack_new() else { throw TLSError(operation) }
        do throws(TLSError) {
            for (index, der) in certificates.enumerated() {
                let certificate: Certificate
                do throws(TLSError) { certificate = try Certificate(der: der) } catch {
                    throw TLSError(operation, reason: "certificate \(index + 1): \(error.reason)")
                }
                guard certificate.isAuthority else {
                    throw TLSError(operation, reason: "certificate \(index + 1) may not sign others")
                }
                guard mesh_stack_add(stack, certificate.x509) == 1 else { throw TLSError(operation) }
            }
        } catch {
            mesh_stack_free(stack)
            throw error
        }
        return stack
    }
}
