// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// What one side of a connection was told about one stream, as text.
struct H2Message: Equatable {
    var first: [String] = []
    var authority = ""
    var fields: [ReadField] = []
    var framing: BodyFraming = .none
    var options: HeadOptions = []
    var interim: [String] = []
    var body: [UInt8] = []
    var trailers: [ReadField] = []
    var isWhole = false
    var closed: HTTP2ErrorCode?
}

/// One end of a connection with all that it was told.
final class H2Peer {
    struct Recorder: HTTP2EventHandler {
        var streams: [Int32: H2Message] = [:]
        var live: [Int32: HTTP2Stream] = [:]
        var log: [String] = []
        var refused: [MalformedMessage] = []
        var goAways: [HTTP2ErrorCode] = []
        var pongs: [UInt64] = []
        var sent: [Int32: Int] = [:]
        /// Frames that were made in place, of the call that is going on.
        var framed: [[UInt8]] = []
        /// Data that was told and is not consumed yet.
        var unconsumed: [Int32: Int] = [:]
        var onRequest: ((HTTP2Stream) -> Void)?
        var onData: ((HTTP2Stream, Int) -> Void)?

        mutating func handle(_ event: HTTP2Event) {
            switch event {
            case .request(let stream, let ended):
                live[stream.id] = stream
                var message = H2Message()
                let head = stream.request
                stream.withFields { fields, base in
                    let target = text(head.target, base)
                    message.first = [
                        text(head.methodRange, base), target, text(head.path, base), text(head.query, base),
                    ]
                    message.authority = text(head.authority, base)
                    message.fields = list(fields, base)
                }
                (message.framing, message.options, message.isWhole) = (head.framing, head.options, ended)
                streams[stream.id] = message
                log.append("request \(stream.id)\(ended ? " end" : "")")
                onRequest?(stream)
            case .interim(let stream):
                streams[stream.id, default: H2Message()].interim.append("\(stream.response.status)")
                log.append("interim \(stream.id)")
            case .response(let stream, let ended):
                live[stream.id] = stream
                var message = streams[stream.id] ?? H2Message()
                let head = stream.response
                stream.withFields { fields, base in
                    message.first = ["\(head.status)", text(head.reason, base)]
                    message.fields = list(fields, base)
                }
                (message.framing, message.options, message.isWhole) = (head.framing, head.options, ended)
                streams[stream.id] = message
                log.append("response \(stream.id)\(ended ? " end" : "")")
            case .data(let stream, let bytes):
                streams[stream.id]?.body += Array(bytes)
                unconsumed[stream.id, default: 0] += bytes.count
                onData?(stream, bytes.count)
            case .trailers(let stream):
                let trailers = stream.withTrailers { list($0, $1) }
                streams[stream.id]?.trailers = trailers
                streams[stream.id]?.isWhole = true
                log.append("trailers \(stream.id)")
            case .end(let stream):
                streams[stream.id]?.isWhole = true
                log.append("end \(stream.id)")
            case .sent(let stream, let count):
                sent[stream.id, default: 0] += count
            case .closed(let stream, let code):
                streams[stream.id, default: H2Message()].closed = code
                live[stream.id] = nil
                log.append("closed \(stream.id) \(code)")
            case .refused(let id, let defect):
                refused.append(defect)
                log.append("refused \(id) \(defect)")
            case .goAway(let last, let code):
                goAways.append(code)
                log.append("goaway \(last) \(code)")
            case .settings: log.append("settings")
            case .pong(let payload): pongs.append(payload)
            case .frame(let bytes): framed += [Array(bytes)]
            }
        }

        private func list(_ fields: borrowing FieldTable, _ base: UnsafeRawPointer) -> [ReadField] {
            var all: [ReadField] = []
            for position in 0..<fields.count where !fields[position].isDropped {
                all.append(ReadField(text(fields[position].nameRange, base), text(fields[position].valueRange, base)))
            }
            return all
        }

        private func text(_ range: ByteRange, _ base: UnsafeRawPointer) -> String {
            String(String.UnicodeScalarView(range.bytes(in: base).map { UnicodeScalar($0) }))
        }
    }

    let session: HTTP2Session
    var recorder = Recorder()
    var writer = HTTP2HeadWriter()
    /// Bodies on offer, kept where they are until the end.
    private var lent: [UnsafeMutableRawBufferPointer] = []
    var now: UInt64 = 1
    /// Frames that were made in place so far.
    private(set) var framedCount = 0

    static func server(_ limits: HTTP2Limits = HTTP2Limits()) -> H2Peer {
        H2Peer(HTTP2ServerSession(limits: limits, pool: HTTP2MemoryPool(), now: 1))
    }

    static func client(_ limits: HTTP2Limits = HTTP2Limits()) -> H2Peer {
        H2Peer(HTTP2ClientSession(limits: limits, pool: HTTP2MemoryPool(), now: 1))
    }

    init(_ session: HTTP2Session) { self.session = session }

    deinit { for buffer in lent { buffer.deallocate() } }

