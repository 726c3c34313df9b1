// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// RFC 9112 sections 9.3 and 9.6: when a connection carries another message.
@Suite struct PersistenceTests {
    private func request(_ lines: String = "", version: String = "1.1") -> RequestHead {
        var fields = FieldTable(capacity: 10)
        var parser = HTTP1RequestParser()
        let text = Array("POST / HTTP/\(version)\r\nHost: a\r\n\(lines)\r\n".utf8)
        text.withUnsafeBytes { #expect(parser.parse($0, into: &fields) == .complete(length: text.count)) }
        return parser.head
    }

    private func response(_ lines: String, version: String = "1.1", to method: L7Proxy.Method = .get) -> ResponseHead {
        var fields = FieldTable(capacity: 10)
        var parser = HTTP1ResponseParser(for: method)
        let text = Array("HTTP/\(version) \(lines)\r\n".utf8)
        text.withUnsafeBytes { #expect(parser.parse($0, into: &fields) == .complete(length: text.count)) }
        return parser.head
    }

    @Test func aClientKeepsItsConnection() {
        var connection = HTTP1DownstreamPersistence()
        for _ in 0..<2 {
            connection.requestBegan(request())
            #expect(connection.responseBegan(framing: .length(3)) == false)
            #expect(connection.responseEnded() == .nextRequest)
        }
        #expect(connection.inputEnded() == .close)
    }

    @Test func whatEndsAClientsConnection() {
        func ends(_ head: RequestHead, _ framing: BodyFraming = .none) -> Bool {
            var connection = HTTP1DownstreamPersistence()
            connection.requestBegan(head)
            let closes = connection.responseBegan(framing: framing)
            #expect(connection.responseEnded() == (closes ? .closeLingering : .nextRequest))
            return closes
        }
        #expect(!ends(request()))
        #expect(ends(request("Connection: close\r\n")))
        #expect(ends(request(version: "1.0")))
        // A proxy must not keep a connection with an HTTP/1.0 client, whatever it asks for (section 9.3).
        #expect(ends(request("Connection: keep-alive\r\n", version: "1.0")))
        #expect(ends(request(), .untilClose))
    }

    @Test func aBodyThatIsNotReadIsDiscardedOrGivenUp() {
        let post = request("Content-Length: 5\r\n")
        var reading = HTTP1DownstreamPersistence()
        reading.requestBegan(post)
        #expect(reading.responseBegan(framing: .none) == false)
        #expect(reading.responseEnded() == .discardRequestBody)
        #expect(reading.requestEnded() == .nextRequest)

        var abandoning = HTTP1DownstreamPersistence()
        abandoning.requestBegan(post)
        #expect(abandoning.responseBegan(framing: .none, abandonsBody: true) == true)
        #expect(abandoning.responseEnded() == .closeLingering)

        var whole = HTTP1DownstreamPersistence()
        whole.requestBegan(post)
        #expect(whole.requestEnded() == .wait)
        #expect(whole.responseBegan(framing: .none, abandonsBody: true) == false)
        #expect(whole.responseEnded() == .nextRequest)
    }

    @Test func aDrainIsAnnouncedOnce() {
        var idle = HTTP1DownstreamPersistence()
        #expect(idle.beginDrain() == .closeLingering)

        var early = HTTP1DownstreamPersistence()
        early.requestBegan(request())
        #expect(early.beginDrain() == .wait)
        #expect(early.responseBegan(framing: .none) == true)
        #expect(early.responseEnded() == .closeLingering)

        // The head was out: the client may have sent the next request already, whose response announces it.
        var late = HTTP1DownstreamPersistence()
        late.requestBegan(request())
        #expect(late.responseBegan(framing: .none) == false)
        #expect(late.beginDrain() == .wait)
        #expect(late.responseEnded() == .nextRequest)
        late.requestBegan(request())
        #expect(late.responseBegan(framing: .none) == true)
    }

    @Test func aClientThatClosesItsSideIsAnsweredIfItsRequestIsWhole() {
        var whole = HTTP1DownstreamPersistence()
        whole.requestBegan(request())
        #expect(whole.inputEnded() == .wait)
        #expect(whole.responseBegan(framing: .none) == true)
        #expect(whole.responseEnded() == .close)

        var partial = HTTP1DownstreamPersistence()
        partial.requestBegan(request("Content-Length: 5\r\n"))
        #expect(partial.inputEnded() == .close)

        var malformed = HTTP1DownstreamPersistence()
        #expect(malformed.requestFailed() == .closeLingering)
    }

    @Test func whatEndsABackendsConnection() {
        func next(
            _ head: ResponseHead, closes: Bool = false, request framing: BodyFraming = .none, ended: Bool = true,
            hasLeftover: Bool = false
        ) -> HTTP1UpstreamPersistence.Next {
            var connection = HTTP1UpstreamPersistence()
            connection.requestBegan(framing: framing, closes: closes)
            if ended { connection.requestEnded() }
            connection.responseBegan(response("100 Continue\r\n"))
            connection.responseBegan(head)
            return connection.responseEnded(framing: head.framing, hasLeftover: hasLeftover)
        }
        let whole = response("200 OK\r\nContent-Length: 1\r\n")
        #expect(next(whole) == .reuse)
        #expect(next(whole, closes: true) == .close)
        #expect(next(whole, hasLeftover: true) == .close)
        #expect(next(whole, request: .chunked, ended: false) == .close)
        #expect(next(whole, request: .chunked) == .reuse)
        #expect(next(response("200 OK\r\nContent-Length: 1\r\nConnection: close\r\n")) == .close)
        #expect(next(response("200 OK\r\n")) == .close)
        #expect(next(response("200 OK\r\nContent-Length: 1\r\n", version: "1.0")) == .close)
        #expect(next(response("200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n", version: "1.0")) == .reuse)
        #expect(next(response("200 OK\r\nConnection: keep-alive\r\n", version: "1.0")) == .close)
        #expect(next(response("200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n")) == .close)
        #expect(next(response("204 OK\r\nContent-Length: 1\r\n")) == .close)
        #expect(next(response("200 OK\r\n", to: .connect)) == .tunnel)
    }

    @Test func anInterimResponseWithABodyEndsTheConnection() {
        var connection = HTTP1UpstreamPersistence()
        connection.requestBegan(framing: .none)
        connection.responseBegan(response("103 X\r\nContent-Length: 5\r\n"))
        connection.responseBegan(response("200 OK\r\nContent-Length: 1\r\n"))
        #expect(connection.responseEnded(framing: .length(1), hasLeftover: false) == .close)
    }
}
