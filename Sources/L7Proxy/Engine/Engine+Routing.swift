// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// From a whole head to the backend of the first attempt. Knows nothing of codecs but head, fields and message.
extension Engine {
    mutating func route(_ exchange: ExchangePointer, _ downstream: DownstreamPointer) {
        let head = exchange.pointee.head
        downstream.pointee.hasRequested = true
        exchange.pointee.stage = .waiting
        exchange.pointee.record.method = head.method
        exchange.pointee.record.routedAt = nanoseconds
        beginRequestBody(exchange)
        exchange.pointee.noteBody()
        if case .length(let length) = head.framing, configuration.bodyBytes > 0, length > configuration.bodyBytes {
            return answer(exchange, .bodyTooLarge)
        }
        guard enterSnapshot(exchange, downstream) else { return }

        let path = normalPath(exchange)
        if let router = downstream.pointee.router {
            guard let match = find(router, exchange, path) else { return answer(exchange, .noRoute) }
            exchange.pointee.rule = router.pointee.rules.baseAddress.map { $0 + match.rule }
            exchange.pointee.prefixLength = match.prefixLength.map { Int32(truncatingIfNeeded: $0) } ?? -1
            exchange.pointee.record.rule = exchange.pointee.rule?.pointee.id ?? -1
        }
        if let message = exchange.pointee.message {
            let context = FilterContext(
                origin: downstream.pointee.origin, head: head, message: message, path: path,
                service: exchange.pointee.service, rule: exchange.pointee.rule, now: now, random: nextRandom())
            if case .refuse(let reason) = filters.evaluate(context, &exchange.pointee.requestFields) {
                return answer(exchange, reason)
            }
        }
        if let rule = exchange.pointee.rule {
            if !rule.pointee.traits.isDisjoint(with: .special), !mayPass(exchange, rule, path) { return }
            guard chooseBackend(exchange, rule) else { return }
        }
        let timeout = requestTimeout(exchange, downstream)
        if timeout > 0 { exchange.pointee.limitTime(timeout) }
        startAttempt(exchange)
    }

    /// Begins to use the newest configuration for an exchange, and learns from it where its client has connected to.
    ///
    /// - Returns: Whether there is one, and all the policy under which the connection came; otherwise it was answered.
    @inline(__always)
    mutating func enterSnapshot(_ exchange: ExchangePointer, _ downstream: DownstreamPointer) -> Bool {
        guard isCovered(downstream) else {
            answer(exchange, .policyPending)
            return false
        }
        guard let hold = holds.current, let snapshot = hold.pointee.snapshot else {
            answer(exchange, .unknownDestination)
            return false
        }
        hold.pointee.users += 1
        exchange.pointee.hold = hold
        exchange.pointee.record.generation = snapshot._withUnsafeGuaranteedRef { $0.generation }
        bindToNewest(downstream)
        exchange.pointee.service = downstream.pointee.service
        return true
    }

    mutating func bind(
        _ downstream: DownstreamPointer, _ hold: HoldPointer, _ snapshot: Unmanaged<ProxySnapshot>
    ) {
        let binding = snapshot._withUnsafeGuaranteedRef { $0.binding(downstream.pointee.origin) }
        downstream.pointee.boundSerial = hold.pointee.serial
        downstream.pointee.service = binding.service
        downstream.pointee.router = binding.router
        downstream.pointee.authorizer = binding.authorizer
        downstream.pointee.source = binding.source
        downstream.pointee.showsClient = binding.showsClient
        if downstream.pointee.phase == .detecting { downstream.pointee.spoken = binding.spoken }
        downstream.pointee.missing = binding.missing
    }

    // MARK: - Time limits, in milliseconds; 0: none. What a rule says comes before what a policy says.

    private func requestTimeout(_ exchange: ExchangePointer, _ downstream: DownstreamPointer) -> UInt64 {
        if let rule = exchange.pointee.rule, rule.pointee.requestTimeout < .max { return rule.pointee.requestTimeout }
        return downstream.pointee.service?.pointee.requestTimeout ?? 0
    }

    func backendTimeout(_ exchange: ExchangePointer, _ downstream: DownstreamPointer) -> UInt64 {
        if let rule = exchange.pointee.rule, rule.pointee.backendTimeout < .max { return rule.pointee.backendTimeout }
        return downstream.pointee.service?.pointee.backendTimeout ?? 0
    }

    func connectTimeout(_ exchange: ExchangePointer?) -> UInt64 {
        let own = exchange?.pointee.service?.pointee.connectTimeout ?? 0
        return own > 0 ? own : configuration.connectTimeout
    }

