// SPDX-License-Identifier: Apache-2.0

import Foundation
import Identity
import TLSEngine
import Testing

/// Certificates that another library made (`Fixtures/make_svids.py`), each accepted or refused as RFC 5280 and the
/// X509-SVID standard say, with a text that tells why.
@Suite struct SVIDMatrixTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        /// Part of the text of the refusal; `nil` if it is accepted.
        let refusal: String?
        /// Whose it is, if it is accepted.
        let id: String

        init(_ name: String, _ refusal: String?, id: String = "spiffe://mesh.test/ns/shop/sa/web") {
            self.name = name
            self.refusal = refusal
            self.id = id
        }

        var testDescription: String { name }
    }

    static let cases: [Case] = [
        Case("workload", nil), Case("beside DNS names", nil), Case("no usages at all", nil),
        Case("no constraints", nil), Case("key agreement too", nil), Case("directly below the root", nil),
        Case("both and another usage", nil), Case("RSA 2048", nil), Case("chain in another order", nil),
        // Where nobody has heard that they are (RevocationTests).
        Case("taken back", nil), Case("below what is taken back", nil),
        // X509-SVID section 2: exactly one.
        Case("no alternative names", "no URI name"), Case("no URI", "no URI name"),
        Case("two URIs", "2 URI names"), Case("the same URI twice", "2 URI names"),
        Case("a second URI of another scheme", "2 URI names"), Case("alternative names twice", "there twice"),
        // The bundle of its own trust domain only.
        Case("another trust domain", "only the bundle of its trust domain counts"),
        Case("an unknown trust domain", "the trust domain unknown.test is not known here"),
        Case("of the other trust domain", nil, id: "spiffe://other.test/ns/shop/sa/web"),
        // Sections 3.2, 4.1, 4.3 and 5.2.
        Case("authority", "may sign others"), Case("authority without usage", "may sign others"),
        Case("keyCertSign", "keyCertSign"), Case("cRLSign", "cRLSign"),
        Case("no digitalSignature", "lacks digitalSignature"),
        // Section 4.4.
        Case("serverAuth only", "lacks clientAuth"), Case("clientAuth only", "lacks serverAuth"),
        Case("codeSigning", "lacks serverAuth"), Case("any usage", "lacks serverAuth"),
        // RFC 5280 section 6.
        Case("expired", "expired at 2026-05-31T00:00:00Z"),
        Case("not yet valid", "not valid before 2026-06-02T00:00:00Z"),
        Case("another root", "unable to get local issuer certificate"),
        Case("another root, with it", "certificate 1 of the chain"),
        Case("no intermediate", "unable to get local issuer certificate"),
        Case("an old intermediate", "certificate has expired (certificate 1 of the chain"),
        Case("one intermediate too many", "path length constraint"),
        Case("signed by a leaf", "certificate 1 of the chain"),
        Case("an intermediate that may not sign", "certificate 1 of the chain"),
        Case("too many certificates", "the chain has 9 certificates; the limit is 8"),
        Case("broken signature", "certificate signature failure"), Case("self-signed", "certificate 1 of the chain"),
        Case("SHA-1", "too weak"), Case("RSA 1024", "too weak"),
        Case("an unknown critical extension", "unhandled critical extension"),
        // SPIFFE-ID sections 2 to 2.3.
        Case("percent-encoding", "percent-encoding is not allowed"),
        Case("upper-case trust domain", "upper-case letter 'M'"),
        Case("upper-case path", nil, id: "spiffe://mesh.test/ns/shop/sa/Web"), Case("upper-case scheme", nil),
        Case("no path", "there is no path"), Case("root path", "the path ends with a slash"),
        Case("dot segment", "'.' or '..'"), Case("another scheme", "the scheme is not spiffe"),
        Case("port", "a port"), Case("user", "user information"), Case("query", "a query"),
        Case("NUL", "byte 33: the path has the byte 0x00"),
        Case("NUL in the trust domain", "byte 18: the trust domain has the byte 0x00"),
        Case("line feed", "the byte 0x0a"), Case("empty URI", "the SPIFFE ID is empty"),
        Case("2048 bytes", nil, id: longest), Case("2049 bytes", "2049 bytes; the limit is 2048"),
        Case("3 KB", "3072 bytes; the limit is 2048"),
    ]

    static let longest = "spiffe://mesh.test/ns/shop/sa/web" + String(repeating: "x", count: 2048 - 33)
    /// 2026-06-01.
    static let time = UnixTime(seconds: 1_780_272_000)

    /// The chains and lists of the fixture by name, as DER.
    static let chains: [String: [[UInt8]]] = {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("Fixtures/svids.pem").path
        var chains: [String: [[UInt8]]] = [:]
        for part in (try? String(contentsOfFile: path, encoding: .utf8))?.split(separator: "# ") ?? [] {
            let name = part.prefix { $0 != "\n" }
            var chain: [[UInt8]] = []
            try? Array(part.utf8).withUnsafeBytes { text in
                try PEMReader.read(text) { item throws(TLSError) in
                    switch consume item {
                    case .certificate(let certificate): chain.append(certificate.der)
                    case .revocationList(let list): chain.append(list)
                    case .privateKey: break
                    }
                }
            }
            chains[String(name)] = chain
        }
        return chains
    }()

    static func bundles(_ mesh: String = "bundle of mesh.test") throws -> TrustBundles {
        try TrustBundles([
            TrustDomain("mesh.test"): #require(chains[mesh]),
            TrustDomain("other.test"): #require(chains["bundle of other.test"]),
        ])
    }

    @Test(arguments: cases, [SVIDVerifier.Usage.client, .server])
    func verdict(_ testCase: Case, _ usage: SVIDVerifier.Usage) throws {
        let chain = try #require(Self.chains[testCase.name])
        #expect(!chain.isEmpty)
        let id = try SPIFFEID(testCase.id)
        let result = SVIDVerifier.verify(
            chain: chain, usage: usage, at: Self.time, trusting: try Self.bundles(), expecting: .anyOf([id]))
        switch (result, testCase.refusal) {
        case (.success(let found), nil): #expect(found == id)
        case (.failure(let rejection), let part?):
            #expect(rejection.description.contains(part), "\(rejection)")
            #expect(rejection.description.allSatisfy { $0.isASCII && !$0.isNewline })
        case (.success(let found), let part?): Issue.record("accepted as \(found), should say: \(part)")
        case (.failure(let rejection), nil): Issue.record("refused: \(rejection)")
        }
    }

    /// The table has every chain, so that none is forgotten.
    @Test func tableIsComplete() {
        #expect(
            Set(Self.chains.keys.filter { !$0.hasPrefix("bundle") && !$0.hasPrefix("list") })
                == Set(Self.cases.map(\.name)))
    }

    @Test func whoItMustBe() throws {
        let chain = try #require(Self.chains["workload"])
        let (web, database) = (
            try SPIFFEID("spiffe://mesh.test/ns/shop/sa/web"), try SPIFFEID("spiffe://mesh.test/ns/shop/sa/db")
        )
        func verdict(_ peer: PeerExpectation) throws -> Result<SPIFFEID, SVIDRejection> {
            SVIDVerifier.verify(
                chain: chain, usage: .server, at: Self.time, trusting: try Self.bundles(), expecting: peer)
        }
        #expect(try verdict(.anyOf([database, web])) == .success(web))
        #expect(try verdict(.anyOf([database])) == .failure(.otherIdentity(web, expected: database, count: 1)))
        #expect(try verdict(.anyOf([])) == .failure(.otherIdentity(web, expected: nil, count: 0)))
        #expect(try verdict(.memberOf(TrustDomain("mesh.test"))) == .success(web))
        let other = try TrustDomain("other.test")
        #expect(try verdict(.memberOf(other)) == .failure(.otherTrustDomain(web, expected: other)))
    }

    /// An anchor that is not self-signed ends a path as a root does.
    @Test func anIntermediateMayBeTheAnchor() throws {
        let bundles = try Self.bundles("bundle of intermediates")
        let leaf = try #require(Self.chains["no intermediate"])
        let id = try SPIFFEID("spiffe://mesh.test/ns/shop/sa/web")
        let result = SVIDVerifier.verify(
            chain: leaf, usage: .client, at: Self.time, trusting: bundles, expecting: .anyOf([id]))
        #expect(result == .success(id))
        let direct = SVIDVerifier.verify(
            chain: try #require(Self.chains["directly below the root"]), usage: .client, at: Self.time,
            trusting: bundles, expecting: .anyOf([id]))
        #expect(throws: SVIDRejection.self) { try direct.get() }
    }

    @Test func validityHasTwoEnds() throws {
        let chain = try #require(Self.chains["workload"])
        let certificate = try Certificate(der: chain[0])
        let id = try SPIFFEID("spiffe://mesh.test/ns/shop/sa/web")
        for (time, isValid) in [
            (certificate.notBefore - 1, false), (certificate.notBefore, true), (certificate.notAfter - 1, true),
            // The last second, which RFC 5280 section 4.1.2.5 includes, is not one for OpenSSL.
            (certificate.notAfter + 1, false),
        ] {
            let result = SVIDVerifier.verify(
                chain: chain, usage: .client, at: time, trusting: try Self.bundles(), expecting: .anyOf([id]))
            #expect((try? result.get()) == (isValid ? id : nil), "\(time)")
        }
    }

    @Test func nothingIsNobody() throws {
        let result = SVIDVerifier.verify(
            chain: [], usage: .client, at: Self.time, trusting: try Self.bundles(),
            expecting: .memberOf(try TrustDomain("mesh.test")))
        #expect(result == .failure(.noCertificate))
    }

    @Test func aBundleHoldsAuthoritiesOnly() throws {
        let domain = try TrustDomain("mesh.test")
        let leaf = try #require(Self.chains["workload"]?.first)
        let error = try #require(throws: TLSError.self) { try TrustBundles([domain: [leaf]]) }
        #expect(error.description == "read the bundle of mesh.test: certificate 1 may not sign others")
        let garbage = try #require(throws: TLSError.self) { try TrustBundles([domain: [[1, 2, 3]]]) }
        #expect(garbage.description.hasPrefix("read the bundle of mesh.test: certificate 1: "))
        let many = [[UInt8]](repeating: leaf, count: 65)
        #expect(throws: TLSError.self) { try TrustBundles([domain: many]) }
    }
}
