// SPDX-License-Identifier: Apache-2.0

import Identity
import TLSEngine
import Testing

@Suite struct CertificateTests {
    /// What this issuer makes passes the check, and says what the standard wants.
    @Test func issuedLeafIsAnSVID() throws {
        let mesh = try TestMesh()
        let svid = try mesh.svid("web")
        #expect(svid.id.description == "spiffe://mesh.test/ns/shop/sa/web")
        #expect(svid.notBefore == TestMesh.now - 300)
        #expect(svid.notAfter == TestMesh.now + 86_400)
        for usage in [SVIDVerifier.Usage.client, .server] {
            let result = SVIDVerifier.verify(
                chain: svid.chain, usage: usage, at: TestMesh.now, trusting: mesh.bundles,
                expecting: .memberOf(mesh.domain))
            #expect(result == .success(svid.id))
        }
    }

    @Test func aLeafDoesNotOutliveItsIssuer() throws {
        let domain = try TrustDomain("mesh.test")
        let root = try CertificateIssuer.makeRoot(domain, from: TestMesh.now, until: TestMesh.now + 5000)
        let middle = try root.makeIntermediate(domain, from: TestMesh.now, until: TestMesh.now + 9000)
        #expect(middle.certificate.notAfter == TestMesh.now + 5000)
        let leaf = try middle.makeLeaf(
            SPIFFEID("spiffe://mesh.test/x"), holder: PrivateKey.make(), from: TestMesh.now, until: TestMesh.now + 9000)
        #expect(leaf.notAfter == TestMesh.now + 5000)
        #expect(throws: TLSError.self) {
            _ = try middle.makeLeaf(
                SPIFFEID("spiffe://mesh.test/x"), holder: PrivateKey.make(), from: TestMesh.now + 6000,
                until: TestMesh.now + 9000)
        }
    }

    @Test func aTrustDomainIsNoWorkload() throws {
        let domain = try TrustDomain("mesh.test")
        let root = try CertificateIssuer.makeRoot(domain, from: TestMesh.now, until: TestMesh.now + 5000)
        let error = try #require(throws: TLSError.self) {
            _ = try root.makeLeaf(
                SPIFFEID(domain), holder: PrivateKey.make(), from: TestMesh.now, until: TestMesh.now + 60)
        }
        #expect(error.description == "issue a certificate: spiffe://mesh.test is a trust domain's ID, not a workload's")
    }

    @Test func aLeafSignsNothing() throws {
        let svid = try TestMesh().svid("web")
        let error = try #require(throws: TLSError.self) {
            _ = try CertificateIssuer(certificate: Certificate(der: svid.chain[0]), key: svid.key.share())
        }
        #expect(error.reason == "the certificate does not say that it may sign")
    }

    @Test func anSVIDHasItsOwnKey() throws {
        let svid = try TestMesh().svid("web")
        #expect(throws: TLSError.self) { try X509SVID(chain: svid.chain, key: PrivateKey.make()) }
        #expect(throws: TLSError.self) { try X509SVID(chain: [], key: PrivateKey.make()) }
        // The intermediate is an authority; it is nobody.
        let error = try #require(throws: TLSError.self) {
            try X509SVID(chain: [svid.chain[1]], key: PrivateKey.make())
        }
        #expect(error.rejection == .authority)
    }

    @Test func everyPrefixOfACertificateIsRefused() throws {
        let der = try TestMesh().svid("web").chain[0]
        for count in 0..<der.count {
            #expect(throws: TLSError.self, "\(count) bytes") { _ = try Certificate(der: Array(der[..<count])) }
        }
        #expect(try Certificate(der: der).der == der)
        let error = try #require(throws: TLSError.self) { _ = try Certificate(der: der + [0, 0]) }
        #expect(error.description == "read a certificate: 2 bytes follow it")
        #expect(throws: TLSError.self) { _ = try Certificate(der: der + [UInt8](repeating: 0, count: 16 << 10)) }
    }

    @Test func aKeyGoesAndComesBack() throws {
        let mesh = try TestMesh()
        let svid = try mesh.svid("web")
        let copy = svid.key.withPKCS8 { bytes in Array(bytes) }
        let leaf = try Certificate(der: svid.chain[0])
        func belongs(_ bytes: ArraySlice<UInt8>) throws -> Bool {
            try bytes.withUnsafeBytes { bytes in try PrivateKey(pkcs8: bytes).belongs(to: leaf) }
        }
        #expect(try belongs(copy[...]))
        #expect(!(try PrivateKey.make()).belongs(to: leaf))
        for count in 0..<copy.count {
            #expect(throws: TLSError.self, "\(count) bytes") { try belongs(copy[..<count]) }
        }
        #expect(throws: TLSError.self) { try belongs((copy + [0])[...]) }
    }

    /// No text of what holds a key has a byte of it.
    @Test func aKeyIsNeverPrinted() throws {
        let svid = try TestMesh().svid("web")
        let hexadecimal = svid.key.withPKCS8 { bytes in
            bytes[36..<68].map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        }
        var dumped = ""
        dump(svid, to: &dumped)
        let texts = ["\(svid)", String(reflecting: svid), dumped]
        for text in texts {
            #expect(text.contains("spiffe://mesh.test/ns/shop/sa/web"))
            #expect(!text.contains(hexadecimal.prefix(8)) && !text.contains("PrivateKey"))
        }
    }

    @Test func pemGoesAndComesBack() throws {
        let svid = try TestMesh().svid("web")
        var text: [UInt8] = Array("text that is passed over\n".utf8)
        for der in svid.chain { der.withUnsafeBytes { PEMWriter.write("CERTIFICATE", $0, to: &text) } }
        svid.key.withPKCS8 { PEMWriter.write("PRIVATE KEY", $0, to: &text) }
        var chain: [[UInt8]] = []
        var keys = 0
        try text.withUnsafeBytes { bytes in
            try PEMReader.read(bytes) { item throws(TLSError) in
                switch consume item {
                case .certificate(let certificate): chain.append(certificate.der)
                case .privateKey(let key):
                    keys += 1
                    #expect(key.belongs(to: try Certificate(der: chain[0])))
                case .revocationList: Issue.record("there is none")
                }
            }
        }
        #expect(chain == svid.chain)
        #expect(keys == 1)
    }

    @Test func pemSaysWhichBlockIsWrong() throws {
        let svid = try TestMesh().svid("web")
        var text: [UInt8] = []
        svid.chain[0].withUnsafeBytes { PEMWriter.write("CERTIFICATE", $0, to: &text) }
        [1, 2, 3].withUnsafeBytes { PEMWriter.write("RSA PRIVATE KEY", $0, to: &text) }
        func read(_ text: [UInt8]) throws {
            try text.withUnsafeBytes { try PEMReader.read($0) { (_: consuming PEMItem) throws(TLSError) in } }
        }
        let error = try #require(throws: TLSError.self) { try read(text) }
        #expect(
            error.description
                == "PEM block 2: read PEM: it is RSA PRIVATE KEY, not CERTIFICATE, PRIVATE KEY or X509 CRL")
        #expect(throws: Never.self) { try read([]) }
        // Cut in a block: its end is missing.
        #expect(throws: TLSError.self) { try read(Array(text[..<100])) }
    }
}
