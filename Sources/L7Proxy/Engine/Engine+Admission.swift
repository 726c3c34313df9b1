// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// Whether a request may go to the endpoint that was chosen for it: the second part of the chain of filters.
extension Engine {
    /// - Returns: Whether the attempt goes on now; otherwise the request was answered, or waits.
    mutating func admit(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ endpoint: ProxyEndpoint
    ) -> Bool {
        // Each attempt, since each may go to another pod.
        guard judge(exchange, downstream, endpoint) else { return false }
        guard let service = downstream.pointee.service, !exchange.pointee.choice.marks.contains(.admitted) else {
            return true
        }
        exchange.pointee.choice.marks.insert(.admitted)
        if !service.pointee.limits.isEmpty, !isWithinLimits(exchange, downstream, service) { return false }
        guard let fault = service.pointee.fault else { return true }
        return passes(exchange, fault.decide(random: nextRandom()))
    }

    // MARK: - Who may

    /// What the policies of the pod say by the newest snapshot. - Returns: Whether it may; otherwise it was answered.
    mutating func judge(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ endpoint: ProxyEndpoint
    ) -> Bool {
        bindToNewest(downstream)
        exchange.pointee.judgedBy = holds.current?.pointee.serial ?? 0
        guard let plan = authorizer(exchange, downstream, endpoint) else { return true }
        // A pod that is not known here: a rule about who it is could not be met, nor broken.
        let origin = downstream.pointee.origin
        if downstream.pointee.source == nil, origin.sourceNetwork != 0 || origin.isProved {
            answer(exchange, .policyPending)
            return false
        }
        if exchange.pointee.marks.contains(.relay) { return authorizeRelay(exchange, downstream, plan, endpoint) }
        return authorize(exchange, downstream, plan, endpoint)
    }

    /// As what is no request is judged: by what a connection can tell.
    private mutating func authorizeRelay(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ plan: UnsafePointer<AuthorizerPlan>,
        _ endpoint: ProxyEndpoint
    ) -> Bool {
        guard let snapshot = holds.current?.pointee.snapshot else { return false }
        // Names in the record are of what decides.
        exchange.pointee.record.generation = snapshot._withUnsafeGuaranteedRef { $0.generation }
        exchange.pointee.record.service = downstream.pointee.service?.pointee.index ?? -1
        let client = downstream.pointee.origin.client
        let source = downstream.pointee.source?.pointee.at(client) ?? RequestSource(principal: nil, address: client)
        let decision = plan.pointee.authorizer._withUnsafeGuaranteedRef {
            $0.decide(connectionFrom: source, to: endpoint.address, port: endpoint.port)
        }
        return settle(decision, exchange, plan, isNamed: true)
    }

    @inline(__always)
    private func authorizer(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ endpoint: ProxyEndpoint
    ) -> UnsafePointer<AuthorizerPlan>? {
        guard let current = holds.current else { return nil }
        if exchange.pointee.hold == current {
            guard let service = exchange.pointee.service else { return downstream.pointee.authorizer }
            switch service.pointee.authorization {
            case .none: return nil
            case .uniform(let plan): return plan
            case .mixed: break
            }
        }
        // Or it is repeated after a change: endpoints and policies are always the newest.
        return current.pointee.snapshot?._withUnsafeGuaranteedRef { $0.authorizer(of: endpoint.address) }
    }

    private mutating func authorize(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ plan: UnsafePointer<AuthorizerPlan>,
        _ endpoint: ProxyEndpoint
    ) -> Bool {
        guard let message = exchange.pointee.message else { return false }
        let head = exchange.pointee.head
        var text = SentText(
            path: head.path.isEmpty ? UnsafeRawBufferPointer("/" as StaticString) : head.path.bytes(in: message),
            authority: head.authority.bytes(in: message), scratch: scratch)
        let isRewritten = hasRewrite(exchange)
        if isRewritten { rewrite(exchange, &text) }
        var path = RequestPath(normal: text.path)
        if isRewritten || !exchange.pointee.marks.contains(.hasPlainPath) {
            guard RequestPath.scratchSize(for: text.path.count) <= text.scratch.count else {
                answer(exchange, .targetTooLong)
                return false
            }
            guard case .path(let read) = RequestPath.read(text.path, into: text.scratch) else {
                answer(exchange, .ambiguousPath)
                return false
            }
            path = read
        }
        let client = downstream.pointee.origin.client
        let request = AuthorizationRequest(
            source: downstream.pointee.source?.pointee.at(client) ?? RequestSource(principal: nil, address: client),
            destinationAddress: endpoint.address, destinationPort: endpoint.port,
            method: head.methodRange.bytes(in: message), path: path,
            authority: text.authority.isEmpty ? nil : text.authority)
        let rule = exchange.pointee.rule?.pointee.request ?? HeaderPlan()
        let backend = exchange.pointee.backend?.pointee.request ?? HeaderPlan()
        let decision = withUnsafePointer(to: &exchange.pointee.requestFields) { table in
            let fields = RequestFields(
                fields: UnsafeBufferPointer(start: table.pointee.fields, count: table.pointee.count), message: message,
                rule: rule, backend: backend)
            return plan.pointee.authorizer._withUnsafeGuaranteedRef { $0.decide(request, headers: fields) }
        }
        return settle(decision, exchange, plan, isNamed: exchange.pointee.hold == holds.current)
    }

