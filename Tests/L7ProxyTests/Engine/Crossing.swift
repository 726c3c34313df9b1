// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// One request through a worker, in one of the four combinations of protocols.
struct Crossing: Sendable, CustomTestStringConvertible {
    let client: Int
    let backend: Int

    static let all = [
        Crossing(client: 1, backend: 1), Crossing(client: 1, backend: 2), Crossing(client: 2, backend: 1),
        Crossing(client: 2, backend: 2),
    ]

    var testDescription: String { "h\(client) to h\(backend)" }

    /// What came out at both ends. Names of fields in lower case; those of framing left out.
    struct Outcome {
        /// What the backend was asked; `nil`: it was not.
        var request: ReadMessage?
        var response: ReadMessage

        var status: String { response.first.first ?? "" }

        /// Of lines with that name, in order.
        func asked(_ name: String) -> [String] { Self.values(request?.fields ?? [], name) }
        func answered(_ name: String) -> [String] { Self.values(response.fields, name) }

        private static func values(_ fields: [ReadField], _ name: String) -> [String] {
            fields.filter { $0.name.lowercased() == name }.map(\.value)
        }
    }

    /// Sends a request that is given as HTTP/1 writes it.
    ///
    /// - Parameters:
    ///   - lines: Of the response, each with its end; of the connection only if the backend speaks HTTP/1.
    ///   - body: Of the response.
    func run(
        _ request: String, status: UInt16 = 200, _ lines: [(String, String)] = [], body: [UInt8] = Array("ok".utf8)
    ) throws -> Outcome {
        let seen = HTTP2Seen()
        let server =
            if backend == 1 {
                try TestBackend { backend, connection, _ in
                    while true {
                        let request = connection.readMessage()
                        if request.isEmpty { return }
                        backend.keep(request)
                        let text = lines.map { "\($0.0): \($0.1)\r\n" }.joined()
                        connection.send("HTTP/1.1 \(status) X\r\n\(text)Content-Length: \(body.count)\r\n\r\n")
                        connection.send(bytes: body)
                    }
                }
            } else {
                try TestBackend(http2: seen) { peer, stream, _ in peer.respond(stream, status, lines, body: body) }
            }
        let rig = try Rig([server.port], appProtocol: backend == 1 ? nil : "kubernetes.io/h2c")
        let response = client == 1 ? ask(rig, request) : askHTTP2(rig, request)
        return Outcome(request: asked(server, seen), response: try #require(response))
    }

    private func ask(_ rig: Rig, _ request: String) -> ReadMessage? {
        let connection = rig.client()
        connection.send(request)
        return Reading.of(.response(to: .get), connection.readMessage()).message
    }

    private func askHTTP2(_ rig: Rig, _ request: String) -> ReadMessage? {
        let connection = HTTP2TestClient(rig.client())
        let stream = connection.peer.request(request)
        guard connection.finish(stream) else { return nil }
        let message = connection.message(stream)
        return ReadMessage(first: message.first, fields: message.fields, body: message.body)
    }

    private func asked(_ server: TestBackend, _ seen: HTTP2Seen) -> ReadMessage? {
        if backend == 1 { return server.requests.first.flatMap { Reading.of(.request, $0).message } }
        return seen.requests.first.map {
            ReadMessage(first: $0.first, authority: $0.authority, fields: $0.fields, body: $0.body)
        }
    }
}
