// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel

/// The head of a request, as it goes to a backend.
extension Engine {
    /// Writes the head of the request. - Returns: Whether it had room, with what the route adds.
    mutating func writeRequest(_ exchange: ExchangePointer, _ upstream: UpstreamPointer) -> Bool {
        guard let downstream = exchange.pointee.downstream, let message = exchange.pointee.message,
            upstream.pointee.channel.output.borrow(&buffers)
        else { return false }
        let ruleHeaders = exchange.pointee.rule?.pointee.request ?? HeaderPlan()
        let backendHeaders = exchange.pointee.backend?.pointee.request ?? HeaderPlan()
        ruleHeaders.drop(from: &exchange.pointee.requestFields, in: message)
        backendHeaders.drop(from: &exchange.pointee.requestFields, in: message)

        var forwarding = RequestForwarding()
        if exchange.pointee.head.options.contains(.upgrade), mayUpgrade(exchange, message) {
            exchange.pointee.marks.insert(.isUpgrade)
            forwarding.keepsUpgrade = true
        }
        exchange.pointee.webSocketKey = nil
        if forwarding.keepsUpgrade, exchange.pointee.head.options.contains(.extendedConnect),
            upgradesToWebSocket(exchange, message)
        {
            // RFC 6455 section 4.1; one of a stream says nothing (RFC 8441 section 5).
            exchange.pointee.requestFields.remove(.secWebsocketKey)
            exchange.pointee.webSocketKey = WebSocketKey(nextRandom(), nextRandom())
        }
        if hasRewrite(exchange) { rewrite(exchange, &forwarding) }
        var writer = HTTP1HeadWriter(upstream.pointee.channel.output.space)
        writer.beginRequest(exchange.pointee.head, &exchange.pointee.requestFields, in: message, forwarding)
        if configuration.addsForwardedFor {
            downstream.pointee.clientText.withBytes { writer.field(.xForwardedFor, $0) }
        }
        if let key = exchange.pointee.webSocketKey { key.withText { writer.field(.secWebsocketKey, $0) } }
        ruleHeaders.add(to: &writer, unlessDroppedBy: backendHeaders)
        backendHeaders.add(to: &writer)
        guard case .success(let count) = writer.finish() else { return false }
        upstream.pointee.channel.output.end += count
        upstream.pointee.http1.persistence.requestBegan(framing: exchange.pointee.head.framing)
        let expectsUpgrade = exchange.pointee.marks.contains(.isUpgrade)
        upstream.pointee.http1.parser.reset(for: exchange.pointee.head.method, expectsUpgrade: expectsUpgrade)
        exchange.pointee.requestBody.writesChunks = exchange.pointee.head.framing == .chunked
        return true
    }

    /// Writes the head of the request for a stream into ``headWriter``, as an extended CONNECT if it `isTunnel`.
    ///
    /// - Returns: Whether it can be sent.
    mutating func writeHTTP2Request(
        _ exchange: ExchangePointer, _ upstream: UpstreamPointer, isTunnel: Bool
    ) -> Bool {
        guard let downstream = exchange.pointee.downstream, let message = exchange.pointee.message else { return false }
        let ruleHeaders = exchange.pointee.rule?.pointee.request ?? HeaderPlan()
        let backendHeaders = exchange.pointee.backend?.pointee.request ?? HeaderPlan()
        ruleHeaders.drop(from: &exchange.pointee.requestFields, in: message)
        backendHeaders.drop(from: &exchange.pointee.requestFields, in: message)
        var changes = RequestForwarding()
        if hasRewrite(exchange) { rewrite(exchange, &changes) }
        var forwarding = HTTP2RequestForwarding()
        forwarding.host = changes.host
        forwarding.target = changes.target
        if isTunnel, let place = exchange.pointee.requestFields.first(.upgrade) {
            let isWebSocket = upgradesToWebSocket(exchange, message)
            // Servers compare it as it is registered, whatever case the client has written it in.
            forwarding.protocolName =
                isWebSocket
                ? UnsafeRawBufferPointer(start: Self.webSocket.utf8Start, count: Self.webSocket.utf8CodeUnitCount)
                : exchange.pointee.requestFields[place].valueRange.bytes(in: message)
            if isWebSocket { exchange.pointee.requestFields.remove(.secWebsocketKey) }
        }
        headWriter.beginRequest(exchange.pointee.head, &exchange.pointee.requestFields, in: message, forwarding)
        if configuration.addsForwardedFor {
            let name = FieldName.xForwardedFor.text
            let text = UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
            downstream.pointee.clientText.withBytes { headWriter.copyField(named: text, $0) }
        }
        ruleHeaders.add(to: &headWriter, unlessDroppedBy: backendHeaders)
        backendHeaders.add(to: &headWriter)
        guard case .success = headWriter.finish() else { return false }
        return true
    }

    /// HTTP/2 in clear by upgrade was withdrawn (RFC 9113 section 3.1), and what it needs is not forwarded.
    func mayUpgrade(_ exchange: ExchangePointer, _ message: UnsafeRawPointer) -> Bool {
        guard let place = exchange.pointee.requestFields.first(.upgrade) else { return false }
        return !FieldList.contains(exchange.pointee.requestFields[place].valueRange.bytes(in: message), "h2c")
    }

    func hasRewrite(_ exchange: ExchangePointer) -> Bool {
        exchange.pointee.rule?.pointee.traits.contains(.rewrite) ?? false
            || exchange.pointee.backend?.pointee.traits.contains(.rewrite) ?? false
    }

    /// Sets target and host by the rule's rewrite, or by the backend's in its place. Their text is in ``scratch``.
    ///
    /// - Returns: How much of ``scratch`` it takes.
    @discardableResult
    func rewrite(_ exchange: ExchangePointer, _ forwarding: inout RequestForwarding) -> Int {
        guard let rule = exchange.pointee.rule,
            let snapshot = exchange.pointee.hold?.pointee.snapshot?.takeUnretainedValue()
        else { return 0 }
        let compiled = snapshot.rule(rule)
        let own = exchange.pointee.backend.flatMap { compiled.backends[Int($0.pointee.index)].actions.rewrite }
        guard let rewrite = own ?? compiled.actions.rewrite else { return 0 }
        var end = 0
        func place(_ text: some Collection<UInt8>) -> UnsafeRawBufferPointer? {
            guard text.count <= scratch.count - end else { return nil }
            let space = UnsafeMutableRawBufferPointer(rebasing: scratch[end..<(end + text.count)])
            space.copyBytes(from: text)
            end += text.count
            return UnsafeRawBufferPointer(space)
        }
        if rewrite.path != nil, let request = routeRequest(exchange, normalPath(exchange)) {
            var target: [UInt8] = []
            let prefix = exchange.pointee.prefixLength
            rewrite.appendTarget(to: &target, request, prefixLength: prefix < 0 ? nil : Int(prefix))
            forwarding.target = place(target)
        }
        if let hostname = rewrite.hostname { forwarding.host = place(hostname.utf8) }
        return end
    }
}
