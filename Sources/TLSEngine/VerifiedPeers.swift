// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL
import Identity
import Synchronization

/// What is known of a chain that leads to an anchor of a bundle.
struct VerifiedPath {
    let id: SPIFFEID
    /// When all of its certificates are valid: from `notBefore` until just before `notAfter`, as OpenSSL has it.
    let notBefore: UnixTime
    let notAfter: UnixTime
    /// Whether all that the peer has sent is of the path: an authority has signed each byte of it.
    let isAll: Bool

    func isValid(at time: UnixTime) -> Bool { notBefore <= time && time < notAfter }
}

/// What a peer has shown. Sessions of one peer share it, once it has proved to have the key.
///
/// Of two threads: OpenSSL counts references to certificates atomically, and only reads them here.
final class PeerChain: @unchecked Sendable {
    let path: VerifiedPath
    /// X509 and a stack of what was sent, the leaf among it.
    let leaf: OpaquePointer
    let certificates: OpaquePointer

    /// - Parameter chain: Lent; its certificates get references of their own.
    /// - Returns: `nil` if there is no memory.
    init?(_ path: VerifiedPath, _ leaf: OpaquePointer, _ chain: OpaquePointer?) {
        guard let stack = mesh_stack_new() else { return nil }
        for index in 0..<(chain.map { mesh_stack_count($0) } ?? 0) {
            guard mesh_stack_add(stack, mesh_stack_at(chain, index)) == 1 else {
                mesh_stack_free(stack)
                return nil
            }
        }
        X509_up_ref(leaf)
        self.path = path
        self.leaf = leaf
        certificates = stack
    }

    deinit {
        X509_free(leaf)
        mesh_stack_free(certificates)
    }
}

/// Checks the certificates of peers, and remembers those that were accepted: who comes again, or has many connections,
/// costs the signatures of its authorities once. That it has the key is proved in each handshake.
///
/// What is remembered is the outcome of ``SVIDVerifier`` for the same bytes, by the same bundles and their revocation lists
/// (others are another object), for the same usage, at a time at which all certificates of the path are valid. Whether it
/// is who was expected is asked each time. Of refusals nothing is remembered, nor of who has not proved to have the key, nor
/// of chains with certificates that no authority has signed: whoever has seen a certificate could fill the memory with them.
///
/// Belongs to a worker and the thread that shakes hands for it, as the contexts that share it. Neither waits for the other: who
/// finds the memory in use does without.
public final class VerifiedPeers: Sendable {
    /// Chains of one half; see ``young``. Twice as many are what a worker keeps for those who come, each of whom an authority
    /// has signed.
    public static let usualHalf = 512

    private struct Key: Hashable {
        let isServer: Bool
        /// SHA-256.
        let digest: InlineArray<4, UInt64>

        static func == (one: Key, other: Key) -> Bool {
            one.isServer == other.isServer && one.digest[0] == other.digest[0] && one.digest[1] == other.digest[1]
                && one.digest[2] == other.digest[2] && one.digest[3] == other.digest[3]
        }

        // It is a digest already.
        func hash(into hasher: inout Hasher) { hasher.combine(digest[0]) }
    }

    private struct Memory {
        /// What was used lately. When it is full it becomes ``old``, whose chains are forgotten unless they are used.
        var young: [Key: PeerChain] = [:]
        var old: [Key: PeerChain] = [:]
        /// Peers that were accepted without a signature.
        var remembered: UInt64 = 0

        mutating func find(_ key: Key, halfLimit: Int) -> PeerChain? {
            if let found = young[key] { return found }
            guard let found = old.removeValue(forKey: key) else { return nil }
            keep(found, key, halfLimit: halfLimit)
            return found
        }

        mutating func keep(_ chain: PeerChain, _ key: Key, halfLimit: Int) {
            if young.count >= halfLimit {
                old = young
                young = [:]
            }
            young[key] = chain
        }
    }

    public let bundles: TrustBundles
    private let memory = Mutex(Memory())
    private let halfLimit: Int

    public init(_ bundles: TrustBundles, halfLimit: Int = usualHalf) {
        self.bundles = bundles
        self.halfLimit = halfLimit
    }

    /// Peers that were accepted without a signature.
    public var remembered: UInt64 { memory.withLock { $0.remembered } }

    var count: Int { memory.withLock { $0.young.count + $0.old.count } }

    /// The same for a chain in DER.
    func accept(
        _ chain: [[UInt8]], usage: SVIDVerifier.Usage, at time: UnixTime, expecting peer: PeerExpectation
    ) -> Result<PeerChain, SVIDRejection> {
        SVIDVerifier.read(chain) { accept(mesh_stack_at($0, 0), $0, usage: usage, at: time, expecting: peer) }
    }

    /// As ``SVIDVerifier``'s `verify`. - Parameter chain: What the peer sent, leaf first.
    func accept(
        _ leaf: OpaquePointer?, _ chain: OpaquePointer?, usage: SVIDVerifier.Usage, at time: UnixTime,
        expecting peer: PeerExpectation
    ) -> Result<PeerChain, SVIDRejection> {
        let key = key(leaf, chain, usage)
        if let key, let known = find(key), known.path.isValid(at: time) {
            if let rejection = peer.rejection(of: known.path.id) { return .failure(rejection) }
            _ = memory.withLockIfAvailable { $0.remembered &+= 1 }
            return .success(known)
        }
        return SVIDVerifier.path(of: leaf, chain, usage: usage, at: time, trusting: bundles).flatMap { path in
            if let rejection = peer.rejection(of: path.id) { return .failure(rejection) }
            guard let leaf, let found = PeerChain(path, leaf, chain) else {
                return .failure(.path(reason: "there is no memory", code: X509_V_ERR_OUT_OF_MEM, depth: 0))
            }
            return .success(found)
        }
    }

    /// Remembers a chain that was accepted here, when the peer has proved to have its key.
    func remember(_ chain: PeerChain, usage: SVIDVerifier.Usage) {
        guard chain.path.isAll, let key = key(chain.leaf, chain.certificates, usage) else { return }
        _ = memory.withLockIfAvailable { if $0.young[key] == nil { $0.keep(chain, key, halfLimit: halfLimit) } }
    }

    /// - Returns: `nil` for what is not looked up: more than may be sent, or not as OpenSSL hands it over.
    private func key(_ leaf: OpaquePointer?, _ chain: OpaquePointer?, _ usage: SVIDVerifier.Usage) -> Key? {
        guard let leaf, let chain, mesh_stack_count(chain) <= SVIDVerifier.maximumChain,
            mesh_stack_at(chain, 0) == leaf, let digest = EVP_MD_CTX_new()
        else { return nil }
        defer { EVP_MD_CTX_free(digest) }
        var bytes: InlineArray<4, UInt64> = [0, 0, 0, 0]
        let isDone = withUnsafeMutableBytes(of: &bytes) {
            mesh_stack_sha256(chain, digest, $0.baseAddress?.assumingMemoryBound(to: UInt8.self)) == 1
        }
        return isDone ? Key(isServer: usage == .server, digest: bytes) : nil
    }

    private func find(_ key: Key) -> PeerChain? {
        memory.withLockIfAvailable { $0.find(key, halfLimit: halfLimit) } ?? nil
    }
}
