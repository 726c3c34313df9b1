// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// RFC 9113 sections 3 to 6: what a frame may be, and with which code its sender is told that it is not that.
@Suite struct HTTP2FrameRuleTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let rule: String
        let frames: [UInt8]
        let code: HTTP2ErrorCode
        /// Of the stream that is reset; 0: the connection ends.
        var stream: UInt32 = 0
        var testDescription: String { rule }

        init(_ rule: String, _ frames: [UInt8], _ code: HTTP2ErrorCode, stream: UInt32 = 0) {
            (self.rule, self.frames, self.code, self.stream) = (rule, frames, code, stream)
        }
    }

    private static func frame(_ type: UInt8, _ stream: UInt32, _ payload: [UInt8], flags: UInt8 = 0) -> [UInt8] {
        H2Frames.frame(type, flags, stream, payload)
    }

    private static let open = H2Frames.headers(1, H2Frames.post, end: false)
    private static let whole = H2Frames.headers(1, H2Frames.get)

    static let cases: [Case] = [
        Case("4.2 a fixed length that is another: PING", frame(6, 0, [1, 2, 3]), .frameSizeError),
        Case("4.2 a fixed length that is another: RST_STREAM", open + frame(3, 1, [0, 0, 0]), .frameSizeError),
        Case("4.2 a fixed length that is another: WINDOW_UPDATE", frame(8, 0, [0, 0, 1]), .frameSizeError),
        Case("4.2 a fixed length that is another: GOAWAY", frame(7, 0, [0, 0, 0, 0]), .frameSizeError),
        Case(
            "4.3 a field that the table does not have", frame(1, 1, [0xff, 0xff, 0xff, 0x7f], flags: 5),
            .compressionError),
        Case("4.3 a header block that stops in a field", frame(1, 1, [0x00, 0x05, 0x61], flags: 5), .compressionError),
        Case("5.1 DATA on a stream that is idle", H2Frames.data(1, [1]), .protocolError),
        Case("5.1 RST_STREAM on a stream that is idle", H2Frames.reset(1), .protocolError),
        Case("5.1 WINDOW_UPDATE on a stream that is idle", frame(8, 1, [0, 0, 0, 1]), .protocolError),
        Case("5.1 DATA after the end of the stream", whole + H2Frames.data(1, [1]), .streamClosed),
        Case("5.1 HEADERS after the end of the stream", whole + H2Frames.headers(1, [("x-a", "b")]), .streamClosed),
        Case("5.1.1 a stream number of the server", H2Frames.headers(2, H2Frames.get), .protocolError),
        Case("6.1 DATA on stream 0", H2Frames.data(0, [1]), .protocolError),
        Case("6.1 padding as long as the frame", open + frame(0, 1, [2, 0], flags: 8), .protocolError),
        Case("6.2 HEADERS on stream 0", H2Frames.headers(0, H2Frames.get), .protocolError),
        Case("6.2 padding as long as the frame", frame(1, 1, [9, 0, 0], flags: 12), .protocolError),
        Case("6.2 a frame without room for its priority", frame(1, 1, [0, 0, 0, 0], flags: 0x25), .frameSizeError),
        Case("6.4 RST_STREAM on stream 0", H2Frames.reset(0), .protocolError),
        Case("6.5 SETTINGS on a stream", frame(4, 1, []), .protocolError),
        Case("6.5 an acknowledgement with content", frame(4, 0, [0, 0, 0, 0, 0, 0], flags: 1), .frameSizeError),
        Case("6.5 a length that is no multiple of 6", frame(4, 0, [0, 1, 2]), .frameSizeError),
        Case("6.5.2 a frame size below the least", frame(4, 0, [0, 5, 0, 0, 0x3f, 0xff]), .protocolError),
        Case("6.5.2 a window above the most", frame(4, 0, [0, 4, 0x80, 0, 0, 0]), .flowControlError),
        Case("6.5.2 ENABLE_PUSH that is neither 0 nor 1", frame(4, 0, [0, 2, 0, 0, 0, 2]), .protocolError),
        Case("6.6 PUSH_PROMISE of a client", open + frame(5, 1, [0, 0, 0, 2, 0x82], flags: 4), .protocolError),
        Case("6.7 PING on a stream", frame(6, 1, [UInt8](repeating: 0, count: 8)), .protocolError),
        Case("6.8 GOAWAY on a stream", frame(7, 1, [UInt8](repeating: 0, count: 8)), .protocolError),
        Case("6.9 an increment of 0 for the connection", frame(8, 0, [0, 0, 0, 0]), .protocolError),
        Case(
            "6.9.1 a window of the connection above the most", frame(8, 0, [0x7f, 0xff, 0xff, 0xff]), .flowControlError),
        Case(
            "6.9.1 a window of a stream above the most", open + frame(8, 1, [0x7f, 0xff, 0xff, 0xff]),
            .flowControlError, stream: 1),
        Case("6.10 CONTINUATION without HEADERS", frame(9, 1, [0x82], flags: 4), .protocolError),
    ]

    @Test("RFC 9113 4 to 6: each error of a frame has its code, and ends what it has to end", arguments: cases)
    func anErrorHasItsCode(_ testCase: Case) {
        let peer = H2Peer.opened()
        let progress = peer.receive(testCase.frames)
        let frames = peer.frames()
        if testCase.stream > 0 {
            #expect(progress == .open)
            #expect(frames.first { $0.type == 3 && $0.stream == testCase.stream }?.code == testCase.code)
            peer.receive(H2Frames.headers(3, H2Frames.get))
            #expect(peer.recorder.streams[3]?.first.first == "GET")
        } else {
            #expect(progress == .ended || peer.session.isFinished)
            #expect(frames.last { $0.type == 7 }?.code == testCase.code)
        }
    }

    @Test("RFC 9113 3.4: the preface is followed by SETTINGS, and by nothing else")
    func settingsComeFirst() {
        let peer = H2Peer.server()
        peer.receive(H2Frames.preface + H2Frames.headers(1, H2Frames.get))
        #expect(peer.recorder.streams.isEmpty)
        #expect(peer.frames().last?.code == .protocolError)
        #expect(peer.session.isFinished)
    }

    @Test("RFC 9113 4.1, 5.5: unknown frames, flags and settings are ignored")
    func whatIsUnknownIsIgnored() {
        let peer = H2Peer.opened()
        let unknown = H2Frames.frame(0xaa, 0xff, 5, [1, 2, 3]) + H2Frames.frame(4, 0xfe, 0, [0xaa, 0xaa, 0, 0, 0, 1])
        #expect(peer.receive(unknown + H2Frames.frame(1, 0xd5, 1, H2Frames.block(H2Frames.get))) == .open)
        #expect(peer.recorder.streams[1]?.first.first == "GET" && peer.recorder.streams[1]?.isWhole == true)
    }

    /// What else the frame would have said is not looked at: the stream has not ended.
    @Test("RFC 9113 6.1: an error of a frame ends the connection before its END_STREAM ends a stream")
    func paddingBeyondAFrameThatEndsAStream() throws {
        let client = H2Peer.client()
        let stream = try #require(client.get())
        _ = client.output()
        client.receive(
            H2Frames.frame(4, 0, 0, []) + H2Frames.headers(1, [(":status", "200")], end: false)
                + H2Frames.frame(0, 0x9, 1, [200, 1, 2]))
        #expect(client.session.failure == .connectionError(.protocolError))
        #expect(client.recorder.streams[stream.id]?.isWhole == false)
        #expect(client.recorder.streams[stream.id]?.closed == nil)
    }

    /// Whoever has not seen our GOAWAY yet is answered in vain, and nothing comes of it.
    @Test func anAnswerAfterTheEnd() throws {
        let peer = H2Peer.opened()
        peer.receive(H2Frames.headers(1, H2Frames.get))
        let stream = try #require(peer.recorder.live[1])
        peer.receive(H2Frames.data(0, [1]))
        peer.respond(stream, body: [1, 2, 3])
        #expect(peer.frames().map(\.type) == [7])
        #expect(peer.session.isFinished)
    }

    @Test("RFC 9113 6.5.3: SETTINGS are acknowledged, and in force when they are")
    func settingsAreAcknowledged() {
        let peer = H2Peer.server()
        peer.receive(
            H2Frames.preface + H2Frames.frame(4, 0, 0, [0, 4, 0, 0, 0, 3]) + H2Frames.headers(1, H2Frames.get))
        if let stream = peer.recorder.live[1] { peer.respond(stream, body: [1, 2, 3, 4, 5]) }
        let frames = peer.frames()
        #expect(frames.contains { $0.type == 4 && $0.flags == 1 && $0.payload.isEmpty })
        #expect(frames.filter { $0.type == 0 }.flatMap(\.payload) == [1, 2, 3], "the window is 3")
    }
}
