// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// WebSockets between a connection of HTTP/1.1 and a stream (RFC 8441), whichever of them is the client's.
///
/// Key and accept are of HTTP/1.1 alone (section 5): the proxy answers a client's key itself, and gives a backend a key of
/// its own, whose answer it checks.
extension Engine {
    /// Whether a client of HTTP/1.1 opens a WebSocket (RFC 6455 section 4.1). Of other protocols it is not known what a 101
    /// says.
    func asksForWebSocket(_ exchange: ExchangePointer) -> Bool {
        guard exchange.pointee.stream == nil, exchange.pointee.head.options.contains(.upgrade),
            exchange.pointee.head.method == .get, exchange.pointee.head.framing == .none,
            !exchange.pointee.marks.contains(.isMirror), let message = exchange.pointee.message
        else { return false }
        return upgradesToWebSocket(exchange, message) && webSocketKey(exchange, message) != nil
    }

    /// Whether the request needs a tunnel, which a backend of HTTP/2 may not have.
    @inline(__always)
    func asksForTunnel(_ exchange: ExchangePointer) -> Bool {
        exchange.pointee.head.options.contains(.extendedConnect) || asksForWebSocket(exchange)
    }

    /// Whether the protocol that the client wishes for is `websocket`; names of protocols have no case (RFC 9110
    /// section 7.8).
    func upgradesToWebSocket(_ exchange: ExchangePointer, _ message: UnsafeRawPointer) -> Bool {
        guard let place = exchange.pointee.requestFields.first(.upgrade) else { return false }
        return ASCII.equalIgnoringCase(
            exchange.pointee.requestFields[place].valueRange.bytes(in: message),
            UnsafeRawBufferPointer(start: Self.webSocket.utf8Start, count: Self.webSocket.utf8CodeUnitCount))
    }

    static var webSocket: StaticString { "websocket" }

    /// Of the request, also where it was left out of what the backend is sent.
    private func webSocketKey(
        _ exchange: ExchangePointer, _ message: UnsafeRawPointer
    ) -> UnsafeRawBufferPointer? {
        for position in 0..<exchange.pointee.requestFields.count
        where exchange.pointee.requestFields[position].name == .secWebsocketKey {
            let key = exchange.pointee.requestFields[position].valueRange.bytes(in: message)
            return key.count == WebSocketKey.length ? key : nil
        }
        return nil
    }

    /// The request goes by HTTP/1.1: the backend's HTTP/2 has no tunnels. The attempt was none: nothing was sent.
    mutating func goByHTTP1(_ exchange: ExchangePointer) {
        endAttempt(exchange, .cancelled)
        exchange.pointee.choice.marks.remove(.avoids)
        // No stream was opened: the connection has as much room as before.
        exchange.pointee.upstream?.pointee.remove(exchange)
        exchange.pointee.upstream?.pointee.requests &-= 1
        exchange.pointee.upstream = nil
        exchange.pointee.marks.insert(.onlyHTTP1)
        exchange.pointee.record.attempts &-= 1
        replay(exchange)
    }

    /// Proves to a client of HTTP/1.1 that its wish was understood (RFC 6455 section 4.2.2).
    func writeAccept(_ exchange: ExchangePointer, _ writer: inout HTTP1HeadWriter) {
        guard let message = exchange.pointee.message, let key = webSocketKey(exchange, message) else { return }
        WebSocketAccept.withText(of: key) { writer.field(.secWebsocketAccept, $0) }
    }

    /// Whether a backend of HTTP/1.1 has proved that it understood the proxy's wish (RFC 6455 section 4.1): else it speaks
    /// something else, whatever it calls it.
    ///
    /// - Parameter message: Of the response.
    func isAccepted(_ exchange: ExchangePointer, _ message: UnsafeRawPointer) -> Bool {
        guard let key = exchange.pointee.webSocketKey else { return true }
        guard let place = exchange.pointee.responseFields.first(.secWebsocketAccept) else { return false }
        let found = exchange.pointee.responseFields[place].valueRange.bytes(in: message)
        var isRight = false
        key.withText { key in
            WebSocketAccept.withText(of: key) { isRight = found.elementsEqual($0) }
        }
        return isRight
    }
}
