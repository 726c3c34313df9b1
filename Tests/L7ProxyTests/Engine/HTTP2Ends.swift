// SPDX-License-Identifier: Apache-2.0

import Synchronization

@testable import L7Proxy

/// A client of HTTP/2 over a real socket.
final class HTTP2TestClient {
    let peer: H2Peer
    let connection: TestConnection
    /// How the connection ended, if it has.
    private(set) var ended: TestConnection.Received?

    init(_ connection: TestConnection, _ limits: HTTP2Limits = HTTP2Limits()) {
        self.connection = connection
        peer = .client(limits)
    }

    /// What it was told about a stream.
    func message(_ stream: HTTP2Stream?) -> H2Message { peer.recorder.streams[stream?.id ?? 0] ?? H2Message() }

    /// Sends and receives until `condition` holds. - Returns: Whether it came to hold.
    @discardableResult
    func run(consumes: Bool = true, until condition: (H2Peer.Recorder) -> Bool) -> Bool {
        while true {
            connection.send(bytes: peer.output())
            if condition(peer.recorder) { return true }
            switch connection.receive() {
            case .bytes(let bytes): peer.receive(bytes)
            case let end:
                ended = end
                return condition(peer.recorder)
            }
            if consumes { peer.consumeAll() }
        }
    }

    /// Runs until the streams have ended.
    @discardableResult
    func finish(_ streams: HTTP2Stream?...) -> Bool {
        let ids = streams.map { $0?.id ?? 0 }
        return run { recorder in ids.allSatisfy { recorder.streams[$0]?.closed != nil } }
    }
}

/// What a backend of HTTP/2 was asked and told.
final class HTTP2Seen: Sendable {
    struct State {
        var requests: [H2Message] = []
        var closed: [HTTP2ErrorCode] = []
        /// The most streams that were open on one connection.
        var mostStreams = 0
        var received = 0
    }
    let state = Mutex(State())

    var requests: [H2Message] { state.withLock { $0.requests } }
    var closed: [HTTP2ErrorCode] { state.withLock { $0.closed } }
    var mostStreams: Int { state.withLock { $0.mostStreams } }
    var received: Int { state.withLock { $0.received } }
}

extension TestBackend {
    /// A backend of HTTP/2.
    ///
    /// - Parameters:
    ///   - consumes: Whether it takes request bodies in; otherwise its windows stay shut.
    ///   - gathers: So many requests must be there before any is answered.
    ///   - answer: Called once for each request that is whole.
    convenience init(
        http2 seen: HTTP2Seen, limits: HTTP2Limits = HTTP2Limits(), consumes: Bool = true, gathers: Int = 1,
        _ answer: @escaping @Sendable (H2Peer, HTTP2Stream, H2Message) -> Void
    ) throws {
        try self.init { _, connection, _ in
            let peer = H2Peer.server(limits)
            var answered: Set<Int32> = []
            while true {
                connection.send(bytes: peer.output())
                guard case .bytes(let bytes) = connection.receive() else { return }
                peer.receive(bytes)
                if consumes { peer.consumeAll() }
                let closed = peer.recorder.streams.values.compactMap(\.closed)
                let received = peer.recorder.streams.values.reduce(0) { $0 + $1.body.count }
                seen.state.withLock {
                    $0.mostStreams = max($0.mostStreams, peer.recorder.live.count)
                    $0.closed = closed
                    $0.received = received
                }
                let whole = peer.recorder.streams.filter { $0.value.isWhole && !answered.contains($0.key) }
                if whole.count < gathers { continue }
                for (id, message) in whole.sorted(by: { $0.key < $1.key }) {
                    guard let stream = peer.recorder.live[id] else { continue }
                    answered.insert(id)
                    seen.state.withLock { $0.requests.append(message) }
                    answer(peer, stream, message)
                }
            }
        }
    }
}
