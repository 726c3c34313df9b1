// SPDX-License-Identifier: Apache-2.0

import Foundation
import Identity
import TLSEngine
import Testing

@Suite struct CertificateRequestTests {
    private let mesh: TestMesh

    init() throws { mesh = try TestMesh() }

    @Test func aLeafIsMadeForTheKeyOfTheRequest() throws {
        let key = try PrivateKey.make()
        let der = try CertificateRequest.make(for: key)
        let root = try CertificateIssuer.makeRoot(mesh.domain, from: TestMesh.now, until: TestMesh.now + 1000)
        let request = try CertificateRequest(der: der)
        let leaf = try root.makeLeaf(mesh.id("web"), for: request, from: TestMesh.now, until: TestMesh.now + 100)
        let (id, fingerprint) = (try mesh.id("web"), request.keyFingerprint)
        #expect(try X509SVID(chain: [leaf.der], key: key.share()).id == id)
        #expect(throws: TLSError.self) { try X509SVID(chain: [leaf.der], key: PrivateKey.make()) }
        let again = try CertificateRequest(der: CertificateRequest.make(for: key))
        #expect(fingerprint == again.keyFingerprint && fingerprint.utf8.count == 64)
    }

    @Test func whatIsNoRequestIsRefused() throws {
        let der = try CertificateRequest.make(for: PrivateKey.make())
        for count in der.indices {
            #expect(throws: TLSError.self) { _ = try CertificateRequest(der: Array(der[..<count])) }
        }
        for index in der.indices {
            var changed = der
            changed[index] ^= 1
            #expect(throws: TLSError.self, "byte \(index)") { _ = try CertificateRequest(der: changed) }
        }
        #expect(throws: TLSError.self) { _ = try CertificateRequest(der: der + [0]) }
        #expect(throws: TLSError.self) { _ = try CertificateRequest(der: [UInt8](repeating: 0x30, count: 5000)) }
    }

    /// A connection that was meant for one protocol is not taken for another's.
    @Test func applicationsAreApart() throws {
        for (client, server) in [(TLSApplication.h2, TLSApplication.authority), (.authority, .h2)] {
            let pair = try pair(client: client, server: server, mesh.svid("web"))
            #expect(throws: TLSError.self) { try pair.handshake() }
        }
        let pair = try pair(client: .authority, server: .authority, mesh.svid("web"))
        try pair.handshake()
    }

    @Test func aStrangerIsOneWhereThatIsAllowed() throws {
        let allowed = try pair(client: .authority, server: .authority, nil)
        try allowed.handshake()
        #expect(allowed.server.session.peer == nil && allowed.client.session.peer != nil)
        let known = try pair(client: .authority, server: .authority, mesh.svid("web"))
        try known.handshake()
        #expect(known.server.session.peer == (try mesh.id("web")))
        let foreign = try pair(client: .authority, server: .authority, TestMesh("other.test").svid("web"))
        #expect(throws: TLSError.self) { try foreign.handshake() }
        let refused = try pair(client: .h2, server: .h2, nil, allowsStrangers: false)
        #expect(throws: TLSError.self) { try refused.handshake() }
    }

    private func pair(
        client: TLSApplication, server: TLSApplication, _ svid: X509SVID?, allowsStrangers: Bool = true
    ) throws -> SessionPair {
        let clientContext = try TLSContext(.client, svid: svid, trusting: mesh.bundles, application: client)
        let serverContext = try TLSContext(
            .server, svid: mesh.svid("db"), trusting: mesh.bundles, application: server,
            allowsStrangers: allowsStrangers)
        return SessionPair(
            try TestEnd(clientContext, expecting: .anyOf([mesh.id("db")])),
            try TestEnd(serverContext, expecting: .memberOf(mesh.domain)))
    }
}
