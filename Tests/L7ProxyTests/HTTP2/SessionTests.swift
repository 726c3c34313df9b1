// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// Sessions of ours against each other: what one says the other hears.
@Suite struct HTTP2SessionTests {
    @Test func aRequestAndItsResponse() throws {
        let link = H2Link()
        link.server.recorder.onRequest = { [server = link.server] in
            server.respond($0, 200, [("content-type", "text/plain"), ("x-a", "b")], body: Array("hello".utf8))
        }
        let stream = try #require(
            link.client.request("GET /a/b?c=d HTTP/1.1\r\nHost: example.com:80\r\nX-Up: Value\r\n\r\n"))
        link.settle()
        let request = try #require(link.server.recorder.streams[stream.id])
        #expect(request.first == ["GET", "/a/b?c=d", "/a/b", "c=d"])
        #expect(request.authority == "example.com:80")
        #expect(request.fields == [ReadField("x-up", "Value")])
        #expect(request.framing == .none && request.isWhole)
        let response = try #require(link.client.recorder.streams[stream.id])
        #expect(response.first == ["200", "OK"])
        #expect(response.fields == [ReadField("content-type", "text/plain"), ReadField("x-a", "b")])
        #expect(response.framing == .chunked)
        #expect(response.body == Array("hello".utf8))
        #expect(response.isWhole && response.closed == .noError)
        #expect(link.server.recorder.streams[stream.id]?.closed == .noError)
        #expect(link.client.session.streamCount == 0 && link.server.session.streamCount == 0)
        #expect(!stream.isCurrent)
    }

    /// How the bytes arrive does not matter: one at a time, or all at once.
    @Test(arguments: [0, 1, 2, 3, 7, 9, 10, 64])
    func everySplitTellsTheSame(piece: Int) {
        func run(_ piece: Int) -> ([String], [String], [Int32: H2Message], [Int32: H2Message]) {
            let link = H2Link()
            link.piece = piece
            link.server.recorder.onRequest = { [server = link.server] stream in
                server.respond(stream, 200, [("x-a", "b")], body: Array("hello".utf8), isLast: false)
                server.trailers(stream, [("grpc-status", "0")])
            }
            for index in 0..<5 {
                link.client.request(
                    "POST /\(index) HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n", body: Array("body".utf8))
            }
            link.settle()
            let (client, server) = (link.client.recorder, link.server.recorder)
            return (client.log, server.log, client.streams, server.streams)
        }
        let whole = run(0)
        let pieces = run(piece)
        #expect(whole.0 == pieces.0)
        #expect(whole.1 == pieces.1)
        #expect(whole.2 == pieces.2 && whole.3 == pieces.3)
        #expect(whole.3.count == 5 && whole.2.values.allSatisfy { $0.trailers == [ReadField("grpc-status", "0")] })
    }

    @Test func aBodyIsTakenOnlyAsFarAsTheWindowIsOpen() throws {
        var limits = HTTP2Limits()
        limits.streamWindow = 1000
        let link = H2Link(server: limits)
        link.settle()
        let body = (0..<5000).map { UInt8(truncatingIfNeeded: $0) }
        let stream = try #require(
            link.client.request("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n", body: body))
        link.settle(consume: false)
        #expect(link.client.recorder.sent[stream.id] == 1000)
        link.client.now += 700
        #expect(link.client.session.stallTime(stream, now: link.client.now) == 700)
        let upstream = try #require(link.server.recorder.live[stream.id])
        link.server.session.consume(upstream, 600)
        link.server.recorder.unconsumed[stream.id] = 400
        link.settle(consume: false)
        #expect(link.client.recorder.sent[stream.id] == 1600)
        link.server.consumeAll()
        link.settle()
        #expect(link.client.recorder.sent[stream.id] == 5000)
        #expect(link.server.recorder.streams[stream.id]?.body == body)
        #expect(link.client.session.stallTime(stream, now: link.client.now) == 0)
    }

    @Test func aProducerThatPausesIsResumed() throws {
        let link = H2Link()
        let stream = try #require(
            link.client.request("POST / HTTP/1.1\r\nHost: a\r\n\r\n", body: Array("one ".utf8), isLast: false))
        link.settle()
        #expect(link.server.recorder.streams[stream.id]?.isWhole == false)
        #expect(!link.client.session.wantsToSend)
        link.client.session.offerBody(stream, link.client.lend(Array("two".utf8)), isLast: false)
        link.settle()
        link.client.session.offerBody(stream, link.client.lend([]), isLast: true)
        link.settle()
        #expect(link.server.recorder.streams[stream.id]?.body == Array("one two".utf8))
        #expect(link.server.recorder.streams[stream.id]?.isWhole == true)
    }

    /// A DATA frame that only carries the end is one too many: trailers carry it.
    @Test func trailersAfterABodyThatHasBeenSent() throws {
        let link = H2Link()
        let stream = try #require(link.client.get())
        link.settle()
        let answer = try #require(link.server.recorder.live[stream.id])
        link.server.respond(answer, 200, body: Array("x".utf8), isLast: false)
        link.settle()
        #expect(link.server.trailers(answer, [("x-sum", "1")]))
        let wire = link.server.output()
        #expect(wire[3] == 1, "the first frame is HEADERS, not DATA")
        link.client.receive(wire)
        #expect(link.client.recorder.streams[stream.id]?.trailers == [ReadField("x-sum", "1")])
    }

    @Test func aSmallRoomIsFilledPieceByPiece() throws {
        let link = H2Link()
        let body = (0..<3000).map { UInt8(truncatingIfNeeded: $0 / 7) }
        let stream = try #require(link.client.request("PUT / HTTP/1.1\r\nHost: a\r\n\r\n", body: body))
        link.deliver(link.client.output(room: 70), to: link.server)
        #expect(link.server.recorder.streams[stream.id]?.body == body)
        #expect(link.server.recorder.streams[stream.id]?.isWhole == true)
    }

    @Test func interimResponsesComeBeforeTheFinalOne() throws {
        let link = H2Link()
        let stream = try #require(
            link.client.request("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", body: []))
        link.settle()
        let answer = try #require(link.server.recorder.live[stream.id])
        #expect(link.server.recorder.streams[stream.id]?.options.contains(.expectContinue) == true)
        for status: UInt16 in [100, 103] {
            link.server.writer.beginResponse(status: status)
            _ = link.server.writer.finish()
            link.server.server.respondInterim(answer, link.server.writer)
        }
        link.server.respond(answer, 204)
        link.settle()
        let response = try #require(link.client.recorder.streams[stream.id])
        #expect(response.interim == ["100", "103"])
        #expect(response.first == ["204", "No Content"] && response.isWhole)
    }

    @Test func resettingGivesLentMemoryBackAtOnce() throws {
        let link = H2Link()
        let stream = try #require(
            link.client.request("POST / HTTP/1.1\r\nHost: a\r\n\r\n", body: Array("one".utf8), isLast: false))
        link.settle()
        link.client.session.offerBody(stream, link.client.lend(Array("two".utf8)), isLast: true)
        link.client.session.reset(stream, .cancel)
        link.settle()
        #expect(link.server.recorder.streams[stream.id]?.body == Array("one".utf8))
        #expect(link.server.recorder.streams[stream.id]?.closed == .cancel)
        #expect(link.client.recorder.streams[stream.id, default: H2Message()].closed == .cancel)
    }

    @Test func aPingIsAnswered() {
        let link = H2Link()
        link.client.session.ping(0x0102_0304_0506_0708)
        link.settle()
        #expect(link.client.recorder.pongs == [0x0102_0304_0506_0708])
    }

    @Test func theServersLimitOfStreamsIsKept() {
        var limits = HTTP2Limits()
        limits.concurrentStreams = 3
        let link = H2Link(server: limits)
        link.settle()
        #expect(link.client.session.peerConcurrentStreams == 3)
        for _ in 0..<3 { #expect(link.client.get() != nil) }
        #expect(!link.client.client.canOpenStream && link.client.get() == nil)
    }

    @Test func aSessionThatEndsGivesItsStreamsBack() throws {
        let pool = HTTP2MemoryPool()
        for _ in 0..<3 {
            let peer = H2Peer(HTTP2ClientSession(pool: pool, now: 0))
            for _ in 0..<5 { _ = peer.get() }
            _ = peer.output()
        }
        let grown = pool.systemAllocations
        let peer = H2Peer(HTTP2ClientSession(pool: pool, now: 0))
        for _ in 0..<5 { _ = peer.get() }
        _ = peer.output()
        #expect(pool.systemAllocations == grown, "the memory of ended sessions is used again")
    }

    /// Streams that waited for room or for their last frames to leave when their session ended wait for nothing in the next.
    @Test func aSessionThatEndsLeavesNothingBehind() throws {
        let pool = HTTP2MemoryPool()
        for round in 0..<3 {
            let link = H2Link(client: H2Peer(HTTP2ClientSession(pool: pool, now: 0)))
            link.server.recorder.onRequest = { [server = link.server] in server.respond($0, body: [1, 2, 3]) }
            let streams = (0..<6).compactMap { number in
                number % 2 == 0
                    ? link.client.get()
                    : link.client.request("PUT / HTTP/1.1\r\nHost: a\r\n\r\n", body: [UInt8](repeating: 1, count: 99))
            }
            #expect(streams.count == 6)
            // All of it is made, and none of it has left.
            if round < 2 { continue }
            link.settle()
            #expect(streams.allSatisfy { link.client.recorder.streams[$0.id]?.closed == .noError })
            #expect(link.client.session.streamCount == 0)
        }
    }
}
