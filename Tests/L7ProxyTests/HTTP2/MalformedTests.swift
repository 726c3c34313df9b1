// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// Requests that RFC 9113 calls malformed: none is told to the handler, each is reset with PROTOCOL_ERROR, and the
/// connection goes on.
@Suite struct HTTP2MalformedTests {
    struct Case: CustomTestStringConvertible, Sendable {
        var rule: String
        var fields: [(String, String)]
        var defect: MalformedMessage?
        var testDescription: String { rule }

        init(_ rule: String, _ fields: [(String, String)], _ defect: MalformedMessage? = nil) {
            self.rule = rule
            self.fields = fields
            self.defect = defect
        }
    }

    private static let get = H2Frames.get
    private static let tunnel = [(":method", "CONNECT"), (":protocol", "websocket")] + get.dropFirst()
    private static func without(_ name: String) -> [(String, String)] { get.filter { $0.0 != name } }
    private static func with(_ name: String, _ value: String) -> [(String, String)] {
        get.map { $0.0 == name ? (name, value) : $0 }
    }

    static let cases: [Case] = [
        // Section 8.2.1: names and values.
        Case("8.2.1 upper case in a name", get + [("X-A", "b")]),
        Case("8.2.1 upper case in a known name", get + [("Server", "b")]),
        Case("8.2.1 upper case at the end of a known name", get + [("content-typE", "b")]),
        Case("8.2.1 upper case amid a known name", get + [("access-control-reQuest-method", "b")]),
        Case("8.2.1 CR in what looks like a known name", get + [("user\ragent", "b")]),
        Case("8.2.1 space in a name", get + [("x a", "b")]),
        Case("8.2.1 colon in a name", get + [("x:a", "b")]),
        Case("8.2.1 DEL in a name", get + [("x\u{7f}", "b")]),
        Case("8.2.1 line feed in a name", get + [("x\na", "b")]),
        Case("8.2.1 empty name", get + [("", "b")]),
        Case("8.2.1 CR in a value", get + [("x-a", "b\rc")]),
        Case("8.2.1 LF in a value", get + [("x-a", "b\nc: d")]),
        Case("8.2.1 CRLF in a value", get + [("x-a", "b\r\nhost: evil")]),
        Case("8.2.1 NUL in a value", get + [("x-a", "b\u{0}")]),
        Case("8.2.1 DEL in a value", get + [("x-a", "b\u{7f}")]),
        Case("8.2.1 a space is a value", get + [("x-a", " ")]),
        Case("8.2.1 leading space in a value", get + [("x-a", " b")]),
        Case("8.2.1 trailing tab in a value", get + [("x-a", "b\t")]),
        // Section 8.2.2: fields of the connection.
        Case("8.2.2 connection", get + [("connection", "close")]),
        Case("8.2.2 keep-alive", get + [("keep-alive", "1")]),
        Case("8.2.2 proxy-connection", get + [("proxy-connection", "close")]),
        Case("8.2.2 transfer-encoding", get + [("transfer-encoding", "chunked")]),
        Case("8.2.2 upgrade", get + [("upgrade", "websocket")]),
        Case("8.2.2 te other than trailers", get + [("te", "gzip")]),
        Case("8.2.2 te with more than trailers", get + [("te", "trailers, gzip")]),
        // Section 8.3: pseudo-header fields.
        Case("8.3 pseudo after a regular field", [("x-a", "b")] + get),
        Case("8.3 unknown pseudo", get + [(":unknown", "b")]),
        Case("8.3 response pseudo in a request", get + [(":status", "200")]),
        Case("8.3.1 no method", without(":method")),
        Case("8.3.1 no scheme", without(":scheme")),
        Case("8.3.1 no path", without(":path")),
        Case("8.3.1 empty path", with(":path", "")),
        Case("8.3.1 repeated method", get + [(":method", "GET")]),
        Case("8.3.1 repeated path", get + [(":path", "/b")]),
        Case("8.3.1 repeated authority", get + [(":authority", "a")]),
        Case("8.3.1 path without a slash", with(":path", "a")),
        Case("8.3.1 path in absolute form", with(":path", "http://b/")),
        Case("8.3.1 path with a space", with(":path", "/a b")),
        Case("8.3.1 path with CRLF", with(":path", "/ HTTP/1.1\r\nHost: evil\r\n\r\n")),
        Case("8.3.1 path with a fragment", with(":path", "/#a"), .invalidTarget),
        Case("8.3.1 asterisk without OPTIONS", with(":path", "*")),
        Case("8.3.1 method with a space", with(":method", "GET /x HTTP/1.1\r\nA:")),
        Case("8.3.1 another scheme", with(":scheme", "ftp"), .invalidPseudoField),
        Case("8.3.1 authority with user information", with(":authority", "u@a")),
        Case("8.3.1 authority with a path", with(":authority", "a/b")),
        Case("8.3.1 empty authority", with(":authority", "")),
        Case("8.3.1 neither authority nor host", without(":authority")),
        Case("8.3.1 host differs from authority", get + [("host", "b")], .conflictingHost),
        Case("8.3.1 two hosts", without(":authority") + [("host", "a"), ("host", "a")]),
        // Section 8.5: CONNECT.
        Case("8.5 CONNECT with a scheme", [(":method", "CONNECT"), (":authority", "a:1"), (":scheme", "http")]),
        Case("8.5 CONNECT with a path", [(":method", "CONNECT"), (":authority", "a:1"), (":path", "/")]),
        Case("8.5 CONNECT without an authority", [(":method", "CONNECT")]),
        Case("8.5 CONNECT without a port", [(":method", "CONNECT"), (":authority", "a")], .targetFormNotAllowed),
        // RFC 8441 section 4: extended CONNECT.
        Case("RFC 8441 a protocol without CONNECT", get + [(":protocol", "websocket")]),
        Case("RFC 8441 two protocols", tunnel + [(":protocol", "websocket")]),
        Case("RFC 8441 no scheme", tunnel.filter { $0.0 != ":scheme" }),
        Case("RFC 8441 no path", tunnel.filter { $0.0 != ":path" }),
        Case("RFC 8441 no authority", tunnel.filter { $0.0 != ":authority" }),
        Case("RFC 8441 empty path", tunnel.map { $0.0 == ":path" ? ($0.0, "") : $0 }),
        Case("RFC 8441 empty protocol", tunnel.map { $0.0 == ":protocol" ? ($0.0, "") : $0 }),
        Case("RFC 8441 a protocol that is no token", tunnel.map { $0.0 == ":protocol" ? ($0.0, "a b") : $0 }),
        Case("RFC 8441 an upgrade besides", tunnel + [("upgrade", "websocket")]),
        Case("RFC 8441 content", tunnel + [("content-length", "5")]),
        // Section 8.1.1: content-length.
        Case("8.1.1 content-length without content", get + [("content-length", "5")]),
        Case("8.1.1 content-length that is no number", get + [("content-length", "x")]),
        Case("8.1.1 content-length twice", get + [("content-length", "0"), ("content-length", "0")]),
        Case("8.1.1 content-length that is a list", get + [("content-length", "0, 0")]),
        Case("8.1.1 empty content-length", get + [("content-length", "")]),
        Case("8.1.1 content-length too large", get + [("content-length", "99999999999999999999")]),
    ]

