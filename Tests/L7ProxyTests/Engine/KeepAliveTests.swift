// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import Synchronization
import Testing

@testable import L7Proxy

/// PING to backends (RFC 9113 section 6.7), and the answer to clients'.
@Suite(.serialized) struct KeepAliveTests {
    private static let times = LifeSign.Times(quiet: 15_000, interval: 305_000, answer: 10_000)

    /// What happens on a connection, and what is decided then: at a time in milliseconds, with so many bytes received.
    private struct Moment {
        var at: UInt64
        var received: UInt64
        var isOwed = true
        var maySend = true
        var message = false
        var step: LifeSign.Step
    }

    private static let cases: [(String, [Moment])] = [
        (
            "nothing is owed",
            [
                .init(at: 1, received: 0, isOwed: false, step: .wait(15_000)),
                .init(at: 90_000, received: 0, isOwed: false, step: .wait(15_000)),
            ]
        ),
        (
            "a silent peer",
            [
                .init(at: 1, received: 0, step: .wait(15_000)), .init(at: 15_001, received: 0, step: .ping(10_000)),
                .init(at: 20_001, received: 0, step: .wait(5_000)), .init(at: 25_001, received: 0, step: .dead),
            ]
        ),
        (
            "a peer that answers is asked seldom",
            [
                .init(at: 1, received: 0, step: .wait(15_000)), .init(at: 15_001, received: 0, step: .ping(10_000)),
                .init(at: 25_001, received: 17, step: .wait(15_000)),
                .init(at: 40_001, received: 17, step: .wait(15_000)),
                .init(at: 320_000, received: 17, step: .wait(1)),
                .init(at: 320_001, received: 17, step: .ping(10_000)),
            ]
        ),
        (
            "a message begins anew",
            [
                .init(at: 1, received: 0, step: .wait(15_000)), .init(at: 15_001, received: 0, step: .ping(10_000)),
                .init(at: 25_001, received: 100, message: true, step: .wait(15_000)),
                .init(at: 40_001, received: 100, step: .ping(10_000)),
            ]
        ),
        (
            "bytes that come are a sign of life",
            [
                .init(at: 1, received: 0, step: .wait(15_000)), .init(at: 15_001, received: 9, step: .wait(15_000)),
                .init(at: 30_000, received: 9, step: .wait(1)), .init(at: 30_001, received: 9, step: .ping(10_000)),
            ]
        ),
        (
            "nothing is sent behind what is not read",
            [
                .init(at: 1, received: 0, maySend: false, step: .wait(15_000)),
                .init(at: 60_000, received: 0, maySend: false, step: .wait(15_000)),
                .init(at: 60_001, received: 0, step: .ping(10_000)),
            ]
        ),
    ]

    @Test(arguments: cases.indices) func whenABackendIsAsked(_ index: Int) {
        let (name, moments) = Self.cases[index]
        var life = LifeSign()
        for moment in moments {
            if moment.message { life.messageCame() }
            let step = life.look(
                received: moment.received, isOwed: moment.isOwed, maySend: moment.maySend, now: moment.at, Self.times)
            #expect(step == moment.step, "\(name), at \(moment.at)")
        }
    }

    @Test func aBackendThatIsGoneWithoutAWordIsFound() throws {
        // The first connection is read and says nothing after its settings; the next one answers.
        let backend = try TestBackend { backend, connection, number in
            let peer = H2Peer.server(HTTP2Limits())
            var isAnswered = false
            while true {
                if number > 0 || !isAnswered { connection.send(bytes: peer.output()) }
                guard case .bytes(let bytes) = connection.receive() else { return }
                if number == 0, isAnswered { continue }
                peer.receive(bytes)
                for (id, message) in peer.recorder.streams where message.isWhole {
                    guard let stream = peer.recorder.live[id] else { continue }
                    if number > 0 { peer.respond(stream, 200) } else { isAnswered = true }
                }
            }
        }
        let rig = try Rig(
            [backend.port], appProtocol: "kubernetes.io/h2c",
            configure: { $0.keepAlive = LifeSign.Times(quiet: 30, interval: 60_000, answer: 30) })
        let client = rig.client()
        client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        let answer = client.readMessage()
        #expect(answer.hasPrefix("HTTP/1.1 502 "), "\(answer)")
        #expect(rig.counters().deadUpstreams == 1)
        #expect(rig.recorder.wait(for: 1)[0].reason == .backendReset)
    }

    /// Whether a PING is among the frames that were read (RFC 9113 section 6.7).
    private static func hasPing(_ bytes: [UInt8]) -> Bool {
        // The preface is no frame.
        var start = bytes.starts(with: Array("PRI *".utf8)) ? 24 : 0
        while start + 9 <= bytes.count {
            let length = Int(bytes[start]) << 16 | Int(bytes[start + 1]) << 8 | Int(bytes[start + 2])
            if bytes[start + 3] == 6, bytes[start + 4] & 1 == 0 { return true }
            start += 9 + length
        }
        return false
    }

    @Test func aBackendThatThinksForLongIsNotGivenUp() throws {
        let pings = Mutex(0)
        let backend = try TestBackend { _, connection, _ in
            let peer = H2Peer.server(HTTP2Limits())
            while true {
                connection.send(bytes: peer.output())
                guard case .bytes(let bytes) = connection.receive() else { return }
                peer.receive(bytes)
                guard Self.hasPing(bytes) else { continue }
                pings.withLock { $0 += 1 }
                for (id, message) in peer.recorder.streams where message.isWhole {
                    if let stream = peer.recorder.live[id] { peer.respond(stream, 200) }
                }
            }
        }
        let rig = try Rig(
            [backend.port], appProtocol: "kubernetes.io/h2c",
            configure: { $0.keepAlive = LifeSign.Times(quiet: 30, interval: 60_000, answer: 60_000) })
        let client = rig.client()
        client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        #expect(client.readMessage().hasPrefix("HTTP/1.1 200 "))
        #expect(pings.withLock { $0 } == 1 && rig.counters().pings == 1)
        #expect(rig.counters().deadUpstreams == 0)
    }

    @Test func aClientsPingIsAnswered() throws {
        let rig = try Rig([])
        let client = HTTP2TestClient(rig.client())
        client.peer.session.ping(42)
        #expect(client.run { $0.pongs == [42] })
    }
}
