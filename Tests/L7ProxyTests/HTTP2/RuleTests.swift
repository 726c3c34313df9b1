// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// What RFC 9113 asks of an intermediary, one test for each section; malformed messages are in ``HTTP2MalformedTests``.
@Suite struct HTTP2RuleTests {
    /// 8.2.3: HTTP/1 knows one Cookie line only.
    @Test func cookieCrumbsAreJoined() throws {
        let peer = H2Peer.opened()
        peer.receive(
            H2Frames.headers(
                1, H2Frames.get + [("cookie", "a=b"), ("x-a", "1"), ("cookie", "c=d"), ("cookie", "e=f")]))
        #expect(peer.recorder.streams[1]?.fields == [ReadField("x-a", "1"), ReadField("cookie", "a=b; c=d; e=f")])
        peer.receive(H2Frames.headers(3, H2Frames.get + [("cookie", "a=b")]))
        #expect(peer.recorder.streams[3]?.fields == [ReadField("cookie", "a=b")])
    }

    /// 8.3.1: `Host` stands for `:authority` where that is missing.
    @Test func hostStandsForAMissingAuthority() {
        let peer = H2Peer.opened()
        peer.receive(H2Frames.headers(1, H2Frames.get.dropLast() + [("host", "b:80")]))
        #expect(peer.recorder.streams[1]?.authority == "b:80")
    }

    /// 8.3: pseudo-header fields may come in any order among themselves.
    @Test func pseudoFieldsComeInAnyOrder() {
        let fields = [(":method", "GET"), (":scheme", "https"), (":path", "/a?b"), (":authority", "h")]
        func orders(_ rest: [(String, String)]) -> [[(String, String)]] {
            rest.isEmpty
                ? [[]]
                : rest.indices.flatMap { index in
                    var others = rest
                    let first = others.remove(at: index)
                    return orders(others).map { [first] + $0 }
                }
        }
        let peer = H2Peer.opened()
        for (index, order) in orders(fields).enumerated() {
            let id = Int32(2 * index + 1)
            peer.receive(H2Frames.headers(UInt32(id), order + [("x-a", "b")]))
            let message = peer.recorder.streams[id]
            #expect(message?.first == ["GET", "/a?b", "/a", "b"])
            #expect(message?.authority == "h" && message?.options.contains(.httpsScheme) == true)
            #expect(Translation.http1(peer.recorder.live[id]!)?.hasPrefix("GET /a?b HTTP/1.1\r\nHost: h\r\n") == true)
        }
    }

    /// 8.5: a tunnel: only `:method` and `:authority`, then DATA both ways.
    @Test func connectMakesATunnel() throws {
        let link = H2Link()
        let stream = try #require(
            link.client.request("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", body: Array("up".utf8), isLast: false))
        link.server.recorder.onRequest = { [server = link.server] in
            server.respond($0, 200, body: Array("down".utf8), isLast: false)
        }
        link.settle()
        let request = try #require(link.server.recorder.streams[stream.id])
        #expect(request.first == ["CONNECT", "a:443", "", ""] && request.authority == "a:443")
        #expect(request.body == Array("up".utf8) && !request.isWhole)
        let response = try #require(link.client.recorder.streams[stream.id])
        #expect(response.framing == .tunnel && response.body == Array("down".utf8))
        // The TCP connection behind it was reset.
        link.server.session.reset(try #require(link.server.recorder.live[stream.id]), .connectError)
        link.settle()
        #expect(link.client.recorder.streams[stream.id]?.closed == .connectError)
    }

    /// 8.5: in a tunnel there are no trailers, and no other frames.
    @Test func connectIsFollowedByDataOnly() {
        let peer = H2Peer.opened()
        peer.receive(H2Frames.headers(1, [(":method", "CONNECT"), (":authority", "a:1")], end: false))
        #expect(peer.recorder.streams[1]?.first[0] == "CONNECT")
        peer.receive(H2Frames.headers(1, [("x-a", "b")]))
        #expect(peer.recorder.streams[1]?.trailers.isEmpty == true)
        #expect(peer.resetCode() == .protocolError)
    }

