// SPDX-License-Identifier: Apache-2.0

import Foundation
import Identity
import TLSEngine
import Testing

@testable import IdentityProviders

@Suite struct AuthorityRevocationTests {
    private final class Directory {
        let path = NSTemporaryDirectory() + "mesh-revocation-\(UUID().uuidString)"
        var authority: String { path + "/authority.pem" }
        var lists: String { path + "/revoked.pem" }

        deinit { try? FileManager.default.removeItem(atPath: path) }
    }

    private static let start = UnixTime(seconds: 1_780_272_000)
    private let directory = Directory()
    private let domain: TrustDomain
    private let authority: LocalAuthority

    init() throws {
        domain = try TrustDomain("mesh.test")
        authority = try LocalAuthority(domain, at: directory.authority, revocations: directory.lists, now: Self.start)
    }

    private func svid(_ account: String) throws -> X509SVID {
        try authority.issue(SPIFFEID(domain, namespace: "shop", serviceAccount: account), at: Self.start)
    }

    private func revoke(_ subjects: RevocationSubject...) throws(RevocationRefusal) -> [Revocation] {
        try LocalAuthority.revoke(subjects, of: directory.authority, domain, in: directory.lists, at: Self.start + 5)
    }

    private func serial(_ svid: X509SVID) throws -> CertificateSerial { try #require(CertificateSerial(svid.serial)) }

    /// The lists, as whoever keeps the authority reads and tells them.
    private func verdict(_ svid: X509SVID) throws -> Result<SPIFFEID, SVIDRejection> {
        var file = RevocationFile(path: directory.lists, trustDomain: domain)
        try file.look()
        let bundles = try TrustBundles([domain: authority.roots], revocations: [domain: file.lists])
        return SVIDVerifier.verify(
            chain: svid.chain, usage: .client, at: Self.start + 10, trusting: bundles, expecting: .memberOf(domain))
    }

    private func isAccepted(_ svid: X509SVID) throws -> Bool {
        if case .success = try verdict(svid) { true } else { false }
    }

    @Test func bySerialNumberOrCertificateAndOnlyThese() throws {
        let (web, db, other) = (try svid("web"), try svid("db"), try svid("other"))
        let first = try revoke(.serial(serial(web)))
        let issuers = [authority.description.generations[0].root.serial, try intermediate().serial]
        #expect(first == [Revocation(serial: try serial(web), issuers: issuers, since: Self.start)])
        #expect(try !isAccepted(web) && isAccepted(db) && isAccepted(other))
        // What was said before stays, in the same list.
        _ = try revoke(.certificate(db.chain[0]), .serial(serial(web)))
        #expect(try !isAccepted(web) && !isAccepted(db) && isAccepted(other))
        var file = RevocationFile(path: directory.lists, trustDomain: domain)
        try file.look()
        #expect(file.lists.count == 2)
        let mode = try FileManager.default.attributesOfItem(atPath: directory.lists)[.posixPermissions] as? Int
        #expect(mode == 0o600)
    }

    @Test func whoeverKeepsTheAuthorityTellsIt() throws {
        _ = authority.advance(to: Self.start)
        let web = try svid("web")
        _ = try revoke(.serial(serial(web)))
        let told = authority.advance(to: Self.start + 30).compactMap { update -> TrustMaterial? in
            if case .trust(let trust) = update { trust } else { nil }
        }
        #expect(told.first?.revocations[domain]?.count == 2)
    }

    /// The one that signs now is kept: that would cut everybody off. The one before goes, with all that it has signed.
    @Test func anIntermediate() throws {
        let web = try svid("web")
        let before = try intermediate()
        let signs = #expect(throws: RevocationRefusal.self) { try revoke(.certificate(before.der)) }
        #expect(signs?.isConflict == true && signs?.hint?.contains("--intermediate") == true)
        let number = try #require(CertificateSerial(before.serial))
        #expect(throws: RevocationRefusal.self) { try revoke(.serial(number)) }
        try authority.renewIntermediate(at: Self.start + 1)
        let late = #expect(throws: RevocationRefusal.self) { try revoke(.certificate(web.chain[0])) }
        #expect(late?.hint?.contains("the second of the chain") == true)
        #expect(try isAccepted(web))
        let done = try revoke(.certificate(before.der))
        #expect(done == [Revocation(serial: number, issuers: [authority.description.generations[0].root.serial])])
        let after = try svid("web")
        #expect(try !isAccepted(web) && isAccepted(after))
    }

    /// The same by its number alone, when the authority does not have it any more; and a leaf of it, which is said.
    @Test func anIntermediateThatWasReplacedByItsNumber() throws {
        let web = try svid("web")
        let number = try #require(CertificateSerial(intermediate().serial))
        try authority.renewIntermediate(at: Self.start + 4)
        let leaf = try revoke(.serial(serial(web)))
        #expect(try leaf.first?.since == Self.start + 4 && isAccepted(web))
        _ = try revoke(.serial(number))
        let after = try svid("web")
        #expect(try !isAccepted(web) && isAccepted(after))
    }

    /// Lists of intermediates that have long expired go; those that count, and other tools', stay.
    @Test func listsOfWhoIsGoneAreLeftOut() throws {
        let web = try svid("web")
        _ = try revoke(.certificate(web.chain[0]))
        let old = try intermediate()
        try authority.renewIntermediate(at: Self.start + 1)
        func lists(_ now: UnixTime) throws -> Int {
            _ = try LocalAuthority.revoke(
                [.serial(#require(CertificateSerial("77")))], of: directory.authority, domain, in: directory.lists,
                at: now)
            var file = RevocationFile(path: directory.lists, trustDomain: domain)
            try file.load()
            return file.lists.count
        }
        #expect(try lists(old.notAfter + AuthorityLifetimes.shared.intermediate - 1) == 3)
        #expect(try lists(old.notAfter + AuthorityLifetimes.shared.intermediate + 1) == 2)
    }

    @Test func whatCannotBeTakenBackChangesNothing() throws {
        let web = try svid("web")
        let root = try #require(authority.roots.first)
        let text = try #require(CertificateSerial(authority.description.generations[0].root.serial))
        for subject in [
            RevocationSubject.certificate(root), .serial(text), .certificate(try foreign()), .certificate([1, 2]),
        ] {
            #expect(throws: RevocationRefusal.self) { try revoke(.serial(serial(web)), subject) }
            #expect(!FileManager.default.fileExists(atPath: directory.lists))
        }
        // A file that is damaged is not written over: it may be all that says who was taken back.
        let damaged = Data("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n".utf8)
        try damaged.write(to: URL(fileURLWithPath: directory.lists))
        #expect(throws: RevocationRefusal.self) { try revoke(.serial(serial(web))) }
        #expect(try Data(contentsOf: URL(fileURLWithPath: directory.lists)) == damaged)
    }

    @Test func serialNumbersAsPeopleHaveThem() {
        #expect(CertificateSerial("0x4f00a1")?.description == "4F00A1")
        #expect(CertificateSerial("04:F0")?.description == "04F0")
        #expect(CertificateSerial("f0a")?.description == "0F0A")
        #expect(CertificateSerial(String(repeating: "f", count: 40)) != nil)
        for text in ["", "0", "0x", "xyz", "-1", "12 34", "1\u{0660}", String(repeating: "f", count: 41)] {
            #expect(CertificateSerial(text) == nil, "\(text)")
        }
    }

    private func intermediate() throws -> AuthorityDescription.Issuer {
        try #require(authority.description.generations.last?.intermediate)
    }

    /// A leaf of another authority.
    private func foreign() throws -> [UInt8] {
        let other = try LocalAuthority(domain, at: directory.path + "/other/authority.pem", now: Self.start)
        return try other.issue(SPIFFEID(domain, namespace: "shop", serviceAccount: "web"), at: Self.start).chain[0]
    }
}
