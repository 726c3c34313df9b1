// SPDX-License-Identifier: Apache-2.0

import Foundation
import Identity
import LinuxIO
import TLSEngine
import Testing

@testable import IdentityProviders

@Suite struct JoinedAuthorityTests {
    private let world: JoinWorld
    private let loop: EventLoop

    init() throws {
        world = try JoinWorld()
        loop = try EventLoop()
    }

    @Test func aNodeJoinsAndItsPodsGetCertificates() throws {
        let service = try world.service(on: loop)
        let web = try world.id("web")
        let database = try world.id("db")
        let node = Caller(try world.provider("n1", world.joinFile(for: "n1", service), on: loop), on: loop, world.clock)
        node.provider.request([web, database])
        #expect(try node.wait { node.svids[web] != nil && node.failures[database] != nil })
        #expect(node.failures[database] == "it is not on node n1")
        #expect(node.trust?.roots == [world.domain: world.authority.roots] && node.trouble == nil)
        #expect(node.svids[web]?.isBelieved(by: try #require(node.trust), at: .now) == true)
        #expect(world.events.contains { $0.message == "a node has joined" && $0.details["node"] == "n1" })
        // The pod is put there.
        world.placement.accounts["n1"] = ["web", "db"]
        #expect(try node.wait { node.svids[database] != nil })
    }

    /// More than an authority answers at once: nothing fails, and the rest follows.
    @Test func manyIdentitiesAreGivenInParts() throws {
        let service = try world.service(on: loop)
        // The limit is met in the first exchange, and again later if the clock does not go on meanwhile.
        service.desk.limits = AuthorityDesk.Limits(callsPerSecond: 20, burst: 40)
        let accounts = (0..<90).map { "account-\($0)" }
        world.placement.accounts["n1"] = Set(accounts)
        let node = Caller(try world.provider("n1", world.joinFile(for: "n1", service), on: loop), on: loop, world.clock)
        node.provider.request(Set(try accounts.map { try world.id($0) }))
        #expect(try node.wait { node.svids.count == accounts.count })
        #expect(node.failureCount == 0 && node.trouble == nil)
        #expect(world.events.count { $0.details["code"] == "busy" } >= 1)
        #expect(world.events.count { $0.message == "a certificate was issued" } == accounts.count + 1, "none twice")
    }

    /// The token is of no use any more, and none is needed.
    @Test func aRestartNeedsNoToken() throws {
        let service = try world.service(on: loop)
        let file = try world.joinFile(for: "n1", service)
        let web = try world.id("web")
        let first = Caller(try world.provider("n1", file, on: loop), on: loop, world.clock)
        first.provider.request([web])
        #expect(try first.wait { first.svids[web] != nil })
        let before = try #require(first.svids[web])
        let second = Caller(try world.provider("n1", file, on: loop), on: loop, world.clock)
        second.provider.adopt([before], nil, at: .now)
        second.provider.request([web])
        #expect(try second.wait { second.svids[web] != nil })
        #expect(second.svids[web]?.serial == before.serial)
        #expect(world.events.count { $0.message == "a node has joined" } == 1)
        // The same file elsewhere.
        let thief = Caller(
            try world.provider("n1", file, keepingIn: world.path + "/elsewhere", on: loop), on: loop, world.clock)
        thief.provider.request([web])
        #expect(try thief.wait { thief.trouble != nil })
        #expect(thief.trouble?.contains("the token was used at") == true && thief.svids.isEmpty)
        #expect(world.events.contains { $0.details["code"] == "usedToken" && $0.details["node"] == "n1" })
        // A new file is read without a restart.
        _ = try world.joinFile(for: "n1", service)
        #expect(try thief.wait { thief.svids[web] != nil })
        #expect(try thief.wait { thief.trouble == nil })
    }

