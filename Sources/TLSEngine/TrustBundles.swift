// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL
public import Identity

/// The certificates that a trust domain's chains end at, and what its authorities have taken back, by trust domain.
///
/// Immutable: a change is a new value. Safe to use from several threads, because nothing here changes after `init` but
/// OpenSSL's atomic counts of references.
public final class TrustBundles: @unchecked Sendable {
    /// Most certificates in one bundle: a root and its successor, of several makers.
    public static let maximumCertificates = 64

    /// Most revocation lists of one trust domain.
    public static let maximumRevocations = 64

    private let stacks: [TrustDomain: OpaquePointer]
    private let revocations: [TrustDomain: [RevocationList]]

    /// - Parameters:
    ///   - bundles: for each trust domain the DER of its certificates. An empty bundle trusts nobody.
    ///   - revocations: for each trust domain the DER of revocation lists of its authorities. A certificate whose issuer
    ///     has no list here is not revoked.
    /// - Throws: ``TLSError`` that names the trust domain and the certificate or list, if one cannot be read or is no
    ///   authority: a leaf in a bundle would be trusted without a signature.
    public init(
        _ bundles: [TrustDomain: [[UInt8]]], revocations: [TrustDomain: [[UInt8]]] = [:]
    ) throws(TLSError) {
        var stacks: [TrustDomain: OpaquePointer] = [:]
        var lists: [TrustDomain: [RevocationList]] = [:]
        do throws(TLSError) {
            for (domain, list) in revocations where !list.isEmpty { lists[domain] = try Self.lists(domain, list) }
            for (domain, certificates) in bundles {
                stacks[domain] = try Self.stack(domain, certificates)
            }
        } catch {
            for stack in stacks.values { mesh_stack_free(stack) }
            throw error
        }
        self.stacks = stacks
        self.revocations = lists
    }

    /// Trusts nobody.
    public init() {
        stacks = [:]
        revocations = [:]
    }

    deinit {
        for stack in stacks.values { mesh_stack_free(stack) }
    }

    public var trustDomains: [TrustDomain] { stacks.keys.sorted() }

    /// The stack of a trust domain's certificates. Lent.
    func anchors(of domain: TrustDomain) -> OpaquePointer? { stacks[domain] }

    /// The first certificate of a path, by its depth, that its issuer has taken back.
    ///
    /// - Parameter path: Stack of X509 from the leaf to the anchor, verified. Lent.
    func revokedDepth(_ path: OpaquePointer?, of domain: TrustDomain) -> Int? {
        guard let lists = revocations[domain], let path else { return nil }
        // An anchor is trusted because the bundle has it, and goes when it has it no more.
        for depth in 0..<max(0, mesh_stack_count(path) - 1) {
            guard let certificate = mesh_stack_at(path, depth), let issuer = mesh_stack_at(path, depth + 1) else {
                continue
            }
            if lists.contains(where: { $0.revokes(certificate, of: issuer) }) { return Int(depth) }
        }
        return nil
    }

    private static func lists(_ domain: TrustDomain, _ ders: [[UInt8]]) throws(TLSError) -> [RevocationList] {
        let operation = "read the revocation lists of \(domain)"
        guard ders.count <= maximumRevocations else {
            throw TLSError(operation, reason: "they are \(ders.count); the limit is \(maximumRevocations)")
        }
        var lists: [RevocationList] = []
        for (index, der) in ders.enumerated() {
            do throws(TLSError) { lists.append(try RevocationList(der: der)) } catch {
                throw TLSError(operation, reason: "list \(index + 1): \(error.reason)")
            }
        }
        return lists
    }

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