    /// - Parameter isNamed: Whether the record is of the snapshot that the plan is of.
    /// - Returns: Whether it may go on; otherwise it was answered.
    @inline(__always)
    private mutating func settle(
        _ decision: AuthorizationDecision, _ exchange: ExchangePointer, _ plan: UnsafePointer<AuthorizerPlan>,
        isNamed: Bool
    ) -> Bool {
        if decision.dryRunDiffers {
            exchange.pointee.record.flags.insert(.dryRunDiffers)
            counters.dryRunRefusals &+= 1
            if isNamed { exchange.pointee.record.decision = plan.pointee.text(ofRule: decision.dryRunRule) }
        }
        guard !decision.isAllowed else { return true }
        if isNamed { exchange.pointee.record.decision = plan.pointee.text(ofRule: decision.rule) }
        answer(exchange, .denied)
        return false
    }

    /// What the pod receives, where the route changes it.
    private func rewrite(_ exchange: ExchangePointer, _ text: inout SentText) {
        var forwarding = RequestForwarding()
        let end = rewrite(exchange, &forwarding)
        text.scratch = UnsafeMutableRawBufferPointer(rebasing: scratch[end...])
        if let host = forwarding.host { text.authority = host }
        if let target = forwarding.target {
            let query = target.firstIndex(of: UInt8(ascii: "?")) ?? target.count
            text.path = UnsafeRawBufferPointer(rebasing: target[..<query])
        }
    }

    private struct SentText {
        var path: UnsafeRawBufferPointer
        var authority: UnsafeRawBufferPointer
        /// What is free of the engine's.
        var scratch: UnsafeMutableRawBufferPointer
    }

    // MARK: - How often

    private mutating func isWithinLimits(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ service: UnsafePointer<ServicePlan>
    ) -> Bool {
        guard let hold = exchange.pointee.hold else { return true }
        let cluster = holds.cluster(hold, service.pointee.index, seed: random)
        for index in service.pointee.limits.indices {
            // One that a newer configuration has, in a newer snapshot.
            guard index < cluster.pointee.limiters.count else { break }
            let plan = service.pointee.limits[index]
            let key: UInt64 =
                switch plan.subject {
                case .route: 0
                case .sourceIdentity: downstream.pointee.source?.pointee.principal.map(RateLimiter.key) ?? 0
                case .header(let name): headerValue(exchange, name).map(RateLimiter.key) ?? 0
                }
            let limiter = cluster.pointee.limiters[index]
            let decision = limiter._withUnsafeGuaranteedRef { $0.take(key, now: nanoseconds) }
            if decision.isAllowed { continue }
            if plan.isDryRun {
                exchange.pointee.record.flags.insert(.dryRunLimited)
                counters.dryRunRefusals &+= 1
                continue
            }
            let limit = limiter._withUnsafeGuaranteedRef { $0.limit }
            answer(exchange, .rateLimited) { $0.add(decision, limit, name: plan.name) }
            return false
        }
        return true
    }

    // MARK: - Faults

    private mutating func passes(_ exchange: ExchangePointer, _ decision: FaultInjection.Decision) -> Bool {
        guard decision.delayNanoseconds > 0 else {
            guard let answer = decision.answer else { return true }
            abort(exchange, answer)
            return false
        }
        endAttempt(exchange, .cancelled)
        exchange.pointee.choice.marks.remove(.avoids)
        exchange.pointee.choice.marks.insert(.delayed)
        exchange.pointee.choice.faultAnswer = decision.answer
        exchange.pointee.stage = .backoff
        exchange.pointee.backoffUntil = now + max(1, decision.delayNanoseconds / 1_000_000)
        armTimer(exchange)
        return false
    }

    private mutating func abort(_ exchange: ExchangePointer, _ answer: FaultInjection.Answer) {
        switch answer {
        case .status(let status): self.answer(exchange, .faultInjected, status: status)
        case .grpcStatus(let status):
            if exchange.pointee.marks.contains(.isGRPC) { exchange.pointee.record.grpcStatus = Int8(clamping: status) }
            self.answer(exchange, .faultInjected, status: 200) { writer in
                withUnsafeTemporaryAllocation(byteCount: 4, alignment: 1) { buffer in
                    var number = ByteWriter(buffer)
                    number.append(decimal: UInt64(status))
                    writer.field(
                        named: UnsafeRawBufferPointer("grpc-status" as StaticString),
                        UnsafeRawBufferPointer(rebasing: buffer[..<number.count]))
                }
            }
        }
    }

    /// A wait of the exchange is over: for the next attempt, or that of a fault.
    mutating func resume(_ exchange: ExchangePointer) {
        if exchange.pointee.choice.marks.contains(.delayed) {
            exchange.pointee.choice.marks.remove(.delayed)
            if let answer = exchange.pointee.choice.faultAnswer {
                exchange.pointee.backoffUntil = 0
                return abort(exchange, answer)
            }
        }
        replay(exchange)
    }
}

extension UnsafeRawBufferPointer {
    fileprivate init(_ text: StaticString) { self.init(start: text.utf8Start, count: text.utf8CodeUnitCount) }
}

extension ReplyFields {
    /// What tells a client about the limit that it has met.
    fileprivate mutating func add(_ decision: RateLimitDecision, _ limit: RateLimit, name: UnsafeRawBufferPointer) {
        withUnsafeTemporaryAllocation(byteCount: RateLimitFields.maximumLength, alignment: 1) { buffer in
            func value(_ count: Int?) -> UnsafeRawBufferPointer? {
                count.map { UnsafeRawBufferPointer(rebasing: buffer[..<$0]) }
            }
            if let text = value(RateLimitFields.retryAfter(decision, into: buffer)) {
                field(named: UnsafeRawBufferPointer(RateLimitFields.retryAfterName), text)
            }
            if let text = value(RateLimitFields.policy(limit, name: name, into: buffer)) {
                field(named: UnsafeRawBufferPointer(RateLimitFields.policyName), text)
            }
            if let text = value(RateLimitFields.limit(decision, name: name, into: buffer)) {
                field(named: UnsafeRawBufferPointer(RateLimitFields.limitName), text)
            }
        }
    }
}