    @Test func anAuthorityThatIsAwayIsSaidAndComesBack() throws {
        var service: AuthorityService? = try world.service(on: loop)
        let port = try #require(service?.endpoint.port)
        let file = try world.joinFile(for: "n1", #require(service))
        let web = try world.id("web")
        let node = Caller(try world.provider("n1", file, on: loop), on: loop, world.clock)
        #expect(try node.wait { node.trust != nil })
        service = nil
        node.provider.request([web])
        #expect(try node.wait { node.failures[web] != nil })
        #expect(try node.wait { node.trouble?.contains("Connection refused") == true }, "\(node.trouble ?? "")")
        service = try world.service(on: loop, at: port)
        #expect(try node.wait { node.svids[web] != nil && node.trouble == nil })
        withExtendedLifetime(service) {}
    }

    /// For longer than half of a certificate's life. It is said in the first minute, nothing is taken away, and all is
    /// renewed when it is back.
    @Test func anOutageOverTheTimeOfRenewal() throws {
        var service: AuthorityService? = try world.service(on: loop)
        let port = try #require(service?.endpoint.port)
        let web = try world.id("web")
        let file = try world.joinFile(for: "n1", #require(service))
        let node = Caller(try world.provider("n1", file, on: loop), on: loop, world.clock)
        node.provider.request([web])
        #expect(try node.wait { node.svids[web] != nil && node.trouble == nil })
        let before = try #require(node.svids[web])
        service = nil
        let stopped = world.clock.now
        #expect(try node.wait { node.trouble?.contains("gives nothing") == true })
        #expect(world.clock.now - stopped <= 60)
        #expect(node.failures[web] == nil, "it is not time yet")
        world.clock.goOn(AuthorityLifetimes.shared.leaf * 56 / 100)
        #expect(try node.wait { node.failures[web] != nil })
        #expect(node.svids[web]?.serial == before.serial && world.clock.now < before.notAfter)
        guard case .renewalFails? = node.provider.schedule(of: web)?.health(at: world.clock.now) else {
            Issue.record("the renewal fails")
            return
        }
        service = try world.service(on: loop, at: port)
        #expect(try node.wait { node.svids[web]?.serial != before.serial && node.trouble == nil })
        #expect(node.provider.schedule(of: web)?.health(at: world.clock.now) == .current)
        withExtendedLifetime(service) {}
    }

    /// Also the node's own certificate, and whom to believe is asked first.
    @Test func renewalOnDemand() throws {
        let service = try world.service(on: loop)
        let web = try world.id("web")
        let node = Caller(try world.provider("n1", world.joinFile(for: "n1", service), on: loop), on: loop, world.clock)
        node.provider.request([web])
        #expect(try node.wait { node.svids[web] != nil })
        let before = try #require(node.svids[web])
        let own = try NodeCredentials(in: world.path + "/n1", world.domain).svid?.serial
        try world.authority.rotateRoot(at: .now)
        service.lookAfter()
        node.provider.renew([web], at: world.clock.now)
        #expect(try node.wait { node.svids[web]?.serial != before.serial })
        #expect(node.trust?.roots[world.domain]?.count == 2)
        #expect(try NodeCredentials(in: world.path + "/n1", world.domain).svid?.serial != own)
    }

    @Test func newRootsAndRevocationsReachNodes() throws {
        let service = try world.service(on: loop)
        let node = Caller(try world.provider("n1", world.joinFile(for: "n1", service), on: loop), on: loop, world.clock)
        #expect(try node.wait { node.trust != nil })
        try world.authority.rotateRoot(at: .now)
        service.lookAfter()
        world.clock.goOn(JoinedAuthority.trustSeconds)
        #expect(try node.wait { node.trust?.roots[world.domain]?.count == 2 })
    }

    /// It was away while the root changed: its certificate has expired, and what it believed is still on its disk.
    @Test func aNodeThatJoinsAgainBelievesItsJoinFile() throws {
        let service = try world.service(on: loop)
        var before = try NodeCredentials(in: world.path, world.domain)
        try before.take(TrustMaterial(world.domain, roots: JoinWorld().authority.roots, revocations: []))
        let file = try world.joinFile(for: "n1", service)
        let node = Caller(try world.provider("n1", file, keepingIn: world.path, on: loop), on: loop, world.clock)
        let web = try world.id("web")
        node.provider.request([web])
        #expect(try node.wait { node.svids[web] != nil })
        #expect(node.trust?.roots[world.domain] == world.authority.roots)
    }

    /// However long it keeps its connection.
    @Test func aNodeThatIsNotAcceptedAnyMoreIsEnded() throws {
        let service = try world.service(on: loop)
        let trust = TrustMaterial(world.domain, roots: world.authority.roots, revocations: [])
        let svid = try world.authority.issue(MeshMember.node("n1", world.domain), at: .now)
        let context = try TLSContext(.client, svid: svid, trusting: trust.bundles(), application: .authority)
        let socket = StreamSocket.connect(to: .loopback(port: service.endpoint.port))
        let channel = try TLSChannel(
            OwnedDescriptor(adopting: CInt(socket)), context,
            expecting: .anyOf([MeshMember.authority(world.domain)]), frameLimit: AuthorityAnswer.maximumBytes, on: loop)
        var isAnswered = false
        var hasEnded = false
        channel.onOpen = { [unowned channel] in channel.send(AuthorityJSON.encode(AuthorityCall.trust)) }
        channel.onFrame = { _ in isAnswered = true }
        channel.onEnd = { _ in hasEnded = true }
        try channel.start()
        try turn { isAnswered }
        service.desk.trust = TrustMaterial(world.domain, roots: try JoinWorld().authority.roots, revocations: [])
        service.renewContext(at: .now)
        try turn { hasEnded }
        #expect(
            world.events.contains {
                $0.details["node"] == "n1" && $0.details["reason"]?.contains("not accepted any more") == true
            })
    }

    /// Who shakes hands comes again, and nobody in particular has no certificate that might not be accepted any more.
    @Test func whoHasNoCertificateIsNotJudgedByIt() throws {
        let service = try world.service(on: loop)
        let silent = StreamSocket.connect(to: .loopback(port: service.endpoint.port))
        defer { StreamSocket.close(CInt(silent)) }
        let trust = TrustMaterial(world.domain, roots: world.authority.roots, revocations: [])
        let context = try TLSContext(.client, svid: nil, trusting: trust.bundles(), application: .authority)
        let stranger = try TLSChannel(
            OwnedDescriptor(adopting: CInt(StreamSocket.connect(to: .loopback(port: service.endpoint.port)))), context,
            expecting: .anyOf([MeshMember.authority(world.domain)]), frameLimit: AuthorityAnswer.maximumBytes, on: loop)
        var (isOpen, hasEnded) = (false, false)
        stranger.onOpen = { isOpen = true }
        stranger.onEnd = { _ in hasEnded = true }
        try stranger.start()
        try turn { isOpen }
        // The other end is in the same loop.
        for _ in 0..<5 { try loop.turn(waitingAtMost: .milliseconds(5)) }
        service.renewContext(at: .now)
        for _ in 0..<5 { try loop.turn(waitingAtMost: .milliseconds(5)) }
        #expect(!hasEnded)
        #expect(world.events.count { $0.details["reason"]?.contains("during its handshake") == true } == 1)
    }

    private func turn(until condition: () -> Bool) throws {
        let end = ContinuousClock.now + .seconds(10)
        while !condition() {
            try #require(ContinuousClock.now < end)
            try loop.turn(waitingAtMost: .milliseconds(20))
        }
    }

    /// Whoever answers at the address is not believed for that.
    @Test func anotherAuthorityIsNotBelieved() throws {
        let service = try world.service(on: loop)
        let other = try JoinWorld()
        let file = try world.joinFile(for: "n1", service, trusting: other.authority.roots)
        let node = Caller(try world.provider("n1", file, on: loop), on: loop, world.clock)
        #expect(try node.wait { node.trouble != nil })
        #expect(node.trouble?.contains("certificate") == true, "\(node.trouble ?? "")")
        #expect(!world.events.contains { $0.message == "a node has joined" })
    }

    @Test func aJoinFileThatIsNotForThisNodeIsRefused() throws {
        let service = try world.service(on: loop)
        let file = try world.joinFile(for: "n1", service)
        let error = #expect(throws: JoinError.self) { try world.provider("n2", file, on: loop) }
        #expect(error?.description.contains("it is for node n1, and this is n2") == true)
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: file)
        #expect(throws: JoinError.self) { try world.provider("n1", file, on: loop) }
        #expect(throws: JoinError.self) { try world.provider("n1", file + ".none", on: loop) }
    }

