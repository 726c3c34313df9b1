// SPDX-License-Identifier: Apache-2.0

import Identity
import TLSEngine
import Testing

/// Handshakes that must not succeed, and what each end says.
@Suite struct RefusalTests {
    private let mesh: TestMesh

    init() throws { mesh = try TestMesh() }

    private func ends(
        client: X509SVID, server: X509SVID, clientMesh: TestMesh? = nil, serverMesh: TestMesh? = nil,
        clientExpects: PeerExpectation? = nil, serverExpects: PeerExpectation? = nil
    ) throws -> SessionPair {
        SessionPair(
            try TestEnd(
                (clientMesh ?? mesh).context(.client, client), expecting: clientExpects ?? .anyOf([server.id])),
            try TestEnd(
                (serverMesh ?? mesh).context(.server, server), expecting: serverExpects ?? .memberOf(mesh.domain)))
    }

    /// The first error, which must be the refusal of a certificate.
    private func rejection(_ pair: SessionPair, at now: UnixTime = TestMesh.now) throws -> SVIDRejection? {
        try #require(throws: TLSError.self) { try pair.handshake(at: now) }.rejection
    }

    @Test func theClientMeetsAnother() throws {
        let (web, database) = (try mesh.svid("web"), try mesh.svid("db"))
        let expected = try mesh.id("cache")
        let pair = try ends(client: web, server: database, clientExpects: .anyOf([expected]))
        #expect(try rejection(pair) == .otherIdentity(database.id, expected: expected, count: 1))
        // The server is told.
        pair.server.input += pair.client.lastWords
        let error = try #require(throws: TLSError.self) { _ = try pair.server.handshake() }
        #expect(error.isPeersAlert)
        #expect(error.description == "handshake: the peer refused: sslv3 alert handshake failure")
    }

    @Test func theServerMeetsAnotherTrustDomain() throws {
        let other = try TestMesh("other.test", alsoTrusting: [mesh])
        let both = try TestMesh("mesh.test", alsoTrusting: [other])
        let stranger = try other.svid("web")
        let pair = try ends(
            client: stranger, server: try both.svid("db"),
            clientMesh: try TestMesh("other.test", alsoTrusting: [both]), serverMesh: both)
        #expect(try rejection(pair) == .otherTrustDomain(stranger.id, expected: mesh.domain))
    }

    @Test func aTrustDomainThatNobodyKnows() throws {
        let other = try TestMesh("other.test", alsoTrusting: [mesh])
        let stranger = try other.svid("web")
        let pair = try ends(client: stranger, server: try mesh.svid("db"), clientMesh: other)
        #expect(try rejection(pair) == .unknownTrustDomain(other.domain))
        // The client has the whole handshake behind it; it is told with the next bytes.
        pair.client.input += pair.server.lastWords
        _ = try pair.client.handshake()
        let error = try #require(throws: TLSError.self) { _ = try pair.client.read() }
        #expect(error.description == "read: the peer refused: tlsv1 alert unknown ca")
    }

    /// The same name, another root.
    @Test func aForgedTrustDomain() throws {
        let forged = try TestMesh("mesh.test", alsoTrusting: [mesh])
        let byClient = try ends(client: try forged.svid("web"), server: try mesh.svid("db"), clientMesh: forged)
        guard case .path(let reason, _, _) = try rejection(byClient) else {
            Issue.record("not refused for its path")
            return
        }
        #expect(reason == "unable to get local issuer certificate")
        let server = try forged.svid("db")
        let byServer = try ends(client: try mesh.svid("web"), server: server, serverMesh: forged)
        guard case .path = try rejection(byServer) else {
            Issue.record("not refused for its path")
            return
        }
        byServer.server.input += byServer.client.lastWords
        let error = try #require(throws: TLSError.self) { _ = try byServer.server.handshake() }
        #expect(error.reason == "tlsv1 alert unknown ca")
    }

    @Test func expiredOnEitherSide() throws {
        let (long, short) = (
            try mesh.svid("long"), try mesh.svid("short", from: TestMesh.now, until: TestMesh.now + 60)
        )
        let later = TestMesh.now + 61
        for (client, server) in [(short, long), (long, short)] {
            #expect(try rejection(ends(client: client, server: server), at: later) == .expired(at: short.notAfter))
        }
        let early = TestMesh.now - 301
        let future = try mesh.svid("future", from: TestMesh.now + 3600)
        #expect(
            try rejection(ends(client: future, server: long)) == .notYetValid(from: future.notBefore))
        #expect(try rejection(ends(client: long, server: long), at: early) != nil)
    }

    /// An authority's certificate says who somebody is to nobody: not even its owner can show it.
    @Test func anAuthorityCannotBeShown() throws {
        let root = try CertificateIssuer.makeRoot(mesh.domain, from: TestMesh.now, until: TestMesh.now + 60)
        let error = try #require(throws: TLSError.self) {
            try X509SVID(chain: [root.certificate.der], key: root.key.share())
        }
        #expect(
            error.description == "use a certificate: the certificate may sign others; only a leaf says who somebody is")
    }

    @Test(arguments: [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}",
        "SSH-2.0-x\r\n",
    ])
    func whatIsNoTLS(_ text: String) throws {
        let server = try TestEnd(mesh.context(.server, mesh.svid("db")), expecting: .memberOf(mesh.domain))
        server.input = Array(text.utf8)
        #expect(throws: TLSError.self) { _ = try server.handshake() }
    }

    /// No prefix of a ClientHello is enough, and none is too much.
    @Test func everyPrefixOfAClientHello() throws {
        let hello = try TestEnd(
            mesh.context(.client, mesh.svid("web")), expecting: .memberOf(mesh.domain)
        ).handshake().sent
        let context = try mesh.context(.server, mesh.svid("db"))
        for count in 0..<hello.count {
            let server = try TestEnd(context, expecting: .memberOf(mesh.domain))
            server.input = Array(hello[..<count])
            let step = try server.handshake()
            #expect(!step.done && step.sent.isEmpty, "\(count) bytes")
            server.inputHasEnded = true
            #expect(throws: TLSError.self, "\(count) bytes and the end") { _ = try server.handshake() }
        }
    }

    /// One byte of the handshake is changed, anywhere: no connection comes of it.
    @Test func everyChangedByteOfTheHandshake() throws {
        let client = try mesh.context(.client, mesh.svid("web"))
        let server = try mesh.context(.server, mesh.svid("db"))
        for index in stride(from: 0, to: 2500, by: 23) {
            let pair = SessionPair(
                try TestEnd(client, expecting: .memberOf(mesh.domain)),
                try TestEnd(server, expecting: .memberOf(mesh.domain)))
            var passed = 0
            var (isChanged, isDone) = (false, false)
            do {
                for _ in 0..<4 {
                    var done: [Bool] = []
                    for (from, to) in [(pair.client, pair.server), (pair.server, pair.client)] {
                        let step = try from.handshake()
                        done.append(step.done)
                        var sent = step.sent
                        if index >= passed, index < passed + sent.count {
                            sent[index - passed] ^= 0x41
                            isChanged = true
                        }
                        passed += sent.count
                        to.input += sent
                    }
                    isDone = done == [true, true]
                }
            } catch is TLSError { isDone = false }
            #expect(isDone != isChanged, "byte \(index) of \(passed)")
        }
    }
}
