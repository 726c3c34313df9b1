// SPDX-License-Identifier: Apache-2.0

import Identity
import L7Proxy
import LinuxIO
import ProxyProtocol
import TLSEngine

/// Why identities that came are not used.
struct IdentityRefusal: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// The identities that a proxy has been given. It keeps them beyond the end of an agent, and gives them back to the next.
struct IdentityStore {
    private(set) var current = TLSIdentities(serial: 0, svids: [], bundles: TrustBundles())
    /// `nil`: nobody has said yet whom to trust.
    private var trust: TrustRecord?
    private let limits: LinkLimits

    init(limits: LinkLimits = LinkLimits()) { self.limits = limits }

    /// Whether nothing has come yet.
    var isUntouched: Bool { current.serial == 0 }

    /// Takes what an ``IdentityTransfer`` says, as a whole or not at all. The sender wipes the file.
    mutating func apply(_ file: SharedDescriptor) throws(IdentityRefusal) -> TLSIdentities {
        let secret: SecretBytes
        do throws(SystemError) { secret = try SecretBytes.read(file, atMost: limits.identityBytes) } catch {
            throw IdentityRefusal("they cannot be read: \(error)")
        }
        let (transfer, new) = try secret.withBytes { bytes throws(IdentityRefusal) in try Self.read(bytes) }
        var svids = current.svids
        for name in transfer.removed {
            do throws(SPIFFEIDError) { svids[try SPIFFEID(name)] = nil } catch {
                throw IdentityRefusal("an identity that is taken away: \(error)")
            }
        }
        for svid in new { svids[svid.id] = svid }
        guard svids.count <= limits.identities else {
            throw IdentityRefusal("they are \(svids.count); the limit is \(limits.identities)")
        }
        var bundles = current.bundles
        // The same object for the same certificates: peers are not checked again.
        if let new = transfer.trust, new != trust {
            bundles = try Self.read(new)
            trust = new
        }
        current = TLSIdentities(serial: current.serial + 1, svids: Array(svids.values), bundles: bundles)
        return current
    }

    private static func read(_ bytes: UnsafeRawBufferPointer) throws(IdentityRefusal) -> (IdentityTransfer, [X509SVID])
    {
        let (transfer, keys): (IdentityTransfer, [Range<Int>])
        do throws(WireError) { (transfer, keys) = try IdentityTransfer.read(bytes) } catch {
            throw IdentityRefusal("malformed: \(error)")
        }
        var svids: [X509SVID] = []
        for (identity, key) in zip(transfer.identities, keys) {
            do throws(TLSError) {
                let svid = try X509SVID(
                    chain: identity.chain, key: PrivateKey(pkcs8: UnsafeRawBufferPointer(rebasing: bytes[key])))
                guard svid.id.description == identity.id else {
                    throw TLSError("use a certificate", reason: "it is of \(svid.id)")
                }
                svids.append(svid)
            } catch {
                throw IdentityRefusal("\(identity.id): \(error)")
            }
        }
        return (transfer, svids)
    }

    private static func read(_ trust: TrustRecord) throws(IdentityRefusal) -> TrustBundles {
        var roots: [TrustDomain: [[UInt8]]] = [:]
        var revocations: [TrustDomain: [[UInt8]]] = [:]
        for domain in trust.domains {
            do throws(SPIFFEIDError) {
                let name = try TrustDomain(domain.name)
                (roots[name], revocations[name]) = (domain.roots, domain.revocations)
            } catch {
                throw IdentityRefusal("a trust domain: \(error)")
            }
        }
        do throws(TLSError) { return try TrustBundles(roots, revocations: revocations) } catch {
            throw IdentityRefusal("\(error)")
        }
    }

    /// Writes everything, as an ``IdentityTransfer``, to an empty file. The reader wipes it.
    func write(to file: SharedDescriptor) throws(SystemError) {
        let svids = Array(current.svids.values)
        let transfer = IdentityTransfer(
            trust: trust,
            identities: svids.map { svid in
                .init(
                    id: svid.id.description, chain: svid.chain, keyBytes: svid.key.withPKCS8 { UInt32($0.count) })
            })
        try transfer.write(to: file) { (index, take) throws(SystemError) in try svids[index].key.withPKCS8(take) }
    }
}
