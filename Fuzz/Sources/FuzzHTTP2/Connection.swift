// SPDX-License-Identifier: Apache-2.0

import L7Proxy

/// One end of a connection that reads bytes, and what it was told.
enum Connection {
    /// What was told, without how content was cut.
    struct Outcome: Equatable {
        var log: [String] = []
        var bodies: [Int32: [UInt8]] = [:]
        var progress = HTTP2Session.Progress.open
        var failure: HTTP2Failure?
    }

    private struct Handler: HTTP2EventHandler {
        var outcome = Outcome()
        /// What to do when the session's call has returned, as an engine would.
        var requests: [HTTP2Stream] = []
        var consumed: [(HTTP2Stream, Int)] = []

        /// After it the connection is over when its last stream is, and whether bytes behind that are looked at depends
        /// on the pieces: nothing more is compared.
        var hasGoAway = false

        mutating func handle(_ event: HTTP2Event) {
            guard !hasGoAway else { return }
            switch event {
            case .request(let stream, let ended):
                requests.append(stream)
                outcome.log.append("request \(stream.id) \(ended) \(Connection.http1(stream))")
            case .interim(let stream): outcome.log.append("interim \(stream.id) \(stream.response.status)")
            case .response(let stream, let ended):
                outcome.log.append("response \(stream.id) \(ended) \(Connection.http1Response(stream))")
            case .data(let stream, let bytes):
                outcome.bodies[stream.id, default: []] += Array(bytes)
                consumed.append((stream, bytes.count))
            case .trailers(let stream):
                outcome.log.append("trailers \(stream.id) \(stream.withTrailers { trailers, _ in trailers.count })")
            case .end(let stream): outcome.log.append("end \(stream.id)")
            case .sent, .frame: break
            case .closed(let stream, let code):
                outcome.log.append("closed \(stream.id) \(code)")
                // How much comes before an error is seen depends on the pieces.
                if code != .noError { outcome.bodies[stream.id] = nil }
            case .refused(let id, let defect): outcome.log.append("refused \(id) \(defect)")
            case .goAway(let last, let code):
                outcome.log.append("goaway \(last) \(code)")
                hasGoAway = true
            case .settings: outcome.log.append("settings")
            case .pong(let payload): outcome.log.append("pong \(payload)")
            }
        }
    }

    static func read(isServer: Bool, _ pieces: [[UInt8]]) -> Outcome {
        var limits = HTTP2Limits()
        limits.concurrentStreams = 8
        limits.headerListBytes = 2048
        limits.fields = 20
        limits.trailerFields = 8
        limits.trailerListBytes = 512
        limits.headerBlockBytes = 8192
        var handler = Handler()
        let pool = HTTP2MemoryPool()
        let session: HTTP2Session =
            isServer
            ? HTTP2ServerSession(limits: limits, pool: pool, now: 0)
            : HTTP2ClientSession(limits: limits, pool: pool, now: 0)
        if let client = session as? HTTP2ClientSession { request(client) }
        for piece in pieces {
            handler.outcome.progress = piece.withUnsafeBytes { session.receive($0, now: 1, &handler) }
        }
        // Answers and windows come when all has been read: when bytes arrive must not change what is told.
        for (stream, count) in handler.consumed { session.consume(stream, count) }
        if let server = session as? HTTP2ServerSession { answer(server, handler.requests) }
        flush(session, &handler)
        if handler.hasGoAway {
            handler.outcome.progress = .open
        } else {
            handler.outcome.failure = session.failure
            // As with a stream that was reset.
            if session.failure != nil {
                handler.outcome.bodies = [:]
                // Nor is the end of a stream told which the same piece breaks.
                handler.outcome.log.removeAll { $0.hasPrefix("end ") }
            }
        }
        return handler.outcome
    }

    private static func request(_ client: HTTP2ClientSession) {
        var writer = HTTP2HeadWriter()
        for _ in 0..<3 {
            Array("/a".utf8).withUnsafeBytes { path in
                Array("a".utf8).withUnsafeBytes { authority in
                    writer.beginRequest(method: "GET", path: path, authority: authority)
                    _ = writer.finish()
                    _ = client.request(writer, method: .get, endOfStream: true)
                }
            }
        }
        var handler = Handler()
        flush(client, &handler)
    }

    /// Never written again.
    private nonisolated(unsafe) static let body: UnsafeRawBufferPointer = {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 3000, alignment: 16)
        memory.initializeMemory(as: UInt8.self, repeating: 0x61)
        return UnsafeRawBufferPointer(memory)
    }()

    private static func answer(_ server: HTTP2ServerSession, _ streams: [HTTP2Stream]) {
        var writer = HTTP2HeadWriter()
        for stream in streams where stream.isCurrent {
            writer.beginResponse(status: 200)
            _ = writer.finish()
            server.respond(stream, writer, endOfStream: false)
            server.offerBody(stream, body, isLast: true)
        }
    }

    private static func flush(_ session: HTTP2Session, _ handler: inout Handler) {
        var buffer = [UInt8](repeating: 0, count: 1000)
        while buffer.withUnsafeMutableBytes({ session.send(into: $0, now: 1, &handler) }) > 0 {}
    }

    /// The head as HTTP/1, which must be one message that is accepted.
    private static func http1(_ stream: HTTP2Stream) -> String {
        let head = stream.request
        var out = [UInt8](repeating: 0, count: HTTP1HeadWriter.bound(forwarding: head.length))
        let written = stream.withFields { fields, message in
            out.withUnsafeMutableBytes {
                var writer = HTTP1HeadWriter($0)
                writer.beginRequest(head, &fields, in: message)
                return writer.finish()
            }
        }
        guard case .success(let count) = written else { preconditionFailure("a head was not forwarded: \(written)") }
        var parser = HTTP1RequestParser()
        var fields = FieldTable(capacity: 30)
        let again = out[..<count].withUnsafeBytes { parser.parse($0, into: &fields) }
        precondition(again == .complete(length: count), "what is forwarded is not one message: \(again)")
        precondition(parser.head.method == head.method, "the method changed")
        return String(decoding: out[..<count], as: UTF8.self)
    }

    private static func http1Response(_ stream: HTTP2Stream) -> String {
        let head = stream.response
        var out = [UInt8](repeating: 0, count: HTTP1HeadWriter.bound(forwarding: head.length))
        let written = stream.withFields { fields, message in
            out.withUnsafeMutableBytes {
                var writer = HTTP1HeadWriter($0)
                _ = writer.beginResponse(head, &fields, in: message)
                return writer.finish()
            }
        }
        guard case .success(let count) = written else { preconditionFailure("a head was not forwarded: \(written)") }
        var parser = HTTP1ResponseParser(for: .get)
        var fields = FieldTable(capacity: 30)
        let again = out[..<count].withUnsafeBytes { parser.parse($0, into: &fields) }
        precondition(again == .complete(length: count), "what is forwarded is not one message: \(again)")
        return String(decoding: out[..<count], as: UTF8.self)
    }
}