    @Test(arguments: cases)
    func isResetAndNotTold(_ testCase: Case) {
        let peer = H2Peer.opened()
        #expect(peer.receive(H2Frames.headers(1, testCase.fields)) == .open)
        #expect(peer.recorder.streams.isEmpty, "it was told")
        #expect(peer.recorder.refused.count == 1)
        if let defect = testCase.defect { #expect(peer.recorder.refused == [defect]) }
        #expect(peer.resetCode() == .protocolError)
        #expect(peer.session.streamCount == 0)
        // Others are not harmed.
        peer.receive(H2Frames.headers(3, H2Frames.get))
        #expect(peer.recorder.streams[3]?.first[0] == "GET")
    }

    /// Each of the cases differs from this in one thing.
    @Test func theSameWithoutTheDefectIsTold() {
        let peer = H2Peer.opened()
        peer.receive(
            H2Frames.headers(
                1, H2Frames.get + [("x-a", "b c\td\u{e9}"), ("te", "trailers"), ("host", "A"), ("content-length", "0")])
        )
        #expect(peer.recorder.streams[1]?.fields.count == 4)
        #expect(peer.recorder.refused.isEmpty)
    }

    static let statuses: [(String, [(String, String)], String)] = [
        ("a header list above the limit", get + [("x-a", many("b", 3000))], "431"),
        ("too many fields", get + (0..<25).map { ("x-\($0)", "b") }, "431"),
        ("a target above the limit", with(":path", "/\(many("a", 300))"), "414"),
        ("a method above the limit", with(":method", many("A", 33)), "501"),
    ]

    /// RFC 9113 section 10.5.1, RFC 6585 section 5: what is too large is answered, which tells the client more.
    @Test(arguments: statuses.indices)
    func whatIsTooLargeIsAnswered(_ index: Int) {
        let (_, fields, status) = Self.statuses[index]
        var limits = HTTP2Limits()
        limits.headerListBytes = 2000
        limits.fields = 20
        limits.targetBytes = 256
        let peer = H2Peer.opened(limits)
        peer.receive(H2Frames.headers(1, fields, end: false))
        #expect(peer.recorder.streams.isEmpty)
        let wire = peer.output()
        let frames = H2Frames.parse(wire)
        #expect(frames.map(\.type) == [1, 3] && frames.last?.code == .noError)
        let client = H2Peer.client()
        let stream = client.get()
        _ = client.output()
        client.receive(H2Frames.frame(4, 0, 0, []) + wire)
        #expect(stream.map { client.recorder.streams[$0.id]?.first[0] } == status)
    }

    static let lengths: [(String, [UInt8])] = [
        ("too short", H2Frames.data(1, [1, 2], end: true)), ("too long", H2Frames.data(1, [1, 2, 3, 4], end: true)),
        ("too long in two", H2Frames.data(1, [1, 2, 3]) + H2Frames.data(1, [4], end: true)),
        ("too long, and more to come", H2Frames.data(1, [1, 2, 3, 4])),
        ("nothing", H2Frames.data(1, [], end: true)),
        ("ended by trailers", H2Frames.data(1, [1, 2]) + H2Frames.headers(1, [("x-sum", "1")])),
    ]

    /// RFC 9113 section 8.1.1: the sum of DATA must be the `content-length`.
    @Test(arguments: lengths.indices)
    func aBodyOfAnotherLengthIsReset(_ index: Int) {
        let peer = H2Peer.opened()
        peer.receive(H2Frames.headers(1, H2Frames.post + [("content-length", "3")], end: false))
        peer.receive(Self.lengths[index].1)
        #expect(peer.recorder.streams[1]?.isWhole == false, "\(Self.lengths[index].0): it looks whole")
        #expect(peer.resetCode() == .protocolError)
        #expect(peer.recorder.streams[1]?.closed == .protocolError)
    }

    static let trailers: [[(String, String)]] = [
        [(":path", "/")], [("content-length", "1")], [("host", "a")], [("transfer-encoding", "chunked")],
        [("X-Sum", "1")], [("x-sum", "1\r\n")], [("connection", "x")], [("te", "gzip")],
    ]

    @Test(arguments: trailers.indices)
    func malformedTrailersAreReset(_ index: Int) {
        let peer = H2Peer.opened()
        peer.receive(H2Frames.headers(1, H2Frames.post, end: false))
        peer.receive(H2Frames.headers(1, Self.trailers[index]))
        #expect(peer.recorder.streams[1]?.isWhole == false)
        #expect(peer.resetCode() == .protocolError)
    }

    /// RFC 9110 section 6.5.1: fields that a trailer section should not hold are not passed on.
    @Test func trailersThatMeanNothingThereAreDropped() {
        let peer = H2Peer.opened()
        peer.receive(H2Frames.headers(1, H2Frames.post, end: false))
        peer.receive(
            H2Frames.headers(
                1, [("authorization", "x"), ("grpc-status", "0"), ("x-forwarded-for", "1"), ("bin-bin", "AA")]))
        #expect(peer.recorder.streams[1]?.trailers == [ReadField("grpc-status", "0"), ReadField("bin-bin", "AA")])
    }

    static let responses: [(String, [(String, String)])] = [
        ("no status", [("x-a", "b")]), ("a status of two digits", [(":status", "20")]),
        ("a status that is no number", [(":status", "2x0")]), ("status 99", [(":status", "099")]),
        ("status 600", [(":status", "600")]), ("101", [(":status", "101")]),
        ("two statuses", [(":status", "200"), (":status", "200")]), ("a path", [(":status", "200"), (":path", "/")]),
        ("connection", [(":status", "200"), ("connection", "close")]),
        ("CRLF in a value", [(":status", "200"), ("x-a", "b\r\nc: d")]),
        ("a length without content", [(":status", "200"), ("content-length", "1")]),
    ]

    @Test(arguments: responses.indices)
    func malformedResponsesAreReset(_ index: Int) throws {
        let peer = H2Peer.client()
        let stream = try #require(peer.get())
        _ = peer.output()
        peer.receive(H2Frames.frame(4, 0, 0, []) + H2Frames.headers(1, Self.responses[index].1))
        _ = peer.output()
        #expect(peer.recorder.streams[1]?.first == [], "\(Self.responses[index].0): it was told")
        #expect(peer.recorder.streams[1]?.closed == .protocolError)
        #expect(!stream.isCurrent)
    }

    private static let early = H2Frames.headers(1, [(":status", "103")], end: false)
    private static func response(_ status: String, length: String? = nil) -> [UInt8] {
        H2Frames.headers(
            1, [(":status", status)] + (length.map { [("content-length", $0)] } ?? []), end: false)
    }

    static let sequences: [(String, [UInt8])] = [
        ("an interim response that ends", H2Frames.headers(1, [(":status", "103")])),
        ("content before the final response", early + H2Frames.data(1, [1])),
        ("an end before the final response", early + H2Frames.data(1, [], end: true)),
        ("trailers that do not end it", response("200") + H2Frames.headers(1, [("x-sum", "1")], end: false)),
        ("less content than its length", response("200", length: "3") + H2Frames.data(1, [1, 2], end: true)),
        ("more content than its length", response("200", length: "3") + H2Frames.data(1, [1, 2, 3, 4])),
        ("content behind a length of zero", response("200", length: "0") + H2Frames.data(1, [1])),
        ("content of 204", response("204") + H2Frames.data(1, [1])),
        ("content of 304", response("304", length: "3") + H2Frames.data(1, [1, 2, 3], end: true)),
    ]

    /// RFC 9113 sections 8.1 and 8.1.1: what a message consists of, and in which order.
    @Test(arguments: sequences.indices)
    func brokenSequencesAreReset(_ index: Int) throws {
        let peer = H2Peer.client()
        _ = try #require(peer.get())
        _ = peer.output()
        peer.receive(H2Frames.frame(4, 0, 0, []) + Self.sequences[index].1)
        #expect(peer.recorder.streams[1]?.isWhole == false, "\(Self.sequences[index].0): it looks whole")
        #expect(peer.resetCode() == .protocolError)
        #expect(peer.recorder.streams[1]?.closed == .protocolError)
    }

    /// RFC 8441 section 3.
    @Test func aTunnelThatWasNotOfferedIsReset() {
        var limits = HTTP2Limits()
        limits.takesExtendedConnect = false
        let peer = H2Peer.opened(limits)
        peer.receive(H2Frames.headers(1, Self.tunnel, end: false))
        #expect(peer.recorder.streams.isEmpty && peer.recorder.refused == [.invalidPseudoField])
        #expect(peer.resetCode() == .protocolError)
    }
}
