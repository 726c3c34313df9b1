// SPDX-License-Identifier: Apache-2.0

import Foundation
import Identity
import TLSEngine
import Testing

@testable import IdentityProviders

@Suite struct LocalAuthorityTests {
    /// A directory for one test.
    private final class Directory {
        let path = NSTemporaryDirectory() + "mesh-authority-\(UUID().uuidString)"

        var file: String { path + "/authority.pem" }

        deinit { try? FileManager.default.removeItem(atPath: path) }
    }

    /// Draws that are the same each time.
    private struct Draws: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state
        }
    }

    private static let start = UnixTime(seconds: 1_780_272_000)
    private static let short = AuthorityLifetimes(leaf: 1000, intermediate: 10_000, root: 100_000, announcement: 5000)

    private let directory = Directory()
    private let domain: TrustDomain
    private let web: SPIFFEID

    init() throws {
        domain = try TrustDomain("mesh.test")
        web = try SPIFFEID(domain, namespace: "shop", serviceAccount: "web")
    }

    private func open(at now: UnixTime = start, _ lifetimes: AuthorityLifetimes = short) throws -> LocalAuthority {
        try LocalAuthority(domain, at: directory.file, lifetimes: lifetimes, now: now, random: Draws(state: 7))
    }

    private func issued(_ updates: [IdentityUpdate]) -> [X509SVID] {
        updates.compactMap { if case .issued(let svid) = $0 { svid } else { nil } }
    }

    private func verdict(
        _ svid: X509SVID, _ roots: [[UInt8]], at now: UnixTime
    ) throws -> Result<SPIFFEID, SVIDRejection> {
        SVIDVerifier.verify(
            chain: svid.chain, usage: .client, at: now, trusting: try TrustBundles([domain: roots]),
            expecting: .memberOf(domain))
    }

    @Test func firstStart() throws {
        let authority = try open()
        let attributes = try FileManager.default.attributesOfItem(atPath: directory.file)
        #expect(attributes[.posixPermissions] as? Int == 0o600)
        let parent = try FileManager.default.attributesOfItem(atPath: directory.path)
        #expect(parent[.posixPermissions] as? Int == 0o700)
        authority.request([web])
        #expect(authority.nextDue <= Self.start)
        let updates = authority.advance(to: Self.start)
        #expect(updates.count == 2)
        guard case .trust(let trust) = updates.first else {
            Issue.record("the bundle is not told first")
            return
        }
        #expect(trust.roots == [domain: authority.roots])
        let svid = try #require(issued(updates).first)
        #expect(svid.id == web)
        #expect(svid.notAfter == Self.start + 1000)
        #expect(try verdict(svid, authority.roots, at: Self.start) == .success(web))
        // Nothing more is due for a while.
        #expect(authority.nextDue > Self.start)
        #expect(authority.advance(to: Self.start + 1).isEmpty)
    }

    @Test func itIsTheSameAfterARestart() throws {
        let first = try open()
        let roots = first.roots
        first.request([web])
        let svid = try #require(issued(first.advance(to: Self.start)).first)
        let second = try open(at: Self.start + 10)
        #expect(second.roots == roots)
        #expect(try verdict(svid, second.roots, at: Self.start + 10) == .success(web))
        second.request([web])
        let next = try #require(issued(second.advance(to: Self.start + 10)).first)
        #expect(try verdict(next, roots, at: Self.start + 10) == .success(web))
    }

    /// What an agent before had is used again, and renewed when it would have been.
    @Test func certificatesAreTakenOver() throws {
        let first = try open()
        let database = try SPIFFEID(domain, namespace: "shop", serviceAccount: "db")
        first.request([web, database])
        let before = issued(first.advance(to: Self.start))
        let due = first.nextDue
        let second = try open(at: Self.start + 10)
        second.adopt(before, nil, at: Self.start + 10)
        second.request([web])
        let taken = issued(second.advance(to: Self.start + 10))
        #expect(taken.map(\.serial) == before.filter { $0.id == web }.map(\.serial))
        #expect(second.schedule(of: database) == nil)
        let next = try #require(second.schedule(of: web)).nextAttempt
        #expect((Self.start + 450...Self.start + 550).contains(next) && due <= Self.start + 550)
        // A pod that comes back in time has its own again; one that comes later gets a new one.
        second.request([web, database])
        let late = issued(second.advance(to: Self.start + 11))
        #expect(late.map(\.serial) == before.filter { $0.id == database }.map(\.serial))
        let third = try open(at: Self.start + 20)
        third.adopt(before, nil, at: Self.start + 20)
        _ = third.advance(to: Self.start + 320)
        third.request([web])
        let new = issued(third.advance(to: Self.start + 320))
        #expect(new.count == 1 && new[0].serial != before.first { $0.id == web }?.serial)
    }

    @Test func whatItsRootsDoNotBelieveIsNotTakenOver() throws {
        let stranger = Directory()
        let other = try LocalAuthority(domain, at: stranger.file, lifetimes: Self.short, now: Self.start)
        other.request([web])
        let foreign = try #require(issued(other.advance(to: Self.start)).first)
        let own = try open()
        own.request([web])
        let expired = try #require(issued(own.advance(to: Self.start)).first)
        for (svid, now) in [(foreign, Self.start + 10), (expired, Self.start + 1001)] {
            let authority = try open(at: now)
            authority.adopt([svid], nil, at: now)
            authority.request([web])
            let new = try #require(issued(authority.advance(to: now)).first)
            #expect(new.serial != svid.serial && new.notAfter == now + 1000)
        }
    }

    @Test func requestsReplaceEachOther() throws {
        let authority = try open()
        let database = try SPIFFEID(domain, namespace: "shop", serviceAccount: "db")
        authority.request([web, database])
        #expect(issued(authority.advance(to: Self.start)).map(\.id) == [database, web])
        authority.request([web])
        guard case .withdrawn(database) = authority.advance(to: Self.start).first else {
            Issue.record("not withdrawn")
            return
        }
        authority.request([web])
        #expect(authority.advance(to: Self.start).isEmpty)
        authority.request([web, database])
        #expect(issued(authority.advance(to: Self.start)).map(\.id) == [database])
    }

    @Test func whatIsNotItsOwnIsRefused() throws {
        let authority = try open()
        let stranger = try SPIFFEID("spiffe://other.test/ns/shop/sa/web")
        authority.request([stranger, SPIFFEID(domain), web])
        var reasons: [String] = []
        let updates = authority.advance(to: Self.start)
        for case .failed(let id, let reason, _) in updates { reasons.append("\(id): \(reason)") }
        #expect(
            reasons == [
                "spiffe://mesh.test: it is a trust domain's ID, not a workload's",
                "spiffe://other.test/ns/shop/sa/web: it is not of the trust domain mesh.test",
            ])
        #expect(issued(updates).map(\.id) == [web])
    }

    /// Many identities do not hold the agent's thread: they come in several calls.
    @Test func workIsBounded() throws {
        let authority = try open()
        authority.request(Set(try (0..<100).map { try SPIFFEID("spiffe://mesh.test/w\($0)") }))
        #expect(issued(authority.advance(to: Self.start)).count == 64)
        #expect(authority.nextDue <= Self.start)
        #expect(issued(authority.advance(to: Self.start)).count == 36)
        #expect(authority.nextDue > Self.start)
    }

    /// Through four roots: at every moment every certificate in use is accepted by whoever knows the bundle of now, of
    /// the announcement ago, and by whoever has not yet heard of the latest change.
    @Test func noMomentWithoutTrust() throws {
        let lifetimes = AuthorityLifetimes(leaf: 1000, intermediate: 5000, root: 20_000, announcement: 2000)
        var authority = try open(at: Self.start, lifetimes)
        authority.request([web])
        var svid: X509SVID?
        var bundles: [(since: UnixTime, roots: [[UInt8]])] = []
        var seen: Set<[UInt8]> = []
        var issuers: Set<[UInt8]> = []
        for step in 0..<240 {
            let now = Self.start + Int64(step) * 230
            // A restart now and then, which must change nothing.
            if step % 37 == 36 {
                authority = try open(at: now, lifetimes)
                authority.request([web])
            }
            for update in authority.advance(to: now) {
                switch update {
                case .issued(let next):
                    svid = next
                    issuers.insert(next.chain[1])
                case .trust, .withdrawn: break
                case .failed(_, let reason, _): Issue.record("\(step): \(reason)")
                case .trouble(let reason): Issue.record("\(step): \(reason ?? "none")")
                }
            }
            if bundles.last?.roots != authority.roots { bundles.append((now, authority.roots)) }
            seen.formUnion(authority.roots)
            #expect(authority.roots.count <= 2)
            let current = try #require(svid)
            #expect(now < current.notAfter)
            let late = bundles.last { $0.since <= now - 1700 } ?? bundles[0]
            for roots in [authority.roots, late.roots] {
                let result = try verdict(current, roots, at: now)
                #expect(result == .success(web), "step \(step): \(result)")
            }
        }
        #expect(seen.count == 4)
        #expect(issuers.count > 15)
    }

    @Test func rotationOnDemand() throws {
        let authority = try open()
        authority.request([web])
        let old = try #require(issued(authority.advance(to: Self.start)).first)
        let oldRoots = authority.roots
        try authority.rotateRoot(at: Self.start + 100)
        let announced = authority.advance(to: Self.start + 100)
        guard case .trust = announced.first else {
            Issue.record("the new root is not told")
            return
        }
        #expect(authority.roots.count == 2)
        #expect(authority.roots.first == oldRoots.first)
        #expect(try verdict(old, authority.roots, at: Self.start + 200) == .success(web))
        // Known for long enough, it signs; then the old one goes, and what it has signed with it.
        let later = Self.start + 5200
        _ = authority.advance(to: later)
        #expect(!issued(authority.advance(to: later + 600) + authority.advance(to: later + 1000)).isEmpty)
        let end = later + 2001
        let next = try #require(issued(authority.advance(to: end)).first)
        #expect(authority.roots.count == 1)
        #expect(authority.roots != oldRoots)
        #expect(try verdict(next, authority.roots, at: end) == .success(web))
        #expect(throws: SVIDRejection.self) { try verdict(next, oldRoots, at: end).get() }
    }

    /// What an operator says is done at once and is on the disk; what was issued before stays good.
    @Test func stepsOnDemand() throws {
        let authority = try open()
        authority.request([web])
        var before = try #require(issued(authority.advance(to: Self.start)).first)
        func renewed(at now: UnixTime) throws -> X509SVID {
            try authority.renew([web, SPIFFEID(domain, namespace: "shop", serviceAccount: "nobody")], at: now)
            #expect(authority.nextDue <= now)
            let next = try #require(issued(authority.advance(to: now)).first)
            for svid in [before, next] { #expect(try verdict(svid, authority.roots, at: now) == .success(web)) }
            #expect(next.serial != before.serial && next.notAfter == now + 1000)
            return next
        }
        let leaf = try renewed(at: Self.start + 10)
        #expect(leaf.chain[1] == before.chain[1])
        try authority.renewIntermediate(at: Self.start + 20)
        before = try renewed(at: Self.start + 20)
        #expect(before.chain[1] != leaf.chain[1] && authority.roots.count == 1 && authority.rootAnnounced == nil)
        try authority.rotateRoot(at: Self.start + 30)
        #expect(authority.rootAnnounced == Self.start + 30)
        #expect(try renewed(at: Self.start + 40).chain[1] == before.chain[1])
        try authority.useAnnouncedRoot(at: Self.start + 50)
        #expect(authority.rootAnnounced == nil && authority.isChangingRoot)
        let last = try renewed(at: Self.start + 60)
        #expect(throws: SVIDRejection.self) { try verdict(last, [authority.roots[0]], at: Self.start + 60).get() }
        #expect(try verdict(last, [authority.roots[1]], at: Self.start + 60) == .success(web))
        #expect(try open(at: Self.start + 70).description.generations.map(\.stage) == [.retiring, .signing])
    }

    /// One change at a time: the next may begin when the first root has gone.
    @Test func aChangeOfRootIsWaitedFor() throws {
        let authority = try open()
        #expect(!authority.isChangingRoot)
        try authority.rotateRoot(at: Self.start)
        #expect(authority.isChangingRoot)
        _ = authority.advance(to: Self.start + 5000)
        #expect(authority.isChangingRoot)
        _ = authority.advance(to: Self.start + 7001)
        #expect(!authority.isChangingRoot)
    }

    private func trust(_ updates: [IdentityUpdate]) -> TrustMaterial? {
        updates.compactMap { if case .trust(let trust) = $0 { trust } else { nil } }.last
    }

    private func troubles(_ updates: [IdentityUpdate]) -> [String?] {
        updates.compactMap { if case .trouble(let reason) = $0 { .some(reason) } else { nil } }
    }

    /// The file comes, is damaged, and goes; each is told, and what was read last stays in use while it is damaged.
    @Test func revocationListsAreReadAgain() throws {
        let path = directory.path + "/revoked.pem"
        let authority = try LocalAuthority(
            domain, at: directory.file, revocations: path, lifetimes: Self.short, now: Self.start)
        #expect(trust(authority.advance(to: Self.start))?.revocations == [:])
        let list = try #require(Data(base64Encoded: Self.list))
        var text: [UInt8] = []
        list.withUnsafeBytes { PEMWriter.write("X509 CRL", $0, to: &text) }
        try Data(text).write(to: URL(fileURLWithPath: path))
        #expect(authority.nextDue == Self.start + 30)
        #expect(authority.advance(to: Self.start + 29).isEmpty)
        #expect(trust(authority.advance(to: Self.start + 30))?.revocations == [domain: [Array(list)]])
        try Data(text.dropLast(40)).write(to: URL(fileURLWithPath: path))
        let damaged = authority.advance(to: Self.start + 60)
        #expect(trust(damaged) == nil)
        let trouble = try #require(troubles(damaged).first as? String)
        #expect(trouble.hasPrefix("read the revocation lists in \(path): ") && trouble.contains("stay in use"))
        var others: [UInt8] = []
        authority.roots[0].withUnsafeBytes { PEMWriter.write("CERTIFICATE", $0, to: &others) }
        try Data(others).write(to: URL(fileURLWithPath: path))
        #expect((troubles(authority.advance(to: Self.start + 90)).first as? String)?.contains("X509 CRL") == true)
        try FileManager.default.removeItem(atPath: path)
        let gone = authority.advance(to: Self.start + 120)
        #expect(trust(gone)?.revocations == [:])
        #expect(troubles(gone) == [nil])
    }

    /// A revocation list that names nobody.
    private static let list =
        "MIGYMEACAQEwCgYIKoZIzj0EAwIwETEPMA0GA1UEAwwGaXNzdWVyFw0yNjAxMDEwMDAwMDBaFw0zNjAxMDEwMDAwMDBaMAoG"
        + "CCqGSM49BAMCA0gAMEUCIQDxtgCpD/BZgrSQi+f7UjBGfs1fjSJaThPTHCf3fD3jUgIgFqHUa4C2wNwYNmj1P9+ZZgUxQ+DF"
        + "ezr6kELEPFHyWrg="

    /// Off for longer than its root lived.
    @Test func allHasExpired() throws {
        let roots = try open().roots
        let later = Self.start + 200_000
        let authority = try open(at: later)
        #expect(authority.roots.count == 1)
        #expect(authority.roots != roots)
        authority.request([web])
        let svid = try #require(issued(authority.advance(to: later)).first)
        #expect(try verdict(svid, authority.roots, at: later) == .success(web))
    }
}
