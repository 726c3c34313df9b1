// SPDX-License-Identifier: Apache-2.0

import Identity
import IdentityProviders
import LinuxIO
import Logging
import MeshAdmin
import MeshModel
import TLSEngine
import Testing

@testable import MeshAgent

@Suite(.timeLimit(.minutes(1))) struct IdentityKeeperTests {
    private final class Clock {
        var now = FakeProvider.start
    }

    private let loop: EventLoop
    private let provider: FakeProvider
    private let keeper: IdentityKeeper
    private let clock = Clock()
    private let web: SPIFFEID
    private let pods = [
        NamespacedName(namespace: "shop", name: "web-1"): "web",
        NamespacedName(namespace: "shop", name: "web-2"): "web",
        NamespacedName(namespace: "data", name: "db"): "db",
    ]

    init() throws {
        loop = try EventLoop()
        provider = try FakeProvider()
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        keeper = IdentityKeeper(provider, on: loop, logger: logger) { [clock] in clock.now }
        web = try SPIFFEID(provider.trustDomain, namespace: "shop", serviceAccount: "web")
    }

    private func tell(_ news: [IdentityUpdate], where done: () -> Bool) throws {
        provider.news = news
        provider.onNews()
        for _ in 0..<1000 where !done() { try loop.turn(waitingAtMost: .milliseconds(10)) }
        try #require(done())
    }

    @Test func onlyIdentitiesOfEnrolledPodsAreAskedFor() throws {
        keeper.setPods(pods)
        #expect(provider.wanted.isEmpty, "nothing is asked for before it is known what an agent before had")
        keeper.begin()
        let db = try SPIFFEID(provider.trustDomain, namespace: "data", serviceAccount: "db")
        #expect(provider.wanted == [web, db])
        #expect(keeper.entries[web]?.pods.map(\.name) == ["web-1", "web-2"])
        keeper.setPods(pods.filter { $0.value == "web" })
        #expect(provider.wanted == [web])
        // An account that no SPIFFE ID can name.
        keeper.setPods([NamespacedName(namespace: "shop", name: "odd"): "a:b"])
        #expect(provider.wanted.isEmpty)
    }

    @Test func aPodThatLeavesTakesItsIdentityOnlyIfItIsTheLast() throws {
        keeper.setPods(pods)
        keeper.begin()
        let svid = try provider.svid(web)
        try tell([.trust(provider.trust), .issued(svid)]) { keeper.entries[web]?.svid != nil }
        #expect(keeper.trust == provider.trust)
        var changes: [IdentityKeeper.Change] = []
        keeper.didChange = { changes.append($0) }
        keeper.setPods(pods.filter { $0.key.name != "web-1" })
        #expect(changes.isEmpty && keeper.entries[web]?.svid?.serial == svid.serial)
        keeper.setPods(pods.filter { $0.value == "db" })
        #expect(changes.map(\.identities) == [[web]])
        // One that comes too late is nobody's.
        try tell([.issued(svid), .trouble("x")]) { keeper.trouble != nil }
        #expect(keeper.entries[web] == nil && changes.count == 1)
    }

    @Test func aFailureIsSaidAtOnceAndAlarmsAfterAMinute() throws {
        keeper.setPods(pods)
        keeper.begin()
        let svid = try provider.svid(web)
        try tell([.issued(svid)]) { keeper.entries[web]?.svid != nil }
        let failure = IdentityUpdate.failed(
            web, reason: "out of reach", health: .renewalFails(since: clock.now, attempts: 1))
        try tell([failure]) { keeper.entries[web]?.error != nil }
        func report() throws -> CertificateReport {
            try #require(keeper.reports(IdentitiesRequest(namespace: "shop")).first)
        }
        #expect(try report().state == .renewalFails)
        #expect(try report().alarming == false)
        #expect(try report().error == "out of reach")
        #expect(keeper.summary.alarming == 0 && keeper.summary.current == 1 && keeper.summary.identities == 2)
        clock.now = clock.now + 60
        #expect(try report().alarming)
        // The one before is in use until it expires.
        #expect(try report().serial == svid.serial)
        clock.now = svid.notAfter
        #expect(try report().state == .expired)
        #expect(keeper.summary.current == 0 && keeper.summary.alarming == 1)
        let next = try provider.svid(web, lasting: 100_000)
        try tell([.issued(next)]) { keeper.entries[web]?.error == nil }
        #expect(try report().state == .current)
        #expect(try report().alarming == false)
    }

    @Test func renewalOnDemandIsOfANamespaceOrOfAll() throws {
        keeper.setPods(pods)
        keeper.renew(IdentitiesRequest())
        #expect(provider.renewed.isEmpty, "nothing is asked for before it is known what an agent before had")
        keeper.begin()
        keeper.renew(IdentitiesRequest(namespace: "shop"))
        #expect(provider.renewed == [web])
        keeper.renew(IdentitiesRequest())
        #expect(provider.renewed.count == 2)
    }

    @Test func whatAnAgentBeforeHadGoesToTheProvider() throws {
        let svid = try provider.svid(web)
        keeper.setPods(pods)
        keeper.begin(adopting: [svid], provider.trust)
        #expect(provider.adopted.map(\.serial) == [svid.serial])
        keeper.begin(adopting: [svid, svid])
        #expect(provider.adopted.count == 1)
    }
}
