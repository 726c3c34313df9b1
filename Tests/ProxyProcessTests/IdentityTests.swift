// SPDX-License-Identifier: Apache-2.0

import Identity
import L7Proxy
import LinuxIO
import ProxyProtocol
import TLSEngine
import Testing

@testable import ProxyProcess

/// Identities that come to a proxy, stay there, and go back to the next agent.
@Suite(.serialized, .timeLimit(.minutes(1))) final class IdentityStoreTests {
    private let domain: TrustDomain
    private let root: CertificateIssuer
    private let issuer: CertificateIssuer
    private static let now = UnixTime(seconds: 1_780_272_000)

    init() throws {
        domain = try TrustDomain("mesh.test")
        root = try CertificateIssuer.makeRoot(domain, from: Self.now, until: Self.now + 1000)
        issuer = try root.makeIntermediate(domain, from: Self.now, until: Self.now + 900)
    }

    private func svid(_ account: String) throws -> X509SVID {
        let id = try SPIFFEID(domain, namespace: "shop", serviceAccount: account)
        let key = try PrivateKey.make()
        let leaf = try issuer.makeLeaf(id, holder: key, from: Self.now, until: Self.now + 100)
        return try X509SVID(chain: [leaf.der, issuer.certificate.der], key: key)
    }

    private func file(
        _ svids: [X509SVID], trust: TrustRecord? = nil, removed: [String] = [], name: String? = nil
    ) throws -> SharedDescriptor {
        let file = try MemoryFile.make("test")
        let transfer = IdentityTransfer(
            trust: trust, removed: removed,
            identities: svids.map { svid in
                .init(
                    id: name ?? "\(svid.id)", chain: svid.chain, keyBytes: svid.key.withPKCS8 { UInt32($0.count) })
            })
        try transfer.write(to: file) { (index, take) throws(SystemError) in try svids[index].key.withPKCS8(take) }
        return file
    }

    private var trust: TrustRecord { TrustRecord([.init(name: "mesh.test", roots: [root.certificate.der])]) }

    @Test func whatComesIsUsedAndGivenBack() throws {
        var store = IdentityStore()
        let (web, db) = (try svid("web"), try svid("db"))
        let first = try store.apply(file([web, db], trust: trust))
        #expect(first.svids.keys.sorted() == [db.id, web.id])
        #expect(first.bundles.trustDomains == [domain])
        let renewed = try svid("web")
        let second = try store.apply(file([renewed], removed: ["\(db.id)"]))
        #expect(second.svids.mapValues(\.serial) == [web.id: renewed.serial])
        #expect(second.serial > first.serial)
        // What was said about trust before stays, and so what was made with it.
        #expect(second.bundles === first.bundles)
        // Nor is the same once more a change.
        let third = try store.apply(file([], trust: trust))
        #expect(third.bundles === first.bundles && third.svids.count == 1)

        let back = try MemoryFile.make("test")
        try store.write(to: back)
        var next = IdentityStore()
        let returned = try next.apply(back)
        #expect(returned.svids.mapValues(\.serial) == [web.id: renewed.serial])
        #expect(returned.bundles.trustDomains == [domain])
    }

    @Test func whatIsWrongChangesNothing() throws {
        var store = IdentityStore()
        let web = try svid("web")
        _ = try store.apply(file([web], trust: trust))
        let other = try svid("db")
        func refusal(_ file: SharedDescriptor) -> String {
            do throws(IdentityRefusal) {
                _ = try store.apply(file)
                return "accepted"
            } catch { return error.description }
        }
        #expect(
            try refusal(file([other], name: "spiffe://mesh.test/ns/shop/sa/admin"))
                == "spiffe://mesh.test/ns/shop/sa/admin: use a certificate: it is of \(other.id)")
        #expect(try refusal(file([other], removed: ["nonsense"])).hasPrefix("an identity that is taken away: "))
        let leaf = TrustRecord([.init(name: "mesh.test", roots: [other.chain[0]])])
        #expect(try refusal(file([other], trust: leaf)).contains("may not sign others"))
        let garbage = try MemoryFile.make("test")
        try MemoryFile.write([1, 2, 3, 4, 5], to: garbage)
        #expect(refusal(garbage) == "malformed: not identities, at byte 4")
        #expect(store.current.svids.mapValues(\.serial) == [web.id: web.serial])
        var small = LinkLimits()
        small.identities = 1
        var full = IdentityStore(limits: small)
        #expect(throws: IdentityRefusal.self) { _ = try full.apply(file([web, other])) }
        small.identityBytes = 100
        full = IdentityStore(limits: small)
        #expect(throws: IdentityRefusal.self) { _ = try full.apply(file([web])) }
    }

    @Test func theHostAnswersAndGivesBack() throws {
        let world = try HostTests.World()
        try world.connect()
        let web = try svid("web")
        world.agent?.send(.identities(1), [try file([web], trust: trust)])
        try world.turn { world.heard.contains(.identities(1, refusal: nil)) }
        #expect(world.engine.identities?.svids.mapValues(\.serial) == [web.id: web.serial])
        let garbage = try MemoryFile.make("test")
        world.agent?.send(.identities(2), [garbage])
        try world.turn { if case .identities(2, .some) = world.heard.last { true } else { false } }
        let back = try MemoryFile.make("test")
        world.agent?.send(.identitiesRequest(3), [back])
        try world.turn { world.heard.contains(.identitiesWritten(3)) }
        var next = IdentityStore()
        #expect(try next.apply(back).svids.mapValues(\.serial) == [web.id: web.serial])
        // Nothing of a key is logged.
        let key = web.key.withPKCS8 { Array($0) }
        for line in world.log { #expect(!Array(line.utf8).contains(key.suffix(16))) }
    }
}