    /// Who can write one of these files can be the node, or say whom its pods believe.
    @Test(arguments: ["node.pem", "trust.pem"], [0o620, 0o602, 0o644])
    func whatANodeKeepsMustBeItsOwn(_ name: String, _ mode: Int) throws {
        let directory = world.path + "/n1"
        var kept = try NodeCredentials(in: directory, world.domain)
        let trust = TrustMaterial(world.domain, roots: world.authority.roots, revocations: [])
        try kept.take(trust)
        let path = "\(directory)/\(name)"
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
        let error = #expect(throws: JoinError.self) { _ = try NodeCredentials(in: directory, world.domain) }
        #expect(error?.description.contains("\(path): ") == true && error?.description.contains("chmod 600") == true)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
        #expect(try NodeCredentials(in: directory, world.domain).trust == trust)
        // Nor does a name that leads elsewhere say it.
        try FileManager.default.moveItem(atPath: path, toPath: path + ".moved")
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: path + ".moved")
        #expect(throws: JoinError.self) { _ = try NodeCredentials(in: directory, world.domain) }
    }

    @Test func twoKeepersOfOneAuthority() {
        let error = #expect(throws: AuthorityFileError.self) {
            _ = try LocalAuthority.lock(world.path + "/authority.pem")
        }
        #expect(error?.isInUse == true && error?.description.contains("process \(getpid()) uses") == true)
    }

    /// Those who prove nothing are ended, the oldest first, and keep no node away.
    @Test func strangersAreFew() throws {
        let service = try world.service(on: loop)
        var sockets: [Int] = []
        for _ in 0..<service.strangers.placesPerSource + 1 {
            sockets.append(StreamSocket.connect(to: .loopback(port: service.endpoint.port)))
        }
        defer { for socket in sockets { StreamSocket.close(CInt(socket)) } }
        let node = Caller(try world.provider("n1", world.joinFile(for: "n1", service), on: loop), on: loop, world.clock)
        #expect(try node.wait { node.trust != nil })
        #expect(world.events.contains { $0.details["reason"] == "too many others came after it" })
    }
}
