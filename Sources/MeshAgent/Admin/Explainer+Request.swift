// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshAdmin
import MeshModel
import SockOps

/// What becomes of a request, as the proxy would find it: the same routers, policies and settings that it is told.
extension Explainer {
    /// - Parameter answers: of the kernel, for each of `destinations`.
    func request(
        _ question: RequestQuestion, _ connection: ExplainRequest, _ source: End, _ target: Target?,
        _ destinations: [End], _ answers: [ExplainReport.Answer], _ transport: TransportProtocol
    ) throws(AdminError) -> RequestReport {
        guard transport == .tcp else {
            throw AdminError(
                .invalidRequest, "there are no requests of HTTP over \(transport.rawValue)",
                hint: "leave out /udp, or the method and the path")
        }
        let request: AskedRequest
        do throws(AskedRequestError) {
            request = try AskedRequest(
                method: question.method, target: question.path, lines: question.headers,
                authority: host(target, connection))
        } catch {
            throw AdminError(.invalidRequest, error.description, hint: error.hint)
        }
        var report = RequestReport(
            method: request.method, path: request.target, host: request.authority, outcome: .direct, explanation: "",
            capture: "")
        let capture = capture(source, target, destinations, answers)
        report.capture = capture.sentence
        guard capture.isProxied else {
            (report.outcome, report.explanation) = direct(destinations, answers)
            return report
        }
        if cookie(source.peer) != 0, let asked = target.flatMap(proxyPort), asked.spoken.isOpaque {
            report.outcome = .direct
            report.explanation =
                "the port is said to speak \(asked.spoken == .tls ? "TLS" : "TCP"): the proxy passes its bytes on as "
                + "they are, and looks at no request"
            report.settings = settings(asked)
            return report
        }
        if case .mixed = capture {
            report.explanation = "some endpoints are reached without the proxy; of the others: "
        }
        trace(request, source, target, destinations, connection.port, &report)
        return report
    }

    /// What a client of the Service writes that says nothing else.
    private func host(_ target: Target?, _ connection: ExplainRequest) -> String {
        let suffix = connection.port == 80 ? "" : ":\(connection.port)"
        if let name = target?.service.service { return "\(name.name).\(name.namespace)\(suffix)" }
        guard let address = IPAddress(connection.destination) else {
            let bare = connection.destination.split(separator: "/").last.map(String.init) ?? connection.destination
            return bare + suffix
        }
        return (address.isIPv4 ? "\(address)" : "[\(address)]") + suffix
    }

    // MARK: - Whether the proxy has it

    private enum Capture {
        case proxied(String)
        /// Depending on the endpoint that the kernel chooses.
        case mixed(String)
        case direct(String)

        var isProxied: Bool { if case .direct = self { false } else { true } }

        var sentence: String {
            switch self {
            case .proxied(let text), .mixed(let text), .direct(let text): text
            }
        }
    }

    private func capture(
        _ source: End, _ target: Target?, _ destinations: [End], _ answers: [ExplainReport.Answer]
    ) -> Capture {
        guard compiler.configuration.hasProxy else {
            return .direct("the agent runs no proxy, so that no route is enforced: see --proxy")
        }
        guard node.writer.plane.isProxyLive else {
            return .direct("no proxy is alive at the moment: what needs one is refused")
        }
        let isLocal = cookie(source.peer) != 0
        if isLocal, let target, let sentence = routeCapture(source, target) { return .proxied(sentence) }
        let needing = answers.filter { $0.verdict == .needsL7 }.count
        if needing == 0 {
            let why = isLocal ? "no route is in force for it" : "routes are for clients of this node's pods"
            return .direct("\(why), and no policy of either end looks at requests")
        }
        let sentence = "a policy looks at requests"
        return needing == answers.count ? .proxied(sentence) : .mixed("\(sentence) to \(needing) of \(answers.count)")
    }

