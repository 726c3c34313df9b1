// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// Bodies whose DATA frames are made where the bytes are.
@Suite struct FramedBodyTests {
    private static let post = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

    private static func pattern(_ count: Int, _ seed: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8 &+ seed) }
    }

    @Test(arguments: [1, 2047, 2048, 16375, 16376, 60_000])
    func theyArriveAsTheyWere(_ count: Int) throws {
        let link = H2Link()
        let stream = try #require(link.client.request(Self.post, body: [], isLast: false))
        link.settle()
        let body = Self.pattern(count, 1)
        link.client.session.offerFramed(stream, link.client.lendFramed(body))
        link.settle()
        #expect(link.client.recorder.sent[stream.id] == count)
        #expect((link.client.framedCount > 0) == (count >= 2048), "what is small is copied behind the rest")
        link.client.session.offerBody(stream, link.client.lend([]), isLast: true)
        link.settle()
        let message = try #require(link.server.recorder.streams[stream.id])
        #expect(message.body == body && message.isWhole)
    }

    /// One call makes one frame in place at most, and nothing that has its room.
    @Test func oneOfACallBesideOthersAndWhatElseIsSaid() throws {
        let link = H2Link()
        var bodies: [Int32: [UInt8]] = [:]
        for seed in 0..<4 {
            let stream = try #require(link.client.request(Self.post, body: [], isLast: false))
            let body = Self.pattern(20_000 + seed, seed)
            bodies[stream.id] = body
            // Every other is copied.
            if seed % 2 == 0 {
                link.client.session.offerFramed(stream, link.client.lendFramed(body))
            } else {
                link.client.session.offerBody(stream, link.client.lend(body), isLast: false)
            }
        }
        link.client.session.ping(7)
        var buffer = [UInt8](repeating: 0, count: 16384)
        while true {
            let peer = link.client
            let count = buffer.withUnsafeMutableBytes { peer.session.send(into: $0, now: 1, &peer.recorder) }
            let framed = peer.recorder.framed
            peer.recorder.framed = []
            if count == 0, framed.isEmpty { break }
            #expect(framed.count <= 1 && framed.joined().count + count <= buffer.count)
            link.server.receive(Array(framed.joined()) + buffer[..<count])
            link.server.consumeAll()
        }
        link.settle()
        for (id, body) in bodies { #expect(link.server.recorder.streams[id]?.body == body) }
        #expect(link.client.recorder.pongs == [7])
    }

    @Test func aStreamThatIsResetIsSentNoMore() throws {
        let link = H2Link()
        let stream = try #require(link.client.request(Self.post, body: [], isLast: false))
        link.client.session.offerFramed(stream, link.client.lendFramed(Self.pattern(50_000, 2)))
        var buffer = [UInt8](repeating: 0, count: 16384)
        let peer = link.client
        // The head, then the first frame.
        for _ in 0..<2 {
            let count = buffer.withUnsafeMutableBytes { peer.session.send(into: $0, now: 1, &peer.recorder) }
            link.server.receive(Array(peer.recorder.framed.joined()) + buffer[..<count])
            peer.recorder.framed = []
        }
        let sent = try #require(peer.recorder.sent[stream.id])
        #expect(sent > 0 && sent < 50_000)
        peer.session.reset(stream, .cancel)
        link.settle()
        #expect(peer.recorder.sent[stream.id] == sent && link.server.recorder.streams[stream.id]?.closed == .cancel)
    }
}
