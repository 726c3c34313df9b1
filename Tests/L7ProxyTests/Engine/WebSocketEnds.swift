// SPDX-License-Identifier: Apache-2.0

@testable import L7Proxy

/// Backends that take WebSockets.
enum WebSocketEnds {
    /// The 101 to an upgrade of HTTP/1.1 with this head (RFC 6455 section 4.2.2).
    static func switched(_ head: String) -> String {
        let lines = head.split(separator: "\r\n")
        let key = lines.first { $0.lowercased().hasPrefix("sec-websocket-key: ") }?.dropFirst(19) ?? ""
        return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + "Sec-WebSocket-Accept: \(accept(String(key)))\r\n\r\n"
    }

    /// - Returns: Empty if it is no key.
    static func accept(_ key: String) -> String {
        var text = ""
        Array(key.utf8).withUnsafeBytes { key in
            guard key.count == WebSocketKey.length else { return }
            WebSocketAccept.withText(of: key) { text = String(decoding: $0, as: UTF8.self) }
        }
        return text
    }

    /// What a backend of HTTP/2 does with a request for a tunnel.
    enum Answer {
        /// Greets, and ends with what it was told when the client has ended.
        case answers
        /// Greets, and gives back what comes as it comes; takes no more in than it has given back.
        case echoes
        /// Says ``said``, and takes nothing in until it is asked for `/go`.
        case waits
        /// Greets and ends.
        case endsFirst
        case refuses
        case resets
        /// Greets, and resets the stream when it is told something.
        case breaks
    }

    /// What a backend says that does not wait to be told something.
    static let said = [UInt8](repeating: 0x73, count: 8 << 20)

    /// A backend of HTTP/2. Of each tunnel it keeps the path, whether it came as an extended CONNECT and its WebSocket
    /// fields, and at its end what it was told, or by which code it was reset.
    static func backend(_ answer: Answer, _ limits: HTTP2Limits = HTTP2Limits()) throws -> TestBackend {
        try TestBackend { backend, connection, _ in
            let end = End(backend, answer, H2Peer.server(limits))
            while end.send(connection), case .bytes(let bytes) = connection.receive() { end.receive(bytes) }
        }
    }

    /// One connection of such a backend.
    private final class End {
        let backend: TestBackend
        let answer: Answer
        let peer: H2Peer
        private var greeted: Set<Int32> = []
        private var ended: Set<Int32> = []
        private var answered: Set<Int32> = []
        /// Bytes that were given back, of each tunnel.
        private var echoed: [Int32: Int] = [:]
        private var takesIn = true

        init(_ backend: TestBackend, _ answer: Answer, _ peer: H2Peer) {
            self.backend = backend
            self.answer = answer
            self.peer = peer
            takesIn = answer != .waits
        }

        /// Sends all that there is to say now. - Returns: Whether the connection took it.
        func send(_ connection: TestConnection) -> Bool {
            while true {
                let bytes = peer.output()
                if bytes.isEmpty { return true }
                guard connection.send(bytes: bytes) else { return false }
                // What has left may make room for more.
                for (id, stream) in peer.recorder.live where answer == .echoes { echo(id, stream) }
            }
        }

        func receive(_ bytes: [UInt8]) {
            peer.receive(bytes)
            for id in peer.recorder.streams.keys.sorted() { look(id) }
            if answer != .echoes, takesIn { peer.consumeAll() }
        }

        private func look(_ id: Int32) {
            guard let message = peer.recorder.streams[id] else { return }
            let isTunnel = message.options.contains(.extendedConnect)
            if isTunnel, message.isWhole || message.closed != nil, ended.insert(id).inserted {
                let end = message.isWhole ? "end" : "\(message.closed ?? .noError)"
                backend.keep("\(end) \(String(decoding: message.body, as: UTF8.self))")
            }
            guard let stream = peer.recorder.live[id] else { return }
            if greeted.insert(id).inserted { return greet(stream, message) }
            switch answer {
            case .answers where message.isWhole && answered.insert(id).inserted:
                peer.session.offerBody(stream, peer.lend(message.body), isLast: true)
            case .echoes: echo(id, stream)
            case .breaks where !message.body.isEmpty: peer.session.reset(stream, .internalError)
            default: break
            }
        }

        private func greet(_ stream: HTTP2Stream, _ message: H2Message) {
            guard message.options.contains(.extendedConnect) else {
                backend.keep("\(message.first[0]) \(message.first[1])")
                takesIn = true
                return peer.respond(stream, 200, body: Array("plain".utf8))
            }
            let fields = message.fields.filter { $0.name.hasPrefix("sec-") || $0.name == "upgrade" }
            backend.keep("\(message.first[1]) \(fields.map { "\($0.name)=\($0.value)" }.sorted())")
            switch answer {
            case .answers, .echoes, .endsFirst, .breaks:
                peer.respond(
                    stream, 200, [("sec-websocket-protocol", "talk")], body: Array("hello ".utf8),
                    isLast: answer == .endsFirst)
            case .waits: peer.respond(stream, 200, body: WebSocketEnds.said)
            case .refuses: peer.respond(stream, 403, body: Array("no".utf8))
            case .resets: peer.session.reset(stream, .refusedStream)
            }
        }

        private func echo(_ id: Int32, _ stream: HTTP2Stream) {
            guard let message = peer.recorder.streams[id], message.options.contains(.extendedConnect),
                greeted.contains(id), !answered.contains(id)
            else { return }
            let given = echoed[id, default: 0]
            // The greeting has gone before.
            guard peer.recorder.sent[id, default: 0] == 6 + given else { return }
            guard message.body.count > given || message.isWhole else { return }
            peer.session.offerBody(stream, peer.lend(Array(message.body[given...])), isLast: message.isWhole)
            echoed[id] = message.body.count
            if message.isWhole { answered.insert(id) }
            peer.consumeAll()
        }
    }
}