    /// Why routes lead the connection to the proxy, by what the kernel's rows say.
    private func routeCapture(_ source: End, _ target: Target) -> String? {
        guard case .pod(let client) = source.peer, let workload = compiler.mesh.workloads[client],
            !workload.skipOutboundPorts.contains(target.key.port)
        else { return nil }
        switch node.state.reconciler.acknowledged[target.key] ?? ServiceCapture.none {
        case .none: return nil
        case .all: return "the Service has routes for all its clients"
        case .classes(let classes):
            guard classes.contains(workload.routeClass) else { return nil }
            return "namespace \(client.namespace) has routes of its own for the Service"
        }
    }

    private func direct(
        _ destinations: [End], _ answers: [ExplainReport.Answer]
    ) -> (RequestReport.Outcome, String) {
        let allowed = answers.filter { $0.verdict == .allow }.count
        if destinations.isEmpty { return (.refused, "the Service has no ready endpoint") }
        if allowed == 0 { return (.refused, "the connection is refused") }
        return allowed == answers.count
            ? (.direct, "the endpoint answers, and nothing between looks at the request")
            : (.mixed, "the endpoint answers where the connection is allowed, and nothing between looks at the request")
    }

    // MARK: - What the proxy does

    private func trace(
        _ request: AskedRequest, _ source: End, _ target: Target?, _ destinations: [End], _ port: UInt16,
        _ report: inout RequestReport
    ) {
        let isLocal = cookie(source.peer) != 0
        // What comes in from outside goes where it was sent: it meets no route.
        let asked = isLocal ? target.flatMap(proxyPort) : nil
        var router: Router?
        if let asked, case .pod(let client) = source.peer {
            router = compiler.routes.router(
                for: asked.service, port: asked.port.port, clientNamespace: client.namespace)
        }
        let trace = RequestTrace(request, router: router, port: port)
        report.route = trace.rule.map { rule(trace, $0) }
        var words = RequestFilterText(trace)
        if let asked { report.settings = settings(asked) }
        for backend in trace.backends {
            let (answer, service) = self.backend(backend, asked, destinations, source)
            report.backends.append(answer)
            if let service, service.service != asked?.service || service.port.port != asked?.port.port {
                report.settings += settings(service)
            }
        }
        if trace.answer == nil, let asked { words.add(asked.port.settings) }
        report.filters = words.lines
        let outcome = RequestOutcome(trace, report.backends, asked?.port.settings.fault)
        report.outcome = outcome.outcome
        report.status = outcome.status
        report.location = trace.answer?.location
        report.explanation += outcome.sentence
    }

    /// A port of a Service, as the proxy knows it.
    private struct ProxyPort {
        var service: NamespacedName
        var port: CompiledServicePort

        var spoken: PortProtocol { PortProtocol(appProtocol: port.appProtocol, port.settings.detect) }
    }

    private func proxyPort(_ target: Target) -> ProxyPort? {
        compiler.mesh.servicePorts[target.service.service]?
            .first { $0.port == target.key.port && $0.addresses.contains(target.key.address) }
            .map { ProxyPort(service: target.service.service, port: $0) }
    }

    private func rule(_ trace: RequestTrace, _ rule: CompiledRouteRule) -> RouteRuleReport {
        let match = trace.match?.match ?? 0
        var condition: String?
        if case .route(let route)? = compiler.routeObjects[rule.route] {
            condition = route.matchText(rule: rule.index, match: match)
        }
        return RouteRuleReport(
            kind: rule.route.kind, namespace: rule.route.namespace, name: rule.route.name, rule: rule.index,
            ruleName: rule.name, match: match, condition: condition ?? "every request")
    }

    private func settings(_ port: ProxyPort) -> [RequestSettingReport] {
        let resolution = compiler.meshPolicy(of: port.service, port: port.port.name)
        return MeshPolicyField.allCases.compactMap { field in
            guard let policy = resolution.sources[field], let value = field.text(of: resolution.settings) else {
                return nil
            }
            return RequestSettingReport(
                service: "\(port.service):\(port.port.port)", field: field.rawValue, value: value,
                policy: PolicyReference(policy))
        }
    }

    // MARK: - Backends

