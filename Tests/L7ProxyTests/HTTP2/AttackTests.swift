// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// Each limit against the attack that it is for. All end with a GOAWAY that names the right code, long before the
/// attacker is done; what an honest peer does in the same way is let through.
@Suite struct HTTP2AttackTests {
    /// Feeds `attack(i)` for i = 0, 1, ... until the session ends.
    ///
    /// - Returns: How many were let through, and what the GOAWAY says; at most `limit`.
    private func run(
        _ limits: HTTP2Limits = HTTP2Limits(), limit: Int = 100_000, before: [UInt8] = [], _ attack: (Int) -> [UInt8]
    ) -> (count: Int, failure: HTTP2Failure?, code: HTTP2ErrorCode?) {
        let peer = H2Peer.opened(limits)
        peer.receive(before)
        _ = peer.output()
        var sent: [H2Frames.Sent] = []
        for index in 0..<limit {
            if peer.receive(attack(index)) == .ended {
                sent += peer.frames()
                let code = sent.last { $0.type == 7 }?.code
                #expect(peer.receive(attack(index)) == .ended, "it goes on after its end")
                #expect(peer.session.isFinished)
                return (index, peer.session.failure, code)
            }
            if index % 16 == 15 { sent = peer.frames() }
        }
        return (limit, nil, nil)
    }

    private func expect(
        _ result: (count: Int, failure: HTTP2Failure?, code: HTTP2ErrorCode?), _ violation: HTTP2Violation,
        after: ClosedRange<Int>
    ) {
        #expect(result.failure == .abuse(violation))
        #expect(result.code == violation.code)
        #expect(after ~= result.count, "\(result.count) were let through")
    }

    @Test func rapidResetOfCVE202344487() {
        let result = run { index in
            H2Frames.headers(UInt32(2 * index + 1), H2Frames.get) + H2Frames.reset(UInt32(2 * index + 1))
        }
        expect(result, .rapidReset, after: 200...201)
    }

    /// The client makes the server reset: here by a window update of nothing, in others by broken requests.
    @Test func madeYouResetOfCVE20258671() {
        let result = run { index in
            H2Frames.headers(UInt32(2 * index + 1), H2Frames.post, end: false)
                + H2Frames.headers(UInt32(2 * index + 1), [("x-a", "b")], end: false)
        }
        expect(result, .provokedResets, after: 90...130)
    }

    @Test func brokenRequestsWithoutEnd() {
        let result = run { index in H2Frames.headers(UInt32(2 * index + 1), H2Frames.get + [("upgrade", "x")]) }
        expect(result, .provokedResets, after: 90...130)
    }

    @Test func continuationFloodOfCVE202427316() {
        let start = H2Frames.frame(1, 1, 1, H2Frames.block(H2Frames.get))
        let result = run(before: start) { _ in H2Frames.frame(9, 0, 1, H2Frames.block([("x-a", "b")])) }
        expect(result, .continuationFlood, after: 8...8)
    }

    @Test func headerBlockThatNeverEnds() {
        let start = H2Frames.frame(1, 1, 1, H2Frames.block(H2Frames.get))
        let field = H2Frames.block([("x-a", String(repeating: "b", count: 15_990))])
        let result = run(before: start) { _ in H2Frames.frame(9, 0, 1, field) }
        expect(result, .headerBlockTooLarge, after: 4...4)
        // A byte for each field, of which the first is one too many already: none is kept, and all are counted.
        let cheap = run(before: start) { _ in H2Frames.frame(9, 4, 1, [UInt8](repeating: 0x82, count: 16_000)) }
        expect(cheap, .headerListTooLarge, after: 0...0)
    }

    /// Four kilobytes go into the compression table, and each byte after that is a field of that size.
    @Test func headerCompressionBombOfCVE20166581() {
        let entry: [UInt8] =
            [0x40] + [3, 0x78, 0x2d, 0x61] + [127, 0xa1, 0x1e] + [UInt8](repeating: 0x62, count: 4000)
        let bomb = H2Frames.block(H2Frames.get) + entry + [UInt8](repeating: 0xbe, count: 10_000)
        let peer = H2Peer.opened()
        #expect(peer.receive(H2Frames.frame(1, 5, 1, bomb)) == .ended)
        #expect(peer.session.failure == .abuse(.headerListTooLarge))
        #expect(peer.frames().last?.code == .enhanceYourCalm)
        #expect(peer.recorder.streams.isEmpty)
    }

    @Test func settingsFloodOfCVE20199515() {
        expect(run { _ in H2Frames.frame(4, 0, 0, []) }, .settingsFlood, after: 20...32)
    }

    @Test func pingFloodOfCVE20199512() {
        expect(
            run { _ in H2Frames.frame(6, 0, 0, [0, 1, 2, 3, 4, 5, 6, 7]) }, .pingFlood, after: 200...200)
    }

    /// A peer that asks and does not read: no more answers wait than the limit.
    @Test func pingsOfAPeerThatDoesNotRead() {
        let peer = H2Peer.opened()
        var count = 0
        while count < 200, peer.receive(H2Frames.frame(6, 0, 0, [UInt8](repeating: 1, count: 8))) == .open {
            count += 1
        }
        #expect(count < 70)
        #expect(peer.frames().last?.code == .enhanceYourCalm)
    }

    @Test func emptyDataFloodOfCVE20199518() {
        let start = H2Frames.headers(1, H2Frames.post, end: false)
        expect(run(before: start) { _ in H2Frames.data(1, []) }, .emptyFrameFlood, after: 100...100)
    }