    /// The path in the form in which routes compare it; an empty one of an absolute target is `/` (RFC 9112 section
    /// 3.2.1). Valid until ``scratch`` is used again.
    func normalPath(_ exchange: ExchangePointer) -> UnsafeRawBufferPointer {
        let range = exchange.pointee.head.path
        guard let message = exchange.pointee.message, !range.isEmpty else {
            return UnsafeRawBufferPointer(start: ("/" as StaticString).utf8Start, count: 1)
        }
        let sent = range.bytes(in: message)
        guard RequestPath.isPlain(sent) else { return RoutePath.normalized(sent, into: scratch) }
        exchange.pointee.marks.insert(.hasPlainPath)
        return sent
    }

    func routeRequest(_ exchange: ExchangePointer, _ path: UnsafeRawBufferPointer) -> RouteRequest? {
        guard let message = exchange.pointee.message else { return nil }
        let head = exchange.pointee.head
        let query = head.options.contains(.hasQuery) ? head.query.bytes(in: message) : nil
        return RouteRequest(method: head.methodRange.bytes(in: message), path: path, query: query)
    }

    @inline(__always)
    private func find(
        _ router: UnsafePointer<RouterPlan>, _ exchange: ExchangePointer, _ path: UnsafeRawBufferPointer
    ) -> Router.Match? {
        guard let message = exchange.pointee.message, let request = routeRequest(exchange, path) else { return nil }
        return withUnsafePointer(to: &exchange.pointee.requestFields) { table in
            let fields = RequestFields(
                fields: UnsafeBufferPointer(start: table.pointee.fields, count: table.pointee.count), message: message)
            return router.pointee.router._withUnsafeGuaranteedRef { $0.match(request, headers: fields) }
        }
    }

    /// Chooses a backend of the rule by weight. - Returns: Whether there is one; otherwise the request was answered.
    private mutating func chooseBackend(_ exchange: ExchangePointer, _ rule: UnsafePointer<RulePlan>) -> Bool {
        guard !rule.pointee.backends.isEmpty else { return true }
        guard let index = rule.pointee.backend(random: nextRandom()) else {
            answer(exchange, .noWeight)
            return false
        }
        let backend = rule.pointee.backends.baseAddress.map { $0 + index }
        exchange.pointee.backend = backend
        guard let service = backend?.pointee.service, service >= 0,
            let snapshot = exchange.pointee.hold?.pointee.snapshot
        else {
            answer(exchange, .invalidBackend)
            return false
        }
        exchange.pointee.service = snapshot._withUnsafeGuaranteedRef { $0.service(service) }
        return true
    }

    /// Rules that answer, or that change the response by what the request says.
    ///
    /// - Returns: Whether the request goes on; otherwise it was answered.
    private mutating func mayPass(
        _ exchange: ExchangePointer, _ rule: UnsafePointer<RulePlan>, _ path: UnsafeRawBufferPointer
    ) -> Bool {
        if rule.pointee.traits.contains(.failure) {
            answer(exchange, .ruleNotSupported)
            return false
        }
        guard let snapshot = exchange.pointee.hold?.pointee.snapshot?.takeUnretainedValue() else { return false }
        let compiled = snapshot.rule(rule)
        if let cors = compiled.actions.cors {
            switch cors.answer(corsRequest(exchange)) {
            case .notCORS: break
            case .actual(let fields): exchange.pointee.corsFields = fields
            case .preflight(let fields):
                answer(exchange, .preflight) { $0.add(fields) }
                return false
            }
        }
        if let redirect = compiled.actions.redirect {
            guard let request = routeRequest(exchange, path), let message = exchange.pointee.message else {
                return false
            }
            let port = exchange.pointee.downstream?.pointee.origin.destinationPort ?? 80
            var location: [UInt8] = []
            redirect.appendLocation(
                to: &location,
                RequestRedirect.Context(
                    request: request, scheme: .http, authority: exchange.pointee.head.authority.bytes(in: message),
                    port: port,
                    prefixLength: exchange.pointee.prefixLength < 0 ? nil : Int(exchange.pointee.prefixLength)
                ))
            let cors = exchange.pointee.corsFields
            answer(exchange, .redirected, status: redirect.statusCode) { writer in
                location.withUnsafeBytes { writer.field(.location, $0) }
                writer.add(cors)
            }
            return false
        }
        return true
    }

    private func corsRequest(_ exchange: ExchangePointer) -> CORSPolicy.Request {
        func value(_ name: FieldName) -> String? {
            guard let message = exchange.pointee.message, let place = exchange.pointee.requestFields.first(name) else {
                return nil
            }
            return String(
                decoding: exchange.pointee.requestFields[place].valueRange.bytes(in: message), as: UTF8.self)
        }
        let method = exchange.pointee.message.map {
            String(decoding: exchange.pointee.head.methodRange.bytes(in: $0), as: UTF8.self)
        }
        return CORSPolicy.Request(
            method: method ?? "", origin: value(.origin), requestMethod: value(.accessControlRequestMethod),
            requestHeaders: value(.accessControlRequestHeaders))
    }
}