    /// - Returns: The report, and the Service's port if there is one.
    private func backend(
        _ backend: RequestTrace.Backend, _ asked: ProxyPort?, _ destinations: [End], _ source: End
    ) -> (RequestBackendReport, ProxyPort?) {
        var report = RequestBackendReport(
            service: nil, port: nil, weight: backend.weight, percent: backend.share * 100, path: backend.sent.target,
            host: backend.sent.authority, ready: 0, endpoints: [])
        let port: ProxyPort?
        switch backend.target {
        case nil: port = asked
        case .invalid(_, let reason)?:
            report.status = 500
            report.explanation = reason
            return (report, nil)
        case .service(let name, let number)?:
            port = compiler.mesh.servicePorts[name]?.first { $0.port == number }
                .map { ProxyPort(service: name, port: $0) }
        }
        if let port {
            report.service = port.service.description
            report.port = port.port.port
        }
        let ends =
            port.map { $0.port.taking.map { end($0.address, $0.port) } } ?? (backend.target == nil ? destinations : [])
        report.ready = ends.count
        if ends.isEmpty {
            report.status = 503
            report.explanation = "it has no ready endpoint"
        }
        report.endpoints = ends.map { judge(backend.sent, source, $0) }
        return (report, port)
    }

    /// Policy of the pod first, then the kernel's verdict about the proxy's own connection there.
    private func judge(_ sent: AskedRequest, _ source: End, _ end: End) -> RequestEndpointReport {
        var report = RequestEndpointReport(
            workload: nil, address: end.address.description, port: end.port, verdict: .allow,
            explanation: "no policy decides about requests to it")
        if case .pod(let name) = end.peer {
            report.workload = name.description
            if let policies = compiler.requestPolicies(of: name) {
                let judgement = sent.judged(
                    by: RequestAuthorizer(policies), principal: principal(source), client: client(source, end),
                    destination: end.address, port: end.port)
                report.apply(judgement)
            }
        }
        guard report.verdict == .allow, let kernel = try? ask(source, end, .tcp) else { return report }
        let verdict = PolicyVerdict(rawValue: kernel.verdict) ?? .deny
        if verdict == .deny, kernel.reason != UInt8(MESH_REASON_NEEDS_PROXY.rawValue) {
            report.verdict = .deny
            report.status = 503
            let reason = ReasonName.of(kernel.reason) ?? "policy"
            report.explanation = "the kernel refuses the proxy's connection (\(reason)), as it would the client's"
        }
        return report
    }

    /// The SPIFFE ID that the proxy knows the client by: only a pod that is enrolled on this node has proved one.
    private func principal(_ source: End) -> String? {
        guard case .pod(let name) = source.peer, cookie(source.peer) != 0, let pod = pod(name) else { return nil }
        return "\(compiler.configuration.trustDomain)/ns/\(name.namespace)/sa/\(pod.serviceAccountName)"
    }

    /// The client's address of the family that the connection has.
    private func client(_ source: End, _ end: End) -> IPAddress {
        guard case .pod(let name) = source.peer else { return source.address }
        return pod(name)?.podIPs.first { $0.isIPv4 == end.address.isIPv4 } ?? source.address
    }
}

extension CompiledServicePort {
    /// The endpoints that get new requests: those that end only if there is no other (KEP-1669).
    fileprivate var taking: [CompiledEndpoint] {
        let staying = endpoints.filter { !$0.isTerminating && $0.weight > 0 }
        return staying.isEmpty ? endpoints.filter { $0.weight > 0 } : staying
    }
}

extension RequestEndpointReport {
    fileprivate mutating func apply(_ judgement: RequestJudgement) {
        switch judgement {
        case .refused(let defect):
            verdict = .deny
            status = 400
            explanation = "a policy decides, and servers read the path in different ways (\(defect))"
        case .decided(let found):
            verdict = found.isAllowed ? .allow : .deny
            status = found.isAllowed ? nil : 403
            policies = found.policies.map { PolicyReference($0) }
            rule = found.rule
            explanation = found.sentence
            dryRun = found.dryRunIsAllowed.map { $0 ? .allow : .deny }
        }
    }
}