    @Test func dataThatIsPaddingOnly() {
        let start = H2Frames.headers(1, H2Frames.post, end: false)
        let padding = H2Frames.frame(0, 8, 1, [10] + [UInt8](repeating: 0, count: 10))
        expect(run(before: start) { _ in padding }, .emptyFrameFlood, after: 100...100)
    }

    @Test func priorityFloodOfCVE20199513() {
        let priority = H2Frames.frame(2, 0, 3, [0, 0, 0, 0, 16])
        expect(run { _ in priority }, .priorityFlood, after: 500...500)
    }

    @Test func windowUpdateFloodOfCVE20199511() {
        let start = H2Frames.headers(1, H2Frames.post, end: false)
        let update = H2Frames.frame(8, 0, 1, [0, 0, 0, 1])
        expect(run(before: start) { _ in update }, .windowUpdateFlood, after: 2000...2004)
    }

    @Test func framesOfUnknownTypes() {
        expect(run { _ in H2Frames.frame(0xbb, 0, 0, [1]) }, .unknownFrameFlood, after: 100...100)
    }

    @Test func aFrameAboveTheSize() {
        let peer = H2Peer.opened()
        peer.receive(H2Frames.headers(1, H2Frames.post, end: false))
        // The header alone is enough: the rest need not come.
        #expect(peer.receive(Array(H2Frames.data(1, [UInt8](repeating: 0, count: 16385)).prefix(9))) == .ended)
        #expect(peer.session.failure == .abuse(.frameTooLarge))
        #expect(peer.frames().last?.code == .frameSizeError)
    }

    @Test(arguments: [
        H2Frames.data(1, [1]), H2Frames.frame(9, 4, 3, []), H2Frames.frame(6, 0, 0, [UInt8](repeating: 0, count: 8)),
        H2Frames.headers(3, H2Frames.get),
    ])
    func aHeaderBlockThatIsInterrupted(_ other: [UInt8]) {
        let peer = H2Peer.opened()
        peer.receive(H2Frames.frame(1, 1, 1, H2Frames.block(H2Frames.get)))
        #expect(peer.receive(other) == .ended)
        #expect(peer.frames().last?.code == .protocolError)
        #expect(peer.recorder.streams.isEmpty)
    }

    /// Above the limit that we have announced and that the client has acknowledged.
    @Test func moreStreamsThanAnnounced() {
        var limits = HTTP2Limits()
        limits.concurrentStreams = 3
        let peer = H2Peer.opened(limits)
        peer.receive(H2Frames.frame(4, 1, 0, []))
        for index: UInt32 in 0..<5 { peer.receive(H2Frames.headers(2 * index + 1, H2Frames.post, end: false)) }
        #expect(peer.recorder.streams.count == 3)
        let frames = peer.frames()
        #expect(frames.contains { $0.code == .refusedStream || $0.code == .protocolError })
        #expect(peer.session.streamCount <= 3)
    }

    /// Before the acknowledgement a client may not know the limit: it is told to try again.
    @Test func moreStreamsThanAnnouncedBeforeTheClientKnows() {
        var limits = HTTP2Limits()
        limits.concurrentStreams = 3
        let peer = H2Peer.opened(limits)
        for index: UInt32 in 0..<5 { peer.receive(H2Frames.headers(2 * index + 1, H2Frames.post, end: false)) }
        #expect(peer.recorder.streams.count == 3)
        #expect(peer.frames().filter { $0.code == .refusedStream }.map(\.stream) == [7, 9])
    }

    /// CVE-2019-9517: a response is asked for, and the window stays shut.
    @Test func aWindowThatStaysShutIsReported() throws {
        let peer = H2Peer.opened()
        // SETTINGS_INITIAL_WINDOW_SIZE 0.
        peer.receive(H2Frames.frame(4, 0, 0, [0, 4, 0, 0, 0, 0]) + H2Frames.headers(1, H2Frames.get))
        let stream = try #require(peer.recorder.live[1])
        peer.respond(stream, body: Array("hello".utf8))
        _ = peer.output()
        #expect(peer.session.stallTime(stream, now: 1) == 0)
        #expect(peer.session.stallTime(stream, now: 30_001) == 30_000)
        peer.receive(H2Frames.frame(8, 0, 1, [0, 0, 0, 2]))
        peer.now = 40_000
        _ = peer.output()
        #expect(peer.recorder.sent[1] == 2)
        #expect(peer.session.stallTime(stream, now: 40_500) == 500)
    }

    /// An honest peer over a long time does all of it, at its own pace.
    @Test func thePaceOfAnHonestPeerIsLetThrough() {
        let peer = H2Peer.opened()
        for index: UInt32 in 0..<2000 {
            peer.now += 100
            let id = 2 * index + 1
            var bytes = H2Frames.headers(id, H2Frames.get) + H2Frames.frame(8, 0, 0, [0, 0, 0, 1])
            if index % 3 == 0 { bytes += H2Frames.reset(id) }
            if index % 10 == 0 { bytes += H2Frames.frame(6, 0, 0, [UInt8](repeating: 0, count: 8)) }
            if index % 10 == 5 { bytes += H2Frames.frame(4, 0, 0, []) }
            #expect(peer.receive(bytes) == .open)
            if let stream = peer.recorder.live[Int32(id)] { peer.respond(stream) }
            _ = peer.output()
        }
        #expect(peer.recorder.streams.count == 2000)
        #expect(peer.session.failure == nil)
    }
}
