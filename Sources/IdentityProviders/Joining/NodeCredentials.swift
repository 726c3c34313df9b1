// SPDX-License-Identifier: Apache-2.0

import Identity
import LinuxIO
import TLSEngine

/// What a node that joins keeps in its state directory: its own key and certificate in `node.pem`, and whom its authority
/// told it to believe in `trust.pem`. Both are PEM, replaced atomically and durably.
struct NodeCredentials {
    private let file: String
    private let trustFile: String
    let trustDomain: TrustDomain
    /// By which the node joins or has joined. Made here, and nowhere else.
    private(set) var key: SharedKey
    /// Absent before it has joined.
    private(set) var svid: X509SVID?
    /// What the authority has said last; absent before it has said anything.
    private(set) var trust: TrustMaterial?
    /// Whether the disk has it.
    private var isTrustStored = true

    /// A key in a value that can be copied.
    final class SharedKey: Sendable {
        let key: PrivateKey

        init(_ key: consuming PrivateKey) { self.key = key }
    }

    /// Opens what is in `directory`, or makes a key there: before it is certified, so that a node which ends in between
    /// asks again with the same one.
    init(in directory: String, _ trustDomain: TrustDomain) throws(JoinError) {
        file = "\(directory)/node.pem"
        trustFile = "\(directory)/trust.pem"
        self.trustDomain = trustDomain
        if let (key, chain) = try Self.readKey(file) {
            self.key = key
            if !chain.isEmpty {
                do throws(TLSError) { svid = try X509SVID(chain: chain, key: key.key.share()) } catch {
                    throw Self.damaged(file, "\(error)")
                }
            }
        } else {
            do throws(TLSError) { key = SharedKey(try PrivateKey.make()) } catch { throw JoinError("\(error)") }
            try write(key, [])
        }
        trust = try Self.readTrust(trustFile, trustDomain)
    }

    /// The authority has certified `key`.
    mutating func take(_ key: SharedKey, _ svid: X509SVID) throws(JoinError) {
        try write(key, svid.chain)
        self.key = key
        self.svid = svid
    }

    /// The authority has said whom to believe. Nothing is done if that is believed, and on the disk, already.
    ///
    /// - Throws: ``JoinError`` if the disk does not take it; it is believed all the same.
    mutating func take(_ trust: TrustMaterial) throws(JoinError) {
        guard trust != self.trust || !isTrustStored else { return }
        self.trust = trust
        isTrustStored = false
        var text: [UInt8] = []
        for der in trust.roots[trustDomain] ?? [] {
            der.withUnsafeBytes { PEMWriter.write("CERTIFICATE", $0, to: &text) }
        }
        for der in trust.revocations[trustDomain] ?? [] {
            der.withUnsafeBytes { PEMWriter.write("X509 CRL", $0, to: &text) }
        }
        try Self.replace(trustFile, text)
        isTrustStored = true
    }

    private func write(_ key: SharedKey, _ chain: [[UInt8]]) throws(JoinError) {
        var text: [UInt8] = []
        // No reallocation: it would leave a copy of a key behind.
        text.reserveCapacity(64 << 10)
        defer { text.withUnsafeMutableBytes { SecretFile.wipe($0) } }
        key.key.withPKCS8 { PEMWriter.write("PRIVATE KEY", $0, to: &text) }
        for der in chain { der.withUnsafeBytes { PEMWriter.write("CERTIFICATE", $0, to: &text) } }
        try Self.replace(file, text)
    }

    private static func replace(_ path: String, _ text: [UInt8]) throws(JoinError) {
        var failure: SystemError?
        text.withUnsafeBytes { do throws(SystemError) { try SecretFile.replace(path, $0) } catch { failure = error } }
        if let failure { throw JoinError("\(path): \(failure)") }
    }

    private static func readKey(_ path: String) throws(JoinError) -> (SharedKey, [[UInt8]])? {
        var key: SharedKey?
        var chain: [[UInt8]] = []
        var failure: TLSError?
        do throws(SystemError) {
            let isThere: Void? = try SecretFile.withBytes(of: path) { text in
                do throws(TLSError) {
                    try PEMReader.read(text) { item throws(TLSError) in
                        switch consume item {
                        case .privateKey(let next): key = SharedKey(next)
                        case .certificate(let next): chain.append(next.der)
                        case .revocationList: throw TLSError("read it", reason: "a revocation list is in it")
                        }
                    }
                } catch { failure = error }
            }
            guard isThere != nil else { return nil }
        } catch { throw JoinError("\(error)") }
        if let failure { throw damaged(path, "\(failure)") }
        guard let key else { throw damaged(path, "there is no key in it") }
        return (key, chain)
    }

    private static func readTrust(_ path: String, _ trustDomain: TrustDomain) throws(JoinError) -> TrustMaterial? {
        var roots: [[UInt8]] = []
        var lists: [[UInt8]] = []
        var failure: TLSError?
        do throws(SystemError) {
            // No secret; but who can write it says whom this node's pods believe.
            let isThere: Void? = try SecretFile.withBytes(of: path, atMost: AuthorityAnswer.maximumBytes) { bytes in
                do throws(TLSError) {
                    try PEMReader.read(bytes) { item throws(TLSError) in
                        switch consume item {
                        case .privateKey: throw TLSError("read it", reason: "a key is in it")
                        case .certificate(let next): roots.append(next.der)
                        case .revocationList(let next): lists.append(next)
                        }
                    }
                } catch { failure = error }
            }
            guard isThere != nil else { return nil }
        } catch { throw JoinError("\(error)") }
        if let failure { throw damaged(path, "\(failure)") }
        return TrustMaterial(trustDomain, roots: roots, revocations: lists)
    }

    private static func damaged(_ path: String, _ reason: String) -> JoinError {
        JoinError("\(path): \(reason). Restore it, or move it away and give the node a new join file")
    }
}

extension TrustMaterial {
    /// Of one trust domain.
    init(_ trustDomain: TrustDomain, roots: [[UInt8]], revocations: [[UInt8]]) {
        self.init(
            roots: [trustDomain: roots], revocations: revocations.isEmpty ? [:] : [trustDomain: revocations])
    }
}