    var server: HTTP2ServerSession { session as! HTTP2ServerSession }
    var client: HTTP2ClientSession { session as! HTTP2ClientSession }

    @discardableResult
    func receive(_ bytes: [UInt8]) -> HTTP2Session.Progress {
        bytes.withUnsafeBytes { session.receive($0, now: now, &recorder) }
    }

    /// All that the session has to send now.
    func output(room: Int = 32 * 1024) -> [UInt8] {
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: room)
        while true {
            let count = buffer.withUnsafeMutableBytes { session.send(into: $0, now: now, &recorder) }
            let framed = recorder.framed
            recorder.framed = []
            framedCount += framed.count
            all += framed.joined()
            all += buffer[..<count]
            if count == 0, framed.isEmpty { return all }
        }
    }

    /// Gives back the windows of all data that came.
    func consumeAll() {
        for (id, count) in recorder.unconsumed {
            if let stream = recorder.live[id] { session.consume(stream, count) }
        }
        recorder.unconsumed = [:]
    }

    /// The same with room for a frame's header in front.
    func lendFramed(_ bytes: [UInt8]) -> UnsafeMutableRawBufferPointer {
        let room = HTTP2Session.frameRoom
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: room + bytes.count, alignment: 16)
        let body = UnsafeMutableRawBufferPointer(rebasing: memory[room...])
        body.copyBytes(from: bytes)
        lent.append(memory)
        return body
    }

    func lend(_ bytes: [UInt8]) -> UnsafeRawBufferPointer {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(bytes.count, 1), alignment: 16)
        memory.copyBytes(from: bytes)
        lent.append(memory)
        return UnsafeRawBufferPointer(rebasing: memory[..<bytes.count])
    }
}

extension H2Peer {
    /// Sends a request that is given as HTTP/1 writes it.
    ///
    /// - Parameter tunnel: Makes it an extended CONNECT for this protocol.
    @discardableResult
    func request(
        _ head: String, body: [UInt8]? = nil, isLast: Bool = true, tunnel: String? = nil
    ) -> HTTP2Stream? {
        var fields = FieldTable(capacity: 100)
        var parser = HTTP1RequestParser()
        return Array(head.utf8).withUnsafeBytes { message in
            guard case .complete = parser.parse(message, into: &fields) else { return nil }
            var forwarding = HTTP2RequestForwarding()
            forwarding.protocolName = tunnel.map { lend(Array($0.utf8)) }
            writer.beginRequest(parser.head, &fields, in: message.baseAddress!, forwarding)
            guard case .success = writer.finish() else { return nil }
            guard
                let stream = client.request(
                    writer, method: tunnel == nil ? parser.head.method : .connect, endOfStream: body == nil)
            else { return nil }
            if let body { session.offerBody(stream, lend(body), isLast: isLast) }
            return stream
        }
    }

    func get(_ path: String = "/") -> HTTP2Stream? { request("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n") }

    func respond(
        _ stream: HTTP2Stream, _ status: UInt16 = 200, _ fields: [(String, String)] = [], body: [UInt8]? = nil,
        isLast: Bool = true
    ) {
        writer.beginResponse(status: status)
        for (name, value) in fields {
            let lentName = lend(Array(name.utf8))
            let lentValue = lend(Array(value.utf8))
            writer.field(named: lentName, lentValue)
        }
        guard case .success = writer.finish() else { preconditionFailure("the response is not valid") }
        server.respond(stream, writer, endOfStream: body == nil)
        if let body { session.offerBody(stream, lend(body), isLast: isLast) }
    }

    @discardableResult
    func trailers(_ stream: HTTP2Stream, _ fields: [(String, String)]) -> Bool {
        session.offerTrailers(stream) { add in
            for (name, value) in fields { add(self.lend(Array(name.utf8)), self.lend(Array(value.utf8))) }
        }
    }
}

/// A client and a server session of ours, joined.
final class H2Link {
    let client: H2Peer
    let server: H2Peer
    /// How many bytes at a time cross; 0 for all.
    var piece = 0

    init(client: HTTP2Limits = HTTP2Limits(), server: HTTP2Limits = HTTP2Limits()) {
        self.client = .client(client)
        self.server = .server(server)
    }

    convenience init(client: H2Peer) { self.init(client: client, server: .server()) }

    init(client: H2Peer = .client(), server: H2Peer) {
        self.client = client
        self.server = server
    }

    /// Exchanges bytes until neither has any, and gives windows back.
    func settle(consume: Bool = true) {
        while true {
            if consume {
                client.consumeAll()
                server.consumeAll()
            }
            let up = client.output()
            let down = server.output()
            if up.isEmpty, down.isEmpty { return }
            deliver(up, to: server)
            deliver(down, to: client)
        }
    }

    func deliver(_ bytes: [UInt8], to peer: H2Peer) {
        guard piece > 0 else {
            peer.receive(bytes)
            return
        }
        var rest = bytes[...]
        while !rest.isEmpty {
            peer.receive(Array(rest.prefix(piece)))
            rest = rest.dropFirst(piece)
        }
    }
}
