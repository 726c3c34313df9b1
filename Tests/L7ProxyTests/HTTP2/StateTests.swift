// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// What a session keeps of streams and windows while a peer does what it likes.
@Suite struct HTTP2StateTests {
    /// A response that nobody reads keeps its stream: no more than the announced number of streams wait for room, though
    /// each was answered at once.
    @Test func answersOfAPeerThatDoesNotReadAreBounded() {
        var limits = HTTP2Limits()
        limits.concurrentStreams = 10
        limits.rates.provokedResets = HTTP2Guard.Rate(burst: 1000, perSecond: 0)
        let peer = H2Peer.opened(limits)
        peer.recorder.onRequest = { [peer] in peer.respond($0, 404) }
        for index: UInt32 in 0..<50 { peer.receive(H2Frames.headers(2 * index + 1, H2Frames.get)) }
        #expect(peer.recorder.streams.count == 10)
        let frames = peer.frames()
        #expect(frames.filter { $0.type == 1 }.count == 10)
        #expect(frames.filter { $0.code == .refusedStream }.count == 40)
        #expect(peer.session.streamCount == 0)
        peer.receive(H2Frames.headers(101, H2Frames.get))
        #expect(peer.recorder.streams[101] != nil, "what was sent counts no more")
        peer.recorder.onRequest = nil
    }

    /// The same of streams that the owner resets.
    @Test func resetsOfAPeerThatDoesNotReadAreBounded() throws {
        var limits = HTTP2Limits()
        limits.concurrentStreams = 4
        let peer = H2Peer.opened(limits)
        for index: UInt32 in 0..<4 { peer.receive(H2Frames.headers(2 * index + 1, H2Frames.post, end: false)) }
        for id: Int32 in [1, 3, 5, 7] { peer.session.reset(try #require(peer.recorder.live[id]), .cancel) }
        peer.receive(H2Frames.headers(9, H2Frames.get))
        #expect(peer.recorder.streams[9] == nil && peer.session.streamCount == 4)
        _ = peer.output()
        #expect(peer.session.streamCount == 0)
        // What comes late for a stream that was reset is ignored, and given back to the connection's window.
        #expect(peer.receive(H2Frames.data(1, [1, 2, 3]) + H2Frames.headers(3, [("x-a", "b")])) == .open)
        #expect(peer.session.failure == nil)
    }

    /// CVE-2019-9514: a stream that the client resets counts no more, but what it was answered waits.
    @Test func answersToAPeerThatResetsAndDoesNotReadAreBounded() {
        var limits = HTTP2Limits()
        limits.rates.resets = HTTP2Guard.Rate(burst: 100_000, perSecond: 0)
        let peer = H2Peer.opened(limits)
        let value = String(repeating: "v", count: 20_000)
        peer.recorder.onRequest = { [peer] in peer.respond($0, 200, [("x-a", value)], body: [], isLast: false) }
        var count: UInt32 = 0
        while count < 1000,
            peer.receive(H2Frames.headers(2 * count + 1, H2Frames.post, end: false) + H2Frames.reset(2 * count + 1))
                == .open
        { count += 1 }
        #expect(200...220 ~= count, "\(count) answers of 20 KB wait")
        #expect(peer.session.failure == .abuse(.unreadAnswers))
        peer.recorder.onRequest = nil
    }

    /// The same on a client's side: requests that are given up before the server has read them.
    @Test func requestsToAServerThatDoesNotReadAreBounded() {
        let client = H2Peer.client()
        client.receive(H2Frames.frame(4, 0, 0, []))
        let value = String(repeating: "v", count: 20_000)
        var count = 0
        while count < 1000, let stream = client.request("GET / HTTP/1.1\r\nHost: a\r\nX-A: \(value)\r\n\r\n") {
            client.session.reset(stream, .cancel)
            // The server ends it too.
            client.receive(H2Frames.reset(UInt32(stream.id)))
            count += 1
        }
        #expect(200...220 ~= count, "\(count) requests of 20 KB wait")
        #expect(!client.client.canOpenStream)
        #expect(client.session.failure == .abuse(.unreadAnswers))
    }

    /// RFC 9113 section 5.1: nothing but PRIORITY follows RST_STREAM, and an upload that is not wanted is not asked for.
    @Test func theWindowOfAStreamThatIsResetIsNotOpened() throws {
        let peer = H2Peer.opened()
        peer.receive(H2Frames.headers(1, H2Frames.post, end: false))
        let stream = try #require(peer.recorder.live[1])
        peer.receive(H2Frames.data(1, [UInt8](repeating: 1, count: 16_384)))
        peer.receive(H2Frames.data(1, [UInt8](repeating: 1, count: 16_384)))
        peer.respond(stream, 413)
        peer.server.resetAfterEnd(stream)
        peer.receive(H2Frames.data(1, [UInt8](repeating: 1, count: 16_384)))
        peer.consumeAll()
        #expect(peer.recorder.streams[1]?.body.count == 32_768)
        #expect(peer.frames().filter { $0.stream == 1 }.map(\.type) == [1, 3])
    }

    /// Windows that cannot be are not announced.
    @Test func windowsAreAtMostWhatTheyMayBe() {
        var limits = HTTP2Limits()
        (limits.streamWindow, limits.connectionWindow) = (.max, .max)
        let frames = H2Peer.client(limits).frames()
        #expect(
            frames.contains {
                $0.type == 4 && $0.payload.starts(with: [0, 2, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff])
            })
        #expect(frames.first { $0.type == 8 }?.payload == H2Frames.big(0x7fff_ffff - 65_535))
    }

    /// RFC 9110 section 6.4.1: a response to HEAD has no content, whatever its length says.
    @Test func contentAfterTheHeadOfAResponseToHead() throws {
        let client = H2Peer.client()
        let stream = try #require(client.request("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"))
        _ = client.output()
        client.receive(
            H2Frames.frame(4, 0, 0, [])
                + H2Frames.headers(1, [(":status", "200"), ("content-length", "3")], end: false)
                + H2Frames.data(1, [1, 2, 3], end: true))
        #expect(client.recorder.streams[stream.id]?.body == [])
        #expect(client.resetCode() == .protocolError)
        #expect(client.recorder.streams[stream.id]?.closed == .protocolError)
    }

    /// RFC 9110 section 9.3.6: what a 2xx to CONNECT says of a length means nothing.
    @Test func aLengthInTheAnswerToConnectIsNoLength() throws {
        let client = H2Peer.client()
        let stream = try #require(
            client.request("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", body: [], isLast: false))
        _ = client.output()
        client.receive(
            H2Frames.frame(4, 0, 0, [])
                + H2Frames.headers(1, [(":status", "200"), ("content-length", "1")], end: false)
                + H2Frames.data(1, [1, 2, 3]))
        #expect(client.recorder.streams[stream.id]?.body == [1, 2, 3])
        #expect(client.resetCode() == nil)
    }