    /// 8.7: what the server has not looked at can be sent again.
    @Test func refusedStreamsAreSafeToRetry() throws {
        let link = H2Link()
        let first = try #require(link.client.get())
        link.settle()
        link.server.session.reset(try #require(link.server.recorder.live[1]), .refusedStream)
        link.settle()
        #expect(link.client.recorder.streams[first.id, default: H2Message()].closed == .refusedStream)
    }

    /// 6.8 and 8.7: streams above the last one of a GOAWAY were not looked at either.
    @Test func streamsAboveTheLastOneOfAGoAwayAreSafeToRetry() throws {
        let client = H2Peer.client()
        for _ in 0..<3 { _ = client.get() }
        _ = client.output()
        client.receive(H2Frames.frame(4, 0, 0, []) + H2Frames.frame(7, 0, 0, H2Frames.big(3) + H2Frames.big(0)))
        #expect(client.recorder.goAways == [.noError])
        #expect(client.recorder.streams[1]?.closed == nil && client.recorder.streams[3]?.closed == nil)
        #expect(client.recorder.streams[5]?.closed == .refusedStream)
        #expect(!client.client.canOpenStream && client.get() == nil)
        client.receive(H2Frames.headers(1, [(":status", "200")]) + H2Frames.headers(3, [(":status", "200")]))
        #expect(client.recorder.streams[3]?.closed == .noError)
        _ = client.output()
        #expect(client.session.isFinished)
    }

    /// 6.8: first the notice, then, when the client has seen it, the last stream; requests between are answered.
    @Test func drainingTakesTwoSteps() throws {
        let peer = H2Peer.opened()
        peer.receive(H2Frames.headers(1, H2Frames.get))
        peer.server.drain()
        peer.server.drain()
        let notice = peer.frames()
        #expect(notice.filter { $0.type == 7 }.map { H2Frames.Sent.word($0.payload, 0) } == [0x7fff_ffff])
        let ping = try #require(notice.first { $0.type == 6 })
        // Under way when the notice was sent.
        peer.receive(H2Frames.headers(3, H2Frames.get))
        #expect(peer.recorder.streams[3] != nil)
        peer.receive(H2Frames.frame(6, 1, 0, ping.payload))
        let last = peer.frames().filter { $0.type == 7 }
        #expect(last.map { H2Frames.Sent.word($0.payload, 0) } == [3])
        #expect(last.map(\.code) == [.noError])
        // Too late.
        peer.receive(H2Frames.headers(5, H2Frames.get))
        #expect(peer.recorder.streams[5] == nil)
        #expect(!peer.session.isFinished)
        for id: Int32 in [1, 3] { peer.respond(try #require(peer.recorder.live[id])) }
        // It is never raised again.
        peer.session.finishDrain()
        #expect(!peer.frames().contains { $0.type == 7 })
        #expect(peer.session.isFinished)
        #expect(peer.session.failure == nil && peer.recorder.pongs.isEmpty)
    }

    @Test func drainingDoesNotWaitForAClientThatDoesNotAnswer() throws {
        let peer = H2Peer.opened()
        peer.server.drain()
        _ = peer.output()
        peer.session.finishDrain()
        #expect(peer.frames().contains { $0.type == 7 && H2Frames.Sent.word($0.payload, 0) == 0 })
        #expect(peer.session.isFinished)
    }

    /// 6.9.1: what came for a stream that is gone must be given back to the connection.
    @Test func theWindowOfAResetStreamIsGivenBack() throws {
        var limits = HTTP2Limits()
        limits.streamWindow = 65535
        limits.connectionWindow = 65535
        let peer = H2Peer.opened(limits)
        var returned: UInt32 = 0
        for index: UInt32 in 0..<20 {
            let id = 2 * index + 1
            peer.receive(H2Frames.headers(id, H2Frames.post, end: false))
            peer.receive(H2Frames.data(id, [UInt8](repeating: 1, count: 10_000)))
            // Neither consumed by us, nor wanted by the client any more; once for each side.
            if index % 2 == 0 {
                peer.session.reset(try #require(peer.recorder.live[Int32(id)]), .cancel)
            } else {
                peer.receive(H2Frames.reset(id))
            }
            for frame in peer.frames() where frame.type == 8 && frame.stream == 0 {
                returned += H2Frames.Sent.word(frame.payload, 0)
            }
        }
        #expect(peer.session.failure == nil, "\(String(describing: peer.session.failure))")
        // What is not returned yet is less than half a window.
        #expect(returned > 200_000 - 32_768 - 1)
    }

    /// 6.9.1: padding counts, and nobody has to consume it.
    @Test func paddingDoesNotUseUpTheWindow() {
        let peer = H2Peer.opened()
        peer.receive(H2Frames.headers(1, H2Frames.post, end: false))
        var returned: UInt32 = 0
        for _ in 0..<3000 {
            peer.receive(H2Frames.frame(0, 8, 1, [200, 0x61] + [UInt8](repeating: 0, count: 200)))
            peer.consumeAll()
            for frame in peer.frames() where frame.type == 8 && frame.stream == 1 {
                returned += H2Frames.Sent.word(frame.payload, 0)
            }
        }
        #expect(peer.recorder.streams[1]?.body.count == 3000)
        #expect(returned > 3000 * 202 - 40_000)
        #expect(peer.session.failure == nil)
    }

    /// 6.9.1: a peer that ignores the window is stopped.
    @Test func dataBeyondTheWindowIsAnError() {
        let peer = H2Peer.opened()
        peer.receive(H2Frames.headers(1, H2Frames.post, end: false))
        for _ in 0..<5 { peer.receive(H2Frames.data(1, [UInt8](repeating: 1, count: 16_384))) }
        #expect(peer.frames().contains { $0.code == .flowControlError })
    }

    /// 6.5: a setting that is not allowed ends the connection.
    @Test func invalidSettingsAreAnError() {
        let peer = H2Peer.opened()
        // SETTINGS_INITIAL_WINDOW_SIZE above 2^31 - 1.
        peer.receive(H2Frames.frame(4, 0, 0, [0, 4, 0xff, 0xff, 0xff, 0xff]))
        #expect(peer.frames().last?.code == .flowControlError)
        #expect(peer.session.failure == .connectionError(.flowControlError))
    }

    /// 5.1.1: stream numbers of a client are odd and rise. A lower one may be of a stream that was closed a moment ago
    /// (section 5.1): its frames are ignored.
    @Test(arguments: [(2, true), (0, true), (1, false)]) func streamNumbersRise(_ id: UInt32, _ endsConnection: Bool) {
        let peer = H2Peer.opened()
        peer.receive(H2Frames.headers(3, H2Frames.get))
        #expect(peer.recorder.streams.count == 1)
        peer.receive(H2Frames.headers(id, H2Frames.get))
        #expect(peer.recorder.streams.count == 1)
        #expect(peer.frames().contains { $0.type == 7 } == endsConnection)
    }

    /// 6.10: a header block may come in several frames, and those in any pieces.
    @Test func aHeaderBlockInContinuationsIsReadAtEverySplit() {
        let block = H2Frames.block(H2Frames.get + [("x-a", "b"), ("x-c", "d")])
        let bytes =
            H2Frames.frame(1, 1, 1, Array(block[..<5])) + H2Frames.frame(9, 0, 1, Array(block[5..<30]))
            + H2Frames.frame(9, 4, 1, Array(block[30...]))
        for piece in [1, 2, 3, 9, 10, bytes.count] {
            let peer = H2Peer.opened()
            for start in stride(from: 0, to: bytes.count, by: piece) {
                peer.receive(Array(bytes[start..<min(start + piece, bytes.count)]))
            }
            #expect(peer.recorder.streams[1]?.fields == [ReadField("x-a", "b"), ReadField("x-c", "d")])
        }
    }

    /// 3.4: what does not begin with the preface is not HTTP/2.
    @Test func aConnectionOfAnotherProtocolIsRefused() {
        let peer = H2Peer.server()
        #expect(peer.receive(Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)) == .ended)
        #expect(peer.session.failure == .badPreface)
    }

    /// 8.4: a server must not push; we never allow it.
    @Test func aPushIsAnError() {
        let client = H2Peer.client()
        _ = client.get()
        #expect(client.frames().contains { $0.type == 4 && $0.payload.starts(with: [0, 2, 0, 0, 0, 0]) })
        client.receive(
            H2Frames.frame(4, 0, 0, []) + H2Frames.frame(4, 1, 0, [])
                + H2Frames.frame(5, 4, 1, H2Frames.big(2) + H2Frames.block(H2Frames.get)))
        #expect(client.frames().contains { $0.code == .protocolError })
    }

    /// RFC 7541 7.1.3: a secret that must not be indexed is not indexed by us either.
    @Test func neverIndexedStaysNeverIndexed() throws {
        let peer = H2Peer.opened()
        peer.receive(H2Frames.headers(1, H2Frames.get + [("x-secret", "s")], neverIndexed: true))
        let incoming = try #require(peer.recorder.live[1])
        let client = H2Peer.client()
        _ = client.output()
        incoming.withFields { fields, base in client.writer.beginRequest(incoming.request, &fields, in: base) }
        _ = client.writer.finish()
        _ = client.client.request(client.writer, method: .get, endOfStream: true)
        let headers = try #require(client.frames().first { $0.type == 1 })
        #expect(headers.payload.contains(0x10), "a literal that is never indexed")
    }

    /// gRPC: a response of HEADERS only passes as it is, and TE does.
    @Test func aGRPCResponseOfTrailersOnlyPasses() throws {
        let link = H2Link()
        link.server.recorder.onRequest = { [server = link.server] in
            server.respond($0, 200, [("content-type", "application/grpc"), ("grpc-status", "5"), ("a-bin", "AAE=")])
        }
        let stream = try #require(
            link.client.request("POST /s/m HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nGrpc-Timeout: 1S\r\n\r\n", body: []))
        link.settle()
        #expect(link.server.recorder.streams[stream.id]?.options.contains(.acceptsTrailers) == true)
        #expect(link.server.recorder.streams[stream.id]?.fields.contains(ReadField("grpc-timeout", "1S")) == true)
        let response = try #require(link.client.recorder.streams[stream.id])
        #expect(response.isWhole && response.fields.contains(ReadField("grpc-status", "5")))
        #expect(response.fields.contains(ReadField("a-bin", "AAE=")))
    }
}
