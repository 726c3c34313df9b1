// SPDX-License-Identifier: Apache-2.0

import Identity
import IdentityProviders
import LinuxIO
import Logging
import MeshModel
import ProxyProtocol
import TLSEngine
import Testing

@testable import MeshAgent

/// What an agent sends to its proxies about identities, against a proxy that the test plays.
@Suite(.serialized, .timeLimit(.minutes(1))) struct IdentityDeliveryTests {
    private final class World {
        let loop: EventLoop
        let provider: FakeProvider
        let delivery: IdentityDelivery
        let connection = ProxyConnection()
        private(set) var heard: [AgentMessage] = []
        private(set) var files: [SharedDescriptor] = []
        private var proxy: Link<AgentMessage, ProxyMessage>?
        private var near: SharedDescriptor?

        init() throws {
            loop = try EventLoop()
            provider = try FakeProvider()
            var logger = Logger(label: "test")
            logger.logLevel = .critical
            delivery = IdentityDelivery(
                IdentityKeeper(provider, on: loop, logger: logger) { FakeProvider.start }, on: loop, logger: logger)
        }

        /// - Parameter generation: of the proxy: 0 for one that has had no agent.
        func attach(generation: UInt64, version: Hello.Version = .current) throws {
            let (near, far) = try PacketSocket.pair()
            connection.link = try Link(
                on: loop, PacketSocket(near), as: Hello(.agent, program: "1"), expecting: .proxy
            ) { [unowned self] event in
                switch event {
                case .opened(let hello): delivery.opened(connection, hello)
                case .message(.identities(let number, let refusal), _): delivery.answered(number, refusal: refusal)
                case .message(.identitiesWritten(let number), _): delivery.returned(number)
                case .message: break
                case .closed: delivery.closed(connection)
                }
            }
            proxy = try Link(
                on: loop, PacketSocket(far),
                as: Hello(.proxy, version: version, program: "1", generation: generation), expecting: .agent
            ) { [unowned self] event in
                if case .message(let message, let descriptors) = event {
                    heard.append(message)
                    files += descriptors
                }
            }
        }

        func answer(_ message: ProxyMessage) { proxy?.send(message) }

        func turn(until done: () -> Bool) throws {
            for _ in 0..<2000 where !done() { try loop.turn(waitingAtMost: .milliseconds(5)) }
            try #require(done(), "\(heard)")
        }

        /// A turn or two in which nothing is expected.
        func pass() throws {
            for _ in 0..<5 { try loop.turn(waitingAtMost: .milliseconds(2)) }
        }

        func read(_ index: Int) throws -> IdentityTransfer {
            try SecretBytes.read(files[index], atMost: 1 << 20).withBytes { try IdentityTransfer.read($0).transfer }
        }

        func setAccounts(_ names: [String]) {
            delivery.keeper.setPods(
                Dictionary(uniqueKeysWithValues: names.map { (NamespacedName(namespace: "shop", name: $0), $0) }))
        }

        func id(_ account: String) throws -> SPIFFEID {
            try SPIFFEID(provider.trustDomain, namespace: "shop", serviceAccount: account)
        }

        func tell(_ news: [IdentityUpdate]) {
            provider.news = news
            provider.onNews()
        }
    }

    @Test func aNewProxyGetsWhatThereIsAndThenWhatChanges() throws {
        let world = try World()
        world.setAccounts(["web", "db"])
        try world.attach(generation: 0)
        try world.turn { world.delivery.keeper.hasBegun }
        let web = try world.provider.svid(world.id("web"))
        world.tell([.trust(world.provider.trust), .issued(web)])
        try world.turn { world.heard == [.identities(1)] }
        let first = try world.read(0)
        #expect(first.identities.map(\.id) == ["\(web.id)"] && first.trust == TrustRecord(world.provider.trust))
        // One at a time: the next waits for the answer.
        let db = try world.provider.svid(world.id("db"))
        world.tell([.issued(db)])
        try world.pass()
        #expect(world.heard.count == 1)
        world.answer(.identities(1, refusal: nil))
        try world.turn { world.heard.count == 2 }
        let second = try world.read(1)
        #expect(second.identities.map(\.id) == ["\(db.id)"] && second.trust == nil)
        // The file is wiped once it has been read.
        #expect(try MemoryFile.read(world.files[0], atMost: 1 << 20).isEmpty)
        world.answer(.identities(2, refusal: nil))
        world.setAccounts(["db"])
        try world.turn { world.heard.count == 3 }
        #expect(try world.read(2) == IdentityTransfer(removed: ["\(web.id)"]))
    }

    @Test func whatIsRefusedIsNotTakenForGiven() throws {
        let world = try World()
        world.setAccounts(["web"])
        try world.attach(generation: 0)
        let web = try world.provider.svid(world.id("web"))
        try world.turn { world.delivery.keeper.hasBegun }
        world.tell([.issued(web)])
        try world.turn { world.heard.count == 1 }
        world.answer(.identities(1, refusal: "no room"))
        try world.turn { world.connection.identities.refusal == "no room" }
        #expect(world.heard.count == 1, "the same again would be refused again")
        // With the next change it is tried.
        world.tell([.trust(world.provider.trust)])
        try world.turn { world.heard.count == 2 }
        #expect(try world.read(1).identities.map(\.id) == ["\(web.id)"])
        world.answer(.identities(2, refusal: nil))
        try world.turn { world.connection.identities.refusal == nil }
    }

    @Test func aProxyThatOutlivedItsAgentGivesBackWhatItHas() throws {
        let world = try World()
        world.setAccounts(["web"])
        let (web, gone) = (try world.provider.svid(world.id("web")), try world.provider.svid(world.id("gone")))
        try world.attach(generation: 7)
        try world.turn { world.heard == [.identitiesRequest(1)] }
        #expect(!world.delivery.keeper.hasBegun)
        let transfer = IdentityTransfer(
            trust: TrustRecord(world.provider.trust),
            identities: [web, gone].map { svid in
                .init(id: "\(svid.id)", chain: svid.chain, keyBytes: svid.key.withPKCS8 { UInt32($0.count) })
            })
        try transfer.write(to: world.files[0]) { (index, take) throws(SystemError) in
            try [web, gone][index].key.withPKCS8(take)
        }
        world.answer(.identitiesWritten(1))
        try world.turn { world.delivery.keeper.hasBegun }
        #expect(world.provider.adopted.map(\.serial) == [web.serial, gone.serial])
        #expect(try MemoryFile.read(world.files[0], atMost: 1 << 20).isEmpty)
        // What is wanted stays, also while the provider says nothing.
        try world.turn { world.heard.count == 2 }
        #expect(try world.read(1) == IdentityTransfer(removed: ["\(gone.id)"]))
    }

    @Test func aProxyThatGivesNothingBackIsGivenEverything() throws {
        let world = try World()
        world.setAccounts(["web"])
        try world.attach(generation: 7)
        try world.turn { world.heard == [.identitiesRequest(1)] }
        try MemoryFile.write([1, 2, 3], to: world.files[0])
        world.answer(.identitiesWritten(1))
        try world.turn { world.delivery.keeper.hasBegun }
        #expect(world.provider.adopted.isEmpty)
        world.tell([.issued(try world.provider.svid(world.id("web")))])
        try world.turn { world.heard.count == 2 }
    }

    @Test func aProxyOfAnEarlierVersionIsSentNothing() throws {
        let world = try World()
        world.setAccounts(["web"])
        try world.attach(generation: 7, version: .init(major: 1, minor: 0))
        world.delivery.keeper.begin()
        world.tell([.issued(try world.provider.svid(world.id("web")))])
        try world.turn { (try? world.delivery.keeper.entries[world.id("web")]?.svid) != nil }
        try world.pass()
        #expect(world.heard.isEmpty)
    }
}
