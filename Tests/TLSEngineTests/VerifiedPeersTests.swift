// SPDX-License-Identifier: Apache-2.0

import Identity
import Testing

@testable import TLSEngine

/// Whom a worker has accepted is not checked again, and nobody else is let in by that.
@Suite struct VerifiedPeersTests {
    private let mesh: TestMesh
    private let server: X509SVID

    init() throws {
        mesh = try TestMesh()
        server = try mesh.svid("db")
    }

    /// A handshake with a server that shares `peers`.
    private func handshake(
        _ client: X509SVID, _ peers: VerifiedPeers, expecting: PeerExpectation? = nil, at now: UnixTime = TestMesh.now
    ) throws {
        let pair = SessionPair(
            try TestEnd(mesh.context(.client, client), expecting: .anyOf([server.id])),
            try TestEnd(
                TLSContext(.server, svid: server, trusting: peers), expecting: expecting ?? .memberOf(mesh.domain)))
        try pair.handshake(at: now)
        #expect(pair.server.session.peer == client.id)
        #expect(pair.server.session.peerRejection(trusting: VerifiedPeers(mesh.bundles)) == nil)
    }

    private func rejection(_ body: () throws -> Void) throws -> SVIDRejection? {
        try #require(throws: TLSError.self) { try body() }.rejection
    }

    @Test func whoComesAgainIsRemembered() throws {
        let peers = VerifiedPeers(mesh.bundles)
        let (web, cache) = (try mesh.svid("web"), try mesh.svid("cache"))
        for expected in 0..<3 {
            try handshake(web, peers)
            #expect(peers.remembered == UInt64(expected))
        }
        // Somebody else, and the same identity with a new certificate.
        try handshake(cache, peers)
        try handshake(try mesh.svid("web"), peers)
        #expect(peers.remembered == 2)
    }

    /// As a worker and the thread that shakes hands for it do.
    @Test func threadsShareWhatIsRemembered() async throws {
        let peers = VerifiedPeers(mesh.bundles, halfLimit: 3)
        let chains = try (0..<8).map { try mesh.svid("peer-\($0)").chain }
        let (expecting, now) = (PeerExpectation.memberOf(mesh.domain), TestMesh.now)
        let accepted = await withTaskGroup(of: Int.self) { group in
            for place in 0..<4 {
                group.addTask {
                    var accepted = 0
                    for number in 0..<200 {
                        let chain = chains[(place + number) % chains.count]
                        let outcome = peers.accept(chain, usage: .client, at: now, expecting: expecting)
                        guard case .success(let found) = outcome else { continue }
                        peers.remember(found, usage: .client)
                        accepted += 1
                    }
                    return accepted
                }
            }
            return await group.reduce(0, +)
        }
        #expect(accepted == 800, "whoever finds the memory in use does without")
        #expect(peers.count <= 6)
    }

    @Test func untilItExpires() throws {
        let peers = VerifiedPeers(mesh.bundles)
        let short = try mesh.svid("short", until: TestMesh.now + 60)
        try handshake(short, peers)
        try handshake(short, peers, at: TestMesh.now + 59)
        for late in [60, 61, 3600] as [Int64] {
            #expect(
                try rejection { try handshake(short, peers, at: TestMesh.now + late) } == .expired(at: short.notAfter))
        }
        // The clock was set back: before it began.
        let future = try mesh.svid("future", from: TestMesh.now + 600)
        try handshake(future, peers, at: TestMesh.now + 601)
        #expect(try rejection { try handshake(future, peers) } == .notYetValid(from: future.notBefore))
    }

    /// An authority in between that has expired ends what it has signed, though the leaf has time left.
    @Test func untilAnyOfThePathExpires() throws {
        let peers = VerifiedPeers(mesh.bundles)
        let long = try mesh.svid("long", until: TestMesh.now + 86_400 * 60)
        try handshake(long, peers)
        // It lives 30 days.
        func verdict(_ days: Int64) -> SPIFFEID? {
            let result = peers.accept(
                long.chain, usage: .client, at: TestMesh.now + days * 86_400, expecting: .memberOf(mesh.domain))
            return try? result.get().path.id
        }
        #expect(verdict(29) == long.id)
        #expect(verdict(31) == nil)
    }

    @Test func whoIsExpectedIsAskedEachTime() throws {
        let peers = VerifiedPeers(mesh.bundles)
        let web = try mesh.svid("web")
        try handshake(web, peers)
        let other = try mesh.id("other")
        #expect(
            try rejection { try handshake(web, peers, expecting: .anyOf([other])) }
                == .otherIdentity(web.id, expected: other, count: 1))
    }

    /// What is signed is the same, the signature is not.
    @Test func aChangedSignatureIsSomebodyElse() throws {
        let peers = VerifiedPeers(mesh.bundles)
        let key = try PrivateKey.make()
        let web = try mesh.svid("web", key: key.share())
        try handshake(web, peers)
        var leaf = web.chain[0]
        leaf[leaf.count - 1] ^= 1
        let forged = try X509SVID(chain: [leaf] + web.chain.dropFirst(), key: key)
        guard case .path = try rejection({ try handshake(forged, peers) }) else {
            Issue.record("a forged signature was believed")
            return
        }
        #expect(peers.remembered == 0)
    }

    /// Roots that are gone, and lists of what was taken back, are other bundles: of nobody is anything known.
    @Test func otherBundlesKnowNobody() throws {
        let web = try mesh.svid("web")
        let peers = VerifiedPeers(mesh.bundles)
        try handshake(web, peers)
        let stranger = try TestMesh("mesh.test")
        guard case .path = try rejection({ try handshake(web, VerifiedPeers(stranger.bundles)) }) else {
            Issue.record("accepted without its root")
            return
        }
    }

    @Test func serversAndClientsAreApart() throws {
        let peers = VerifiedPeers(mesh.bundles)
        for (usage, remembered) in [(SVIDVerifier.Usage.client, 0), (.server, 0), (.client, 1), (.server, 2)] {
            let result = peers.accept(server.chain, usage: usage, at: TestMesh.now, expecting: .memberOf(mesh.domain))
            peers.remember(try result.get(), usage: usage)
            #expect(peers.remembered == UInt64(remembered))
        }
    }

    /// Whoever has seen a certificate can send it, with others around it, and no key.
    @Test func onlyWhatAuthoritiesHaveSignedIsKept() throws {
        let peers = VerifiedPeers(mesh.bundles)
        let (web, other) = (try mesh.svid("web"), try mesh.svid("other"))
        for (chain, kept) in [(web.chain + [other.chain[0]], 0), (web.chain, 1)] {
            let result = peers.accept(chain, usage: .client, at: TestMesh.now, expecting: .memberOf(mesh.domain))
            #expect(try result.get().path.id == web.id)
            #expect(peers.count == 0, "before the key was proved")
            peers.remember(try result.get(), usage: .client)
            #expect(peers.count == kept)
        }
    }

    /// However many come; who keeps coming stays.
    @Test func whatIsKeptIsBounded() throws {
        let peers = VerifiedPeers(mesh.bundles, halfLimit: 3)
        let faithful = try mesh.svid("faithful")
        func accept(_ svid: X509SVID) throws {
            let result = peers.accept(svid.chain, usage: .client, at: TestMesh.now, expecting: .memberOf(mesh.domain))
            peers.remember(try result.get(), usage: .client)
        }
        try accept(faithful)
        for number in 0..<20 {
            try accept(try mesh.svid("passer-\(number)"))
            try accept(faithful)
            #expect(peers.remembered == UInt64(number + 1))
            #expect(peers.count <= 6)
        }
    }
}
