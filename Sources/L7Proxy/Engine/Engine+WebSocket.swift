// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// A WebSocket of a client of HTTP/1.1 whose backend speaks HTTP/2: it goes by HTTP/1.1, on a connection of its own.
extension Engine {
    /// Whether the request opens a WebSocket (RFC 6455 section 4.1). Of other protocols it is not known what a 101 says.
    func asksForWebSocket(_ exchange: ExchangePointer) -> Bool {
        guard exchange.pointee.stream == nil, exchange.pointee.head.options.contains(.upgrade),
            exchange.pointee.head.method == .get, exchange.pointee.head.framing == .none,
            !exchange.pointee.marks.contains(.isMirror), let message = exchange.pointee.message,
            let place = exchange.pointee.requestFields.first(.upgrade),
            ASCII.equalIgnoringCase(
                exchange.pointee.requestFields[place].valueRange.bytes(in: message),
                UnsafeRawBufferPointer(start: Self.webSocket.utf8Start, count: Self.webSocket.utf8CodeUnitCount))
        else { return false }
        return webSocketKey(exchange, message) != nil
    }

    private static var webSocket: StaticString { "websocket" }

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

    /// The request goes by HTTP/1.1 after all. The attempt was none: nothing was sent.
    mutating func goByHTTP1(_ exchange: ExchangePointer) {
        endAttempt(exchange, .cancelled)
        exchange.pointee.choice.marks.remove(.avoids)
        // No stream was opened: the connection has as much room as before.
        exchange.pointee.upstream?.pointee.remove(exchange)
        exchange.pointee.upstream = nil
        exchange.pointee.marks.insert(.onlyHTTP1)
        exchange.pointee.record.attempts &-= 1
        replay(exchange)
    }
}
