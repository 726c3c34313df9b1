// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// The memory of the sessions of one worker: blocks of a few sizes, and one place for the frames of all.
@Suite struct HTTP2MemoryPoolTests {
    @Test func aClassIsTheSmallestWithRoom() {
        var before = -1
        for size in 0...131_072 {
            let index = HTTP2MemoryPool.sizeClass(size)
            let room = HTTP2MemoryPool.size(ofClass: index)
            guard index == before || index == before + 1, room >= size, room <= max(size + 32, size + size / 4) else {
                Issue.record("\(size) bytes are given \(room) of class \(index), after class \(before)")
                return
            }
            before = index
        }
        #expect(before == 43 && HTTP2MemoryPool.sizeClass(131_073) == 44)
    }

    private struct Pair {
        let server: H2Peer
        let client = H2Peer.client()
        var stream: HTTP2Stream?

        /// As much as fits into so many bytes, and no more. - Returns: Whether it was something.
        func send(_ room: Int) -> Bool {
            var buffer = [UInt8](repeating: 0, count: room)
            let count = buffer.withUnsafeMutableBytes { server.session.send(into: $0, now: 1, &server.recorder) }
            client.receive(Array(buffer[..<count]))
            return count > 0
        }
    }

    /// Frames that are longer than what there is room for are sent piece by piece, those of other sessions in between.
    @Test(arguments: [64, 65, 100, 1000])
    func serversThatShareAPlaceForFramesDoNotMixThem(room: Int) throws {
        let pool = HTTP2MemoryPool()
        var pairs = (0..<5).map { _ in Pair(server: H2Peer(HTTP2ServerSession(pool: pool, now: 1))) }
        for (number, pair) in pairs.enumerated() {
            pair.server.recorder.onRequest = { [server = pair.server] stream in
                // The last one's head takes more than one frame.
                let length = number == 4 ? 20_000 : 700 * (number + 1)
                server.respond(
                    stream, 200, [("x-own", String(repeating: "\(number)", count: length))],
                    body: [UInt8](repeating: UInt8(number), count: 500), isLast: false)
                server.trailers(stream, [("x-end", String(repeating: "\(number)", count: 300))])
            }
            pairs[number].stream = pair.client.get("/\(number)")
            pair.server.receive(pair.client.output())
        }
        var isSending = true
        while isSending { isSending = pairs.reduce(false) { $1.send(room) || $0 } }
        for (number, pair) in pairs.enumerated() {
            let message = pair.client.recorder.streams[pair.stream?.id ?? 0] ?? H2Message()
            let length = number == 4 ? 20_000 : 700 * (number + 1)
            #expect(message.fields == [ReadField("x-own", String(repeating: "\(number)", count: length))])
            #expect(message.body == [UInt8](repeating: UInt8(number), count: 500))
            #expect(message.trailers == [ReadField("x-end", String(repeating: "\(number)", count: 300))])
        }
    }

    /// Also before their preface has been taken, and while it is sent piece by piece.
    @Test(arguments: [64, 65, 100])
    func clientsThatShareAPlaceForFramesDoNotMixThem(room: Int) throws {
        let pool = HTTP2MemoryPool()
        let links = (0..<5).map { _ in H2Link(client: H2Peer(HTTP2ClientSession(pool: pool, now: 1))) }
        var streams: [HTTP2Stream?] = []
        for (number, link) in links.enumerated() {
            let count = 500 * (number + 1)
            streams.append(
                link.client.request(
                    "POST /\(number) HTTP/1.1\r\nHost: a\r\nContent-Length: \(count)\r\n\r\n",
                    body: [UInt8](repeating: UInt8(number), count: count)))
        }
        func send(_ link: H2Link) -> Bool {
            var buffer = [UInt8](repeating: 0, count: room)
            let count = buffer.withUnsafeMutableBytes {
                link.client.session.send(into: $0, now: 1, &link.client.recorder)
            }
            link.server.receive(Array(buffer[..<count]))
            return count > 0
        }
        var isSending = true
        while isSending { isSending = links.reduce(false) { send($1) || $0 } }
        for (number, link) in links.enumerated() {
            let message = link.server.recorder.streams[streams[number]?.id ?? 0]
            #expect(message?.first.contains("/\(number)") == true)
            #expect(message?.body == [UInt8](repeating: UInt8(number), count: 500 * (number + 1)))
        }
    }

    @Test(arguments: [true, false])
    func anIdleSessionKeepsNoRoomForAFrame(ofServer isServer: Bool) {
        let pool = HTTP2MemoryPool()
        var kept: [H2Link] = []
        func idle(_ count: Int) {
            for _ in 0..<count {
                let link =
                    isServer
                    ? H2Link(server: H2Peer(HTTP2ServerSession(pool: pool, now: 1)))
                    : H2Link(client: H2Peer(HTTP2ClientSession(pool: pool, now: 1)))
                link.server.recorder.onRequest = { [server = link.server] in
                    server.respond($0, 200, [("content-type", "text/plain"), ("server", "x")], body: [1, 2, 3])
                }
                _ = link.client.get()
                link.settle()
                #expect(link.client.session.streamCount == 0)
                kept.append(link)
            }
        }
        idle(1)
        let first = pool.systemBytes
        idle(20)
        let each = (pool.systemBytes - first) / 20
        #expect(each < 11 * 1024, "\(each) bytes for an idle session")
    }
}
