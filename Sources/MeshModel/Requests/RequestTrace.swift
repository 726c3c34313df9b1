// SPDX-License-Identifier: Apache-2.0

/// What a router does with one request, step by step as a worker of the proxy takes them (`Engine.route` in `L7Proxy`),
/// and with the same matching, redirects and rewrites.
public struct RequestTrace: Sendable {
    /// An answer that no backend makes.
    public struct Answer: Hashable, Sendable {
        public let status: UInt16
        /// Why, for a person.
        public let sentence: String
        /// Of a redirection.
        public var location: String?

        init(status: UInt16, sentence: String, location: String? = nil) {
            self.status = status
            self.sentence = sentence
            self.location = location
        }

        init(_ answer: RouteAnswer, _ sentence: String) { self.init(status: answer.status, sentence: sentence) }
    }

    /// Who may get the request.
    public struct Backend: Sendable {
        /// `nil`: the Service, or the address, that the client has asked.
        public let target: RouteBackendResolution?
        /// Of all requests, 0 to 1.
        public let share: Double
        public let weight: UInt32
        public let actions: RouteActions?
        /// The request as it arrives there.
        public let sent: AskedRequest
    }

    /// The path in the form in which routes compare it.
    public let path: String
    /// `nil`: no route is attached, or none matches.
    public private(set) var rule: CompiledRouteRule?
    public private(set) var match: Router.Match?
    /// `nil`: the request goes to a backend.
    public private(set) var answer: Answer?
    /// None if there is an answer.
    public private(set) var backends: [Backend] = []

    /// - Parameters:
    ///   - router: of the client's namespace for what it has asked; `nil`: no route is attached.
    ///   - port: that the client has asked.
    public init(_ request: AskedRequest, router: Router?, port: UInt16) {
        let normal = RoutePath.normalized(request.path)
        path = String(decoding: normal, as: UTF8.self)
        if let router {
            guard let found = request.borrowed(path: normal, { router.match($0, headers: $1) }) else {
                answer = Answer(.noRoute, "routes are attached, and no rule of them matches the request")
                return
            }
            match = found
            rule = router.rules[found.rule]
        }
        answer = Self.hopsAnswer(request) ?? rule.flatMap { answer(of: $0, to: request, normal, port) }
        guard answer == nil else { return }
        guard let rule, !rule.backends.isEmpty else {
            backends = [backend(nil, share: 1, weight: 1, nil, request, normal)]
            return
        }
        let total = rule.backends.reduce(0) { $0 + Double($1.weight) }
        guard total > 0 else {
            answer = Answer(.noWeight, "every backend of the rule has the weight 0")
            return
        }
        backends = rule.backends.map {
            backend($0.target, share: Double($0.weight) / total, weight: $0.weight, $0.actions, request, normal)
        }
    }

    /// RFC 9110 section 7.6.2: who must not pass the request on answers it.
    private static func hopsAnswer(_ request: AskedRequest) -> Answer? {
        guard ["OPTIONS", "TRACE"].contains(request.method),
            request.values(of: "max-forwards").contains(where: { !$0.isEmpty && $0.utf8.allSatisfy { $0 == 0x30 } })
        else { return nil }
        return Answer(
            request.method == "TRACE" ? .methodNotSupported : .hopsExhausted,
            "Max-Forwards is 0, so that the proxy is who the \(request.method) is for")
    }

    /// Rules that answer.
    private func answer(
        of rule: CompiledRouteRule, to request: AskedRequest, _ normal: [UInt8], _ port: UInt16
    ) -> Answer? {
        if let failure = rule.failure {
            return Answer(.ruleNotSupported, "the rule has a filter that the mesh does not have: \(failure)")
        }
        if let cors = rule.actions.cors {
            let asked = CORSPolicy.Request(
                method: request.method, origin: request.values(of: "origin").first,
                requestMethod: request.values(of: "access-control-request-method").first,
                requestHeaders: request.values(of: "access-control-request-headers").first)
            if case .preflight(let fields) = cors.answer(asked) {
                let isAllowed = fields.contains { $0.name == "Access-Control-Allow-Origin" }
                return Answer(.preflight, "a CORS preflight, which is \(isAllowed ? "allowed" : "not allowed")")
            }
        }
        guard let redirect = rule.actions.redirect else { return nil }
        var location: [UInt8] = []
        var authority = request.authority
        request.borrowed(path: normal) { borrowed, _ in
            authority.withUTF8 { authority in
                redirect.appendLocation(
                    to: &location,
                    RequestRedirect.Context(
                        request: borrowed, scheme: .http, authority: UnsafeRawBufferPointer(authority), port: port,
                        prefixLength: match?.prefixLength))
            }
        }
        let text = String(decoding: location, as: UTF8.self)
        return Answer(status: redirect.statusCode, sentence: "the rule redirects to \(text)", location: text)
    }

    private func backend(
        _ target: RouteBackendResolution?, share: Double, weight: UInt32, _ actions: RouteActions?,
        _ request: AskedRequest, _ normal: [UInt8]
    ) -> Backend {
        var sent = request
        for actions in [rule?.actions, actions] {
            if let modification = actions?.requestHeaders { sent.headers = modification.applied(to: sent.headers) }
        }
        // The backend's own takes the place of the rule's.
        if let rewrite = actions?.rewrite ?? rule?.actions.rewrite {
            if rewrite.path != nil {
                var target: [UInt8] = []
                request.borrowed(path: normal) { borrowed, _ in
                    rewrite.appendTarget(to: &target, borrowed, prefixLength: match?.prefixLength)
                }
                let parts = target.split(
                    separator: UInt8(ascii: "?"), maxSplits: 1, omittingEmptySubsequences: false)
                sent.path = String(decoding: parts[0], as: UTF8.self)
                sent.query = parts.count > 1 ? String(decoding: parts[1], as: UTF8.self) : nil
            }
            if let hostname = rewrite.hostname { sent.authority = hostname }
        }
        return Backend(target: target, share: share, weight: weight, actions: actions, sent: sent)
    }
}
