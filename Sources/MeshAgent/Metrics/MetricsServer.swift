// SPDX-License-Identifier: Apache-2.0

import LinuxIO

/// Serves `GET /metrics` by HTTP/1.1 to Prometheus, one request for each connection.
///
/// What a stranger can cost is bounded: connections, bytes of a request, time.
final class MetricsServer {
    static let contentType = "text/plain; version=0.0.4; charset=utf-8"
    private static let mostConnections = 16
    private static let longestRequest = 8192
    private static let time = Duration.seconds(15)

    /// One client.
    private final class Client {
        let descriptor: CInt
        var watch: EventLoop.Watch?
        var timer: EventLoop.Timer?
        var request: [UInt8] = []
        var response: [UInt8] = []
        var sent = 0

        init(_ descriptor: CInt) { self.descriptor = descriptor }
    }

    private let loop: EventLoop
    private let listener: OwnedDescriptor
    private let page: (@escaping ([UInt8]) -> Void) -> Void
    private var clients: [ObjectIdentifier: Client] = [:]
    private var watch: EventLoop.Watch?

    /// Where it listens, with the port that was chosen if 0 was asked for.
    var endpoint: StreamEndpoint? { StreamSocket.localEndpoint(listener.rawValue) }

    /// - Parameter page: makes a page; calls back once, from the loop.
    /// - Throws: ``SystemError``; EADDRINUSE if something else listens there, EADDRNOTAVAIL if the node has no such
    ///   address.
    init(
        on loop: EventLoop, at endpoint: StreamEndpoint, page: @escaping (@escaping ([UInt8]) -> Void) -> Void
    ) throws(SystemError) {
        self.loop = loop
        self.page = page
        listener = try StreamSocket.listen(at: endpoint, backlog: 64)
        watch = try loop.watch(listener.rawValue, for: .readable) { [weak self] _ in self?.accept() }
    }

    deinit {
        if let watch { loop.unwatch(watch) }
        for client in clients.values { close(client) }
    }

    private func accept() {
        while true {
            var peer = StreamEndpoint(high: 0, low: 0, port: 0)
            let raw = StreamSocket.accept(listener.rawValue, from: &peer)
            guard raw >= 0 else { return }
            let client = Client(CInt(raw))
            guard clients.count < Self.mostConnections,
                let watch = try? loop.watch(client.descriptor, for: .readable, { [weak self] _ in self?.read(client) })
            else {
                StreamSocket.close(client.descriptor)
                continue
            }
            client.watch = watch
            client.timer = loop.schedule(after: Self.time) { [weak self] in self?.end(client) }
            clients[ObjectIdentifier(client)] = client
        }
    }

    private func read(_ client: Client) {
        var block = [UInt8](repeating: 0, count: 4096)
        let count = block.withUnsafeMutableBytes { memory in
            memory.baseAddress.map { StreamSocket.receive(client.descriptor, $0, memory.count) } ?? 0
        }
        if count == StreamSocket.wouldBlock || count == StreamSocket.interrupted { return }
        guard count > 0, client.request.count + count <= Self.longestRequest else { return end(client) }
        client.request += block[..<count]
        guard Self.isWhole(client.request) else { return }
        // Nothing more is read.
        if let watch = client.watch { loop.unwatch(watch) }
        client.watch = nil
        answer(client)
    }

    private static func isWhole(_ request: [UInt8]) -> Bool {
        let end: [UInt8] = [13, 10, 13, 10]
        return request.count >= 4 && request.indices.dropLast(3).contains { request[$0..<($0 + 4)].elementsEqual(end) }
    }

    private func answer(_ client: Client) {
        let line = String(decoding: client.request.prefix { $0 != 13 }, as: UTF8.self).split(separator: " ")
        guard line.count == 3, line[2].hasPrefix("HTTP/1.") else { return respond(client, "400 Bad Request", []) }
        guard line[0] == "GET" || line[0] == "HEAD" else { return respond(client, "405 Method Not Allowed", []) }
        guard line[1].prefix(while: { $0 != "?" }) == "/metrics" else {
            return respond(client, "404 Not Found", Array("metrics are at /metrics\n".utf8))
        }
        let isHead = line[0] == "HEAD"
        page { [weak self, weak client] page in
            guard let self, let client else { return }
            respond(client, "200 OK", page, isHead: isHead)
        }
    }

    private func respond(_ client: Client, _ status: String, _ body: [UInt8], isHead: Bool = false) {
        // It may have been given up meanwhile.
        guard clients[ObjectIdentifier(client)] != nil else { return }
        let head =
            "HTTP/1.1 \(status)\r\nContent-Type: \(Self.contentType)\r\nContent-Length: \(body.count)\r\n"
            + "Connection: close\r\n\r\n"
        client.response = Array(head.utf8) + (isHead ? [] : body)
        client.watch = try? loop.watch(client.descriptor, for: .writable) { [weak self] _ in self?.write(client) }
        if client.watch == nil { end(client) }
    }

    private func write(_ client: Client) {
        while client.sent < client.response.count {
            let count = client.response.withUnsafeBytes { memory in
                memory.baseAddress.map {
                    StreamSocket.send(client.descriptor, $0 + client.sent, memory.count - client.sent)
                } ?? 0
            }
            if count == StreamSocket.wouldBlock { return }
            guard count > 0 else { return end(client) }
            client.sent += count
        }
        StreamSocket.endOutput(client.descriptor)
        end(client)
    }

    private func end(_ client: Client) {
        guard clients.removeValue(forKey: ObjectIdentifier(client)) != nil else { return }
        close(client)
    }

    private func close(_ client: Client) {
        if let watch = client.watch { loop.unwatch(watch) }
        if let timer = client.timer { loop.cancel(timer) }
        StreamSocket.close(client.descriptor)
    }
}

@available(*, unavailable)
extension MetricsServer: Sendable {}
