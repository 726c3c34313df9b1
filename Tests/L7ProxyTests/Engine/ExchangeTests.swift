// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// RFC 9112 over real sockets: requests and responses through a worker.
@Suite(.serialized) struct ExchangeTests {
    @Test func aRequestIsForwardedAndAnsweredOnKeptConnections() throws {
        let backend = try TestBackend { _ in TestBackend.ok("hello") }
        let rig = try Rig([backend.port])
        let client = rig.client()
        for number in 0..<3 {
            client.send(
                "GET /\(number)?q=1 HTTP/1.1\r\nHost: web\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nA: b\r\n\r\n")
            #expect(client.readMessage() == "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        }
        // RFC 9110 section 7.6.1: what is the connection's does not go on.
        #expect(
            backend.requests == (0..<3).map { "GET /\($0)?q=1 HTTP/1.1\r\nHost: web\r\nA: b\r\n\r\n" })
        #expect(backend.connections == 1)
        let records = rig.recorder.wait(for: 3)
        #expect(records.map(\.status) == [200, 200, 200])
        #expect(records.map(\.responseBytes) == [5, 5, 5])
        #expect(records.map { $0.flags.contains(.reusedConnection) } == [false, true, true])
        #expect(records[0].origin.sourceIdentity == 42)
        #expect(rig.counters().buffers == 0, "idle connections hold no memory")
    }

    @Test func pipelinedRequestsAreAnsweredInOrderOneAtATime() throws {
        // RFC 9112 section 9.3.2.
        let backend = try TestBackend { request in TestBackend.ok(String(request.prefix(6))) }
        let rig = try Rig([backend.port])
        let client = rig.client()
        let all = (0..<40).map { "GET /\($0 % 10) HTTP/1.1\r\nHost: web\r\n\r\n" }
        client.send(all.joined())
        for number in 0..<40 { #expect(client.readMessage().hasSuffix("GET /\(number % 10)")) }
        #expect(backend.connections == 1)
    }

    @Test(arguments: [1, 7, 1000])
    func aRequestThatComesInPiecesIsTheSame(_ size: Int) throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let rig = try Rig([backend.port])
        let client = rig.client()
        let text = "POST /x HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        let bytes = Array(text.utf8)
        for start in stride(from: 0, to: bytes.count, by: size) {
            client.send(bytes: Array(bytes[start..<min(start + size, bytes.count)]))
        }
        #expect(client.readMessage().hasSuffix("ok"))
        let body = backend.requests[0].components(after: "\r\n\r\n")
        #expect(TestChunks.decode(body) == "abcde")
        #expect(rig.recorder.wait(for: 1)[0].requestBytes == 5)
    }

    struct Framing: Sendable {
        let response: String
        let body: String
        var method = "GET"
        var closes = false
    }

    @Test(arguments: [
        Framing(
            response: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n",
            body: "abc"),
        Framing(response: "HTTP/1.1 204 No Content\r\n\r\n", body: ""),
        Framing(response: "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", body: ""),
        Framing(response: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", body: "", method: "HEAD"),
        Framing(response: "HTTP/1.1 200 OK\r\n\r\nuntil the end", body: "until the end", closes: true),
        Framing(response: "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold", body: "old", closes: true),
    ])
    func eachKindOfBodyEndsWhereItEnds(_ framing: Framing) throws {
        // RFC 9112 section 6.3.
        let backend = try TestBackend { _, connection, _ in
            while !connection.readHead().isEmpty {
                connection.send(framing.response)
                if framing.closes { return }
            }
        }
        let rig = try Rig([backend.port])
        let client = rig.client()
        for _ in 0..<2 {
            client.send("\(framing.method) / HTTP/1.1\r\nHost: web\r\n\r\n")
            let head = client.readHead()
            if head.contains("chunked") {
                #expect(
                    TestChunks.decode(client.read(until: framing.body == "abc" ? "X: y\r\n\r\n" : "0\r\n\r\n"))
                        == framing.body)
            } else if !framing.body.isEmpty {
                #expect(String(decoding: client.read(count: framing.body.utf8.count), as: UTF8.self) == framing.body)
            }
            // RFC 9110 section 8.6: the length of an answer to HEAD, and of a 304, is passed on.
            #expect(head.contains("Content-Length: 9") == framing.response.contains("Content-Length: 9"))
        }
        #expect(backend.connections == (framing.closes ? 2 : 1))
    }

