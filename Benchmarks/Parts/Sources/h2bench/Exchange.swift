// SPDX-License-Identifier: Apache-2.0

import L7Proxy

/// A client and a server session whose bytes are carried from one to the other.
final class Exchange {
    private let streams: Int
    private let client: HTTP2ClientSession
    private let server: HTTP2ServerSession
    private var requester: Requester
    private var responder: Responder
    private var requestHead = HTTP2HeadWriter()
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 * 1024, alignment: 16)
    private let request = Exchange.requestMemory
    private var requests = HTTP1RequestParser()
    private var requestFields = FieldTable(capacity: 100)
    private var now: UInt64 = 0

    private static nonisolated(unsafe) let requestMemory = Memory.of(requestText)  // Written by nobody.
    /// The request that h1bench has, too.
    private static let requestText = """
        GET /api/v1/products/1234567?lang=en&currency=eur HTTP/1.1\r
        Host: shop.production.svc.cluster.local:8080\r
        User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36\r
        Accept: application/json, text/plain, */*\r
        Accept-Encoding: gzip, deflate, br\r
        Accept-Language: en-GB,en;q=0.9\r
        Cookie: session=7f9c2ba4e88f827d616045507605853e; theme=dark\r
        X-Request-ID: 4bf92f35-77b3-4da6-a3ce-929d0e0e4736\r
        \r

        """

    /// Requests that were answered in full.
    var completed: Int { requester.completed }

    convenience init(streams: Int, responseBytes: Int) {
        let pool = HTTP2MemoryPool()
        self.init(
            client: HTTP2ClientSession(pool: pool, now: 0), server: HTTP2ServerSession(pool: pool, now: 0),
            streams: streams, responseBytes: responseBytes)
    }

    init(client: HTTP2ClientSession, server: HTTP2ServerSession, streams: Int, responseBytes: Int) {
        self.streams = streams
        self.client = client
        self.server = server
        requester = Requester(session: client)
        responder = Responder(server, bodyBytes: responseBytes)
    }

    deinit { buffer.deallocate() }

    /// As many requests at once as there are streams, until all are answered.
    func round() {
        now &+= 10
        let goal = requester.completed + streams
        for _ in 0..<streams {
            guard case .complete = requests.parse(request, into: &requestFields),
                let base = request.baseAddress
            else { preconditionFailure("the request is not valid") }
            requestHead.beginRequest(requests.head, &requestFields, in: base)
            requests.reset()
            guard case .success = requestHead.finish(),
                let stream = client.request(requestHead, method: .get, endOfStream: true)
            else { preconditionFailure("the request was not sent") }
            _ = stream
        }
        while requester.completed < goal {
            let up = client.send(into: buffer, now: now, &requester)
            if up > 0 {
                let progress = server.receive(UnsafeRawBufferPointer(rebasing: buffer[..<up]), now: now, &responder)
                precondition(progress == .open, "the server has ended the connection")
            }
            let down = server.send(into: buffer, now: now, &responder)
            if down > 0 {
                let progress = client.receive(UnsafeRawBufferPointer(rebasing: buffer[..<down]), now: now, &requester)
                precondition(progress == .open, "the client has ended the connection")
            }
            precondition(up + down > 0, "nothing moves any more")
        }
    }
}

enum Memory {
    /// Lives as long as the program.
    static func of(_ text: String) -> UnsafeRawBufferPointer {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: text.utf8.count, alignment: 16)
        memory.copyBytes(from: text.utf8)
        return UnsafeRawBufferPointer(memory)
    }
}

/// Counts what is answered.
struct Requester: HTTP2EventHandler {
    let session: HTTP2ClientSession
    var completed = 0

    mutating func handle(_ event: HTTP2Event) {
        switch event {
        case .data(let stream, let bytes): session.consume(stream, bytes.count)
        case .closed(_, let code):
            precondition(code == .noError, "a stream was reset: \(code)")
            completed &+= 1
        default: break
        }
    }
}

/// Answers each request with the same fields and a body.
struct Responder: HTTP2EventHandler, ~Copyable {
    private let session: HTTP2ServerSession
    private var head = HTTP2HeadWriter()
    private let body: UnsafeRawBufferPointer
    private static nonisolated(unsafe) let date = Memory.of("Tue, 15 Nov 1994 08:12:31 GMT")  // Written by nobody.

    init(_ session: HTTP2ServerSession, bodyBytes: Int) {
        self.session = session
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bodyBytes, alignment: 16)
        memory.initializeMemory(as: UInt8.self, repeating: 0x78)
        body = UnsafeRawBufferPointer(memory)
    }

    deinit { body.deallocate() }

    mutating func handle(_ event: HTTP2Event) {
        guard case .request(let stream, _) = event else { return }
        head.beginResponse(status: 200, contentLength: UInt64(body.count))
        head.field(.server, "api")
        head.field(.date, Self.date)
        head.field(.contentType, "application/json; charset=utf-8")
        head.field(.cacheControl, "no-store")
        head.field(.vary, "Accept-Encoding")
        guard case .success = head.finish() else { preconditionFailure("the response is not valid") }
        session.respond(stream, head, endOfStream: body.count == 0)
        if body.count > 0 { session.offerBody(stream, body, isLast: true) }
    }
}
