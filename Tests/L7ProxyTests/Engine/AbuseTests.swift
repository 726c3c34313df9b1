// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// Clients that take what costs them little and a worker much, over real sockets. Each is told the right error, everything
/// that it had is given back, and others are served as before. docs/limits.md has the limits.
@Suite(.serialized) struct AbuseTests {
    struct Flood: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let bytes: [UInt8]
        let code: HTTP2ErrorCode

        init(
            _ name: String, _ code: HTTP2ErrorCode = .enhanceYourCalm, before: [UInt8] = [], times: Int,
            _ frames: (UInt32) -> [UInt8]
        ) {
            testDescription = name
            self.code = code
            bytes = H2Frames.opening + before + (0..<UInt32(times)).flatMap(frames)
        }
    }

    private static let post = H2Frames.headers(1, H2Frames.post, end: false)
    private static let block = H2Frames.block(H2Frames.get)
    /// 4 000 bytes go into the table; each byte after that is a field of that size (CVE-2016-6581).
    private static let bomb =
        block + [0x40, 3, 0x78, 0x2d, 0x61, 127, 0xa1, 0x1e] + [UInt8](repeating: 0x62, count: 4000)
        + [UInt8](repeating: 0xbe, count: 10_000)

    static let floods = [
        Flood("rapid reset", times: 400) {
            H2Frames.headers(2 * $0 + 1, H2Frames.get) + H2Frames.reset(2 * $0 + 1)
        },
        Flood("resets that the server is made to do", times: 300) {
            H2Frames.headers(2 * $0 + 1, H2Frames.get + [("upgrade", "x")])
        },
        Flood("SETTINGS", times: 100) { _ in H2Frames.frame(4, 0, 0, []) },
        Flood("PING", times: 500) { _ in H2Frames.frame(6, 0, 0, [UInt8](repeating: 7, count: 8)) },
        Flood("CONTINUATION", before: H2Frames.frame(1, 1, 1, block), times: 50) { _ in
            H2Frames.frame(9, 0, 1, H2Frames.block([("x-a", "b")]))
        },
        Flood("a header block without end", before: H2Frames.frame(1, 1, 1, block), times: 6) { _ in
            H2Frames.frame(9, 0, 1, [UInt8](repeating: 0x82, count: 16_000))
        },
        Flood("a bomb of compressed fields", times: 1) { _ in H2Frames.frame(1, 5, 1, bomb) },
        Flood("DATA without content", before: post, times: 300) { _ in H2Frames.data(1, []) },
        Flood("PRIORITY", times: 1000) { _ in H2Frames.frame(2, 0, 3, [0, 0, 0, 0, 16]) },
        Flood("WINDOW_UPDATE", before: post, times: 5000) { _ in H2Frames.frame(8, 0, 1, [0, 0, 0, 1]) },
        Flood("frames of unknown types", times: 300) { _ in H2Frames.frame(0xbb, 0, 0, [1]) },
        Flood("a frame above the size", .frameSizeError, times: 1) { _ in [0, 0xff, 0xff, 0, 0, 0, 0, 0, 1] },
    ]

    @Test("RFC 9113 10.5: a flood ends its connection with the code that says so, and nothing else", arguments: floods)
    func aFloodEndsItsConnection(_ flood: Flood) throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let rig = try Rig([backend.port])
        let honest = HTTP2TestClient(rig.client())
        for _ in 0..<3 {
            let attacker = rig.client()
            attacker.send(bytes: flood.bytes)
            var answer: [UInt8] = []
            while case .bytes(let bytes) = attacker.receive() { answer += bytes }
            #expect(H2Frames.parse(answer).last { $0.type == 7 }?.code == flood.code)
            let stream = honest.peer.get()
            #expect(honest.finish(stream) && honest.message(stream).body == Array("ok".utf8))
        }
        expectAllGivenBack(rig, connections: 1)
    }

    /// Clients' connections, and none of what requests need.
    private func expectAllGivenBack(_ rig: Rig, connections: UInt64) {
        #expect(
            Poll.until {
                let counters = rig.counters()
                return counters.connections == connections && counters.exchanges == 0 && counters.buffers == 0
            }, "\(rig.counters())")
    }

    @Test("CVE-2019-9517: responses that nobody takes are bounded in memory and time")
    func responsesThatNobodyTakesAreGivenUp() throws {
        let backend = try TestBackend { _, connection, _ in
            _ = connection.readHead()
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n")
            connection.send(bytes: [UInt8](repeating: 0x78, count: 3_000_000))
        }
        let rig = try Rig([backend.port]) {
            $0.headTimeout = 100
            $0.stallTimeout = 150
        }
        let client = rig.client()
        let streams = 20
        let shut = H2Frames.frame(4, 0, 0, [0, 4, 0, 0, 0, 0])
        let requests = (0..<UInt32(streams)).flatMap { H2Frames.headers(2 * $0 + 1, H2Frames.get) }
        client.send(bytes: H2Frames.preface + shut + requests)
        #expect(Poll.until { rig.counters().exchanges == UInt64(streams) })
        // A block in and a block out for each connection to the backend, and those of the client's.
        #expect(rig.counters().buffers <= UInt64(2 * streams + 4))
        var answer: [UInt8] = []
        while H2Frames.whole(answer).filter({ $0.type == 3 }).count < streams {
            guard case .bytes(let bytes) = client.receive() else { break }
            answer += bytes
        }
        #expect(H2Frames.whole(answer).filter { $0.type == 3 }.count == streams, "each is reset")
        #expect(!H2Frames.whole(answer).contains { $0.type == 0 }, "the window is shut")
        expectAllGivenBack(rig, connections: 1)
        #expect(rig.recorder.wait(for: streams).allSatisfy { $0.reason == .responseStalled })
    }

    @Test("CVE-2019-9517: a client of HTTP/1 that reads nothing is left after a time")
    func aClientThatReadsNothingIsLeft() throws {
        let backend = try TestBackend { _, connection, _ in
            _ = connection.readHead()
            connection.send("HTTP/1.1 200 OK\r\n\r\n")
            while connection.send(bytes: [UInt8](repeating: 0x78, count: 100_000)) {}
        }
        let rig = try Rig([backend.port]) {
            $0.headTimeout = 100
            $0.stallTimeout = 150
        }
        let client = rig.client()
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(rig.recorder.wait(for: 1).first?.flags.contains(.incomplete) == true)
        expectAllGivenBack(rig, connections: 0)
    }

    @Test("RFC 9110 15.5.9: a body of HTTP/2 that stands still is answered with 408")
    func aStreamThatStandsStillIsAnswered() throws {
        let backend = try TestBackend { _, connection, _ in _ = connection.readToEnd() }
        let rig = try Rig([backend.port]) {
            $0.headTimeout = 100
            $0.stallTimeout = 100
        }
        let client = HTTP2TestClient(rig.client())
        let stream = client.peer.request(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", body: [1, 2], isLast: false)
        #expect(client.finish(stream))
        #expect(client.message(stream).first.first == "408" && client.message(stream).closed == .noError)
        #expect(rig.recorder.wait(for: 1).map(\.reason) == [.bodyTimeout])
    }

    @Test("RFC 9113 10.5: a header block that is not finished holds its connection for the idle time only")
    func aHeaderBlockThatIsNotFinishedIsGivenUp() throws {
        let rig = try Rig([1]) {
            $0.headTimeout = 50
            $0.idleTimeout = 50
        }
        let client = rig.client()
        client.send(bytes: H2Frames.opening + H2Frames.frame(1, 1, 1, Self.block))
        var answer: [UInt8] = []
        while case .bytes(let bytes) = client.receive() { answer += bytes }
        #expect(H2Frames.parse(answer).contains { $0.type == 7 })
        expectAllGivenBack(rig, connections: 0)
    }

    @Test(
        "RFC 9112 9.6: who sends on and on after the last response is closed, by bytes and by time",
        arguments: [true, false])
    func whoSendsOnAndOnIsClosed(_ sends: Bool) throws {
        let rig = try Rig([1]) {
            $0.bodyBytes = 1000
            $0.discardBytes = 100_000
            $0.lingerTimeout = sends ? 600_000 : 50
        }
        let client = rig.client()
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
        #expect(client.readMessage().hasPrefix("HTTP/1.1 413 "))
        if sends { #expect(!client.send(bytes: [UInt8](repeating: 0x78, count: 100_000_000))) }
        expectAllGivenBack(rig, connections: 0)
    }

    @Test("connections are bounded")
    func connectionsAreBounded() throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let rig = try Rig([backend.port]) { $0.connections = 2 }
        func ask(_ client: TestConnection) -> String {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            return client.readMessage()
        }
        let clients = (0..<2).map { _ in rig.client() }
        for client in clients { #expect(ask(client).hasSuffix("ok")) }
        #expect(ask(rig.client()).isEmpty)
        #expect(rig.counters().refusedConnections == 1)
        clients[0].close()
        #expect(Poll.until { rig.counters().connections == 1 })
        #expect(ask(rig.client()).hasSuffix("ok"))
    }

    @Test("connections of one source are bounded, those of others are not touched")
    func connectionsOfASourceAreBounded() throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let rig = try Rig([backend.port]) { $0.connectionsPerSource = 3 }
        func ask(_ client: TestConnection) -> String {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            return client.readMessage()
        }
        let clients = (0..<3).map { _ in rig.client() }
        for client in clients { #expect(ask(client).hasSuffix("ok")) }
        for _ in 0..<5 { #expect(ask(rig.client()).isEmpty) }
        #expect(rig.counters().refusedConnections == 5 && rig.counters().connections == 3)
        clients[0].close()
        #expect(Poll.until { rig.counters().connections == 2 })
        #expect(ask(rig.client()).hasSuffix("ok"))
        #expect(ask(clients[1]).hasSuffix("ok"))
    }

    @Test("requests of one source are bounded: streams beyond are refused unseen, connections reset")
    func requestsOfASourceAreBounded() throws {
        let gate = Gate()
        let backend = try TestBackend { _ in
            gate.wait()
            return TestBackend.ok()
        }
        let rig = try Rig([backend.port]) { $0.exchangesPerSource = 4 }
        let client = HTTP2TestClient(rig.client())
        let streams = (0..<6).map { _ in client.peer.get() }
        #expect(client.run { _ in streams.filter { client.message($0).closed == .refusedStream }.count == 2 })
        let old = rig.client()
        old.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(old.receive() == .reset)
        gate.open()
        #expect(client.run { _ in streams.allSatisfy { client.message($0).closed != nil } })
        #expect(streams.filter { client.message($0).first.first == "200" }.count == 4)
        let next = client.peer.get()
        #expect(client.finish(next) && client.message(next).first.first == "200")
    }
}

extension H2Frames {
    /// The frames of `bytes` that are whole.
    static func whole(_ bytes: [UInt8]) -> [Sent] {
        var place = 0
        while place + 9 <= bytes.count {
            let end = place + 9 + Int(bytes[place]) << 16 + Int(bytes[place + 1]) << 8 + Int(bytes[place + 2])
            if end > bytes.count { break }
            place = end
        }
        return parse(Array(bytes[..<place]))
    }
}