    @Test func aClientOfHTTP10GetsNoChunksAndAClosedConnection() throws {
        // RFC 9112 sections 6.1 and 9.3.
        let backend = try TestBackend { _, connection, _ in
            _ = connection.readHead()
            connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
            _ = connection.readHead()
        }
        let rig = try Rig([backend.port])
        let client = rig.client()
        client.send("GET / HTTP/1.0\r\nHost: web\r\n\r\n")
        let (text, end) = client.readToEnd()
        #expect(text == "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc")
        #expect(end == .end)
    }

    @Test func interimResponsesAndTheBodyThatWaitsForThem() throws {
        // RFC 9110 sections 10.1.1 and 15.2.
        let backend = try TestBackend { _, connection, _ in
            _ = connection.readHead()
            connection.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
            let body = connection.read(count: 4)
            connection.send(TestBackend.ok(String(decoding: body, as: UTF8.self)))
            _ = connection.readHead()
        }
        let rig = try Rig([backend.port])
        let client = rig.client()
        client.send("POST / HTTP/1.1\r\nHost: web\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        #expect(client.readHead() == "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        #expect(client.readHead() == "HTTP/1.1 100 Continue\r\n\r\n")
        client.send("body")
        #expect(client.readMessage() == TestBackend.ok("body"))
    }

    @Test func aFinalAnswerInsteadOf100EndsTheConnection() throws {
        // RFC 9110 section 10.1.1: whether the body follows is not known.
        let backend = try TestBackend { _, connection, _ in
            _ = connection.readHead()
            connection.send("HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
            _ = connection.readHead()
        }
        let rig = try Rig([backend.port])
        let client = rig.client()
        client.send("POST / HTTP/1.1\r\nHost: web\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        #expect(client.readToEnd().text == "HTTP/1.1 417 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    }

    @Test func aClientThatHasSentItsEndStillGetsItsResponse() throws {
        // RFC 9112 section 9.6: half-close.
        let backend = try TestBackend { _ in TestBackend.ok("late") }
        let rig = try Rig([backend.port])
        let client = rig.client()
        client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        client.endOutput()
        let (text, end) = client.readToEnd()
        #expect(text.hasSuffix("late"))
        #expect(end == .end)
    }

    @Test func aTunnelCarriesBytesBothWaysAndEachEnd() throws {
        // RFC 9110 section 7.8.
        let backend = try TestBackend { _, connection, _ in
            _ = connection.readHead()
            connection.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhi ")
            let (text, _) = connection.readToEnd()
            connection.send("[\(text)]")
        }
        let rig = try Rig([backend.port])
        let client = rig.client()
        client.send("GET / HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nfirst ")
        let head = client.readHead()
        #expect(
            head.hasPrefix("HTTP/1.1 101 ") && head.contains("Upgrade: echo") && head.contains("Connection: upgrade"))
        client.send("second")
        client.endOutput()
        let (text, end) = client.readToEnd()
        #expect(text == "hi [first second]")
        #expect(end == .end)
        let record = rig.recorder.wait(for: 1)[0]
        #expect(record.reason == .tunnelEnded && record.status == 101 && record.flags.contains(.upgraded))
        // Heads are not counted, what came with them is.
        #expect(record.requestBytes == 12 && record.responseBytes == 17)
    }
}

enum TestChunks {
    static func decode(_ text: String) -> String {
        var rest = text[...]
        var body = ""
        while let line = rest.firstRange(of: "\r\n") {
            let size = Int(rest[..<line.lowerBound].prefix { $0.isHexDigit }, radix: 16) ?? 0
            if size == 0 { return body }
            let start = line.upperBound
            let end = rest.utf8.index(start, offsetBy: size)
            body += rest[start..<end]
            rest = rest[rest.utf8.index(end, offsetBy: 2)...]
        }
        return body
    }
}

extension String {
    func components(after mark: String) -> String {
        firstRange(of: mark).map { String(self[$0.upperBound...]) } ?? ""
    }
}