    /// RFC 9113 section 6.9.1: a body that is refused, too long here, does not keep the connection's window shut.
    @Test func theWindowOfARefusedBodyIsGivenBack() {
        var limits = HTTP2Limits()
        limits.connectionWindow = 65_535
        limits.rates.provokedResets = HTTP2Guard.Rate(burst: 1000, perSecond: 0)
        let peer = H2Peer.opened(limits)
        for index: UInt32 in 0..<40 {
            let id = 2 * index + 1
            peer.receive(
                H2Frames.headers(id, H2Frames.post + [("content-length", "5")], end: false)
                    + H2Frames.data(id, [UInt8](repeating: 1, count: 9000)))
            #expect(peer.resetCode(id) == .protocolError)
        }
        #expect(peer.session.failure == nil, "360 000 bytes have come")
    }

    /// RFC 9113 section 6.9.2: a window may become negative, and opens when it is positive again.
    @Test func aWindowThatIsLoweredMayBeNegative() throws {
        let peer = H2Peer.opened()
        peer.receive(H2Frames.headers(1, H2Frames.get))
        peer.respond(try #require(peer.recorder.live[1]), body: [UInt8](repeating: 7, count: 70_000), isLast: true)
        #expect(peer.frames().filter { $0.type == 0 }.flatMap(\.payload).count == 65_535)
        peer.receive(H2Frames.frame(4, 0, 0, [0, 4, 0, 0, 0, 100]) + H2Frames.frame(8, 0, 0, H2Frames.big(100_000)))
        peer.receive(H2Frames.frame(8, 0, 1, H2Frames.big(65_435)))
        #expect(!peer.frames().contains { $0.type == 0 }, "it is 0")
        peer.receive(H2Frames.frame(8, 0, 1, H2Frames.big(1)))
        #expect(peer.frames().filter { $0.type == 0 }.map(\.payload) == [[7]])
        peer.receive(H2Frames.frame(4, 0, 0, [0, 4, 0, 1, 0, 0]))
        let rest = peer.frames().filter { $0.type == 0 }
        #expect(rest.flatMap(\.payload).count == 70_000 - 65_536 && rest.last?.flags == 1)
    }

    /// RFC 9113 section 6.10: a head that is longer than the peer's frames.
    @Test(arguments: [16_000, 16_384, 33_000, 60_000])
    func aLongHeadIsContinued(_ length: Int) throws {
        let peer = H2Peer.opened()
        peer.receive(H2Frames.headers(1, H2Frames.get))
        let value = String(repeating: "v", count: length)
        peer.respond(try #require(peer.recorder.live[1]), 200, [("x-a", value), ("x-b", "c")])
        let wire = peer.output(room: 100)
        let frames = H2Frames.parse(wire).filter { $0.stream == 1 }
        #expect(frames.map(\.type) == [1] + [UInt8](repeating: 9, count: frames.count - 1))
        #expect(frames.allSatisfy { $0.payload.count <= 16_384 } && frames.count == (length + 50) / 16_384 + 1)
        #expect(frames.map { $0.flags & 4 } == [UInt8](repeating: 0, count: frames.count - 1) + [4])
        #expect(frames[0].flags & 1 == 1)
        let fields = OtherHPACK().decode(frames.flatMap(\.payload))
        #expect(fields?.suffix(2) == [RawField("x-a", value), RawField("x-b", "c")])
    }

    /// A DATA frame for each stream in turns: one that has much does not stop the others.
    @Test func streamsSendInTurns() throws {
        let peer = H2Peer.opened()
        peer.receive(H2Frames.frame(8, 0, 0, H2Frames.big(1_000_000)))
        for id: UInt32 in [1, 3, 5] { peer.receive(H2Frames.headers(id, H2Frames.get)) }
        for (id, count): (Int32, Int) in [(1, 60_000), (3, 20_000), (5, 10)] {
            peer.respond(try #require(peer.recorder.live[id]), body: [UInt8](repeating: 1, count: count))
        }
        let data = peer.frames().filter { $0.type == 0 }.map(\.stream)
        #expect(Array(data.prefix(5)) == [1, 3, 5, 1, 3])
    }

    @Test func theTableOfStreamsKeepsWhatIsInIt() {
        let pool = HTTP2MemoryPool()
        var table = HTTP2StreamTable(pool: Unmanaged.passUnretained(pool))
        var random = SeededGenerator(seed: 3)
        var kept: [Int32: UnsafeMutablePointer<HTTP2StreamSlot>] = [:]
        var next: Int32 = 1
        for _ in 0..<20_000 {
            if Int.random(in: 0..<100, using: &random) < 52 || kept.isEmpty {
                let slot = pool.takeStream(HTTP2Limits())
                // Far apart too, as where most are short and some stay.
                next += Int32.random(in: 1...40, using: &random) * 2
                slot.pointee.id = next
                table.insert(slot)
                kept[next] = slot
            } else if let (id, slot) = kept.randomElement(using: &random) {
                table.remove(slot)
                kept[id] = nil
                slot.pointee.id = 0
                pool.giveBack(slot)
                #expect(table.find(id) == nil)
            }
            guard kept.count == table.count, kept.count < 150 else { break }
            if let (id, slot) = kept.randomElement(using: &random) { #expect(table.find(id) == slot) }
        }
        for (id, slot) in kept {
            #expect(table.find(id) == slot)
            table.remove(slot)
            pool.giveBack(slot)
        }
        #expect(table.count == 0)
    }
}
