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
                UnsafeRawBufferPointer(start: Self.webSocket.utf8Start, count: Self.webSocket.utf8CodeUnitCount)),
            let key = exchange.pointee.requestFields.first(.secWebsocketKey)
        else { return false }
        return exchange.pointee.requestFields[key].valueRange.bytes(in: message).count == WebSocketKey.length
    }

    private static var webSocket: StaticString { "websocket" }
}
