// SPDX-License-Identifier: Apache-2.0

/// A request that a client would make over a connection.
public struct RequestQuestion: Codable, Equatable, Sendable {
    public var method: String
    /// Begins with `/`; perhaps with a query.
    public var path: String
    /// `Name: value` each.
    public var headers: [String]

    public init(method: String, path: String, headers: [String] = []) {
        self.method = method
        self.path = path
        self.headers = headers
    }
}

/// What becomes of a request.
public struct RequestReport: Codable, Equatable, Sendable {
    public enum Outcome: String, Codable, Sendable {
        /// The connection is refused: there is no request.
        case refused
        /// The connection does not go through the proxy: nobody reads the request on the way.
        case direct
        /// The proxy sends it to a backend.
        case forwarded
        /// The proxy answers it itself, with `status`.
        case answered
        /// It depends on the backend, the endpoint or chance.
        case mixed
    }

    public var method: String
    public var path: String
    /// The Host that was given, or the one that is taken for it.
    public var host: String
    public var outcome: Outcome
    /// Of the proxy's own answer.
    public var status: UInt16?
    /// Where a redirection leads.
    public var location: String?
    /// Why, in one sentence.
    public var explanation: String
    /// Why the connection goes through the proxy, or does not.
    public var capture: String
    /// Absent where no route is attached, or none matches.
    public var route: RouteRuleReport?
    /// What the rule, its backends and the policies of the Service do to the request and its response, in order.
    public var filters: [String]
    /// Absent or empty where the proxy asks no backend.
    public var backends: [RequestBackendReport]
    /// What MeshPolicy sets for the Services that take part.
    public var settings: [RequestSettingReport]

    public init(
        method: String, path: String, host: String, outcome: Outcome, status: UInt16? = nil, location: String? = nil,
        explanation: String, capture: String, route: RouteRuleReport? = nil, filters: [String] = [],
        backends: [RequestBackendReport] = [], settings: [RequestSettingReport] = []
    ) {
        self.method = method
        self.path = path
        self.host = host
        self.outcome = outcome
        self.status = status
        self.location = location
        self.explanation = explanation
        self.capture = capture
        self.route = route
        self.filters = filters
        self.backends = backends
        self.settings = settings
    }
}

/// The rule of a route that decides about a request.
public struct RouteRuleReport: Codable, Equatable, Sendable {
    /// `HTTPRoute` or `GRPCRoute`.
    public var kind: String
    public var namespace: String
    public var name: String
    /// In the route, from 0.
    public var rule: Int
    public var ruleName: String?
    /// Of the rule, from 0.
    public var match: Int
    /// What the match asks for.
    public var condition: String

    public init(
        kind: String, namespace: String, name: String, rule: Int, ruleName: String? = nil, match: Int,
        condition: String
    ) {
        self.kind = kind
        self.namespace = namespace
        self.name = name
        self.rule = rule
        self.ruleName = ruleName
        self.match = match
        self.condition = condition
    }
}

/// One of those that a rule shares its requests among.
public struct RequestBackendReport: Codable, Equatable, Sendable {
    /// `NAMESPACE/NAME`; absent: there is none, or the client has asked for an address.
    public var service: String?
    public var port: UInt16?
    public var weight: UInt32
    /// Of the requests, 0 to 100.
    public var percent: Double
    /// What the proxy answers for this share, whatever the endpoint.
    public var status: UInt16?
    public var explanation: String?
    /// Path, query and Host as they arrive there.
    public var path: String
    public var host: String
    /// Those that get requests.
    public var ready: Int
    public var endpoints: [RequestEndpointReport]

    public init(
        service: String?, port: UInt16?, weight: UInt32, percent: Double, status: UInt16? = nil,
        explanation: String? = nil, path: String, host: String, ready: Int, endpoints: [RequestEndpointReport]
    ) {
        self.service = service
        self.port = port
        self.weight = weight
        self.percent = percent
        self.status = status
        self.explanation = explanation
        self.path = path
        self.host = host
        self.ready = ready
        self.endpoints = endpoints
    }
}

/// What the policies of one endpoint say to a request.
public struct RequestEndpointReport: Codable, Equatable, Sendable {
    /// `NAMESPACE/NAME` of the pod; absent if it is not known.
    public var workload: String?
    public var address: String
    public var port: UInt16
    public var verdict: ExplainReport.Verdict
    /// What the proxy answers if it is not allowed.
    public var status: UInt16?
    /// The policy whose rule decided, or those that allow nothing here.
    public var policies: [PolicyReference]
    /// In that policy, from 0.
    public var rule: Int?
    public var explanation: String
    /// The verdict if dry-run policies were enforced; absent where it is the same.
    public var dryRun: ExplainReport.Verdict?

    public init(
        workload: String?, address: String, port: UInt16, verdict: ExplainReport.Verdict, status: UInt16? = nil,
        policies: [PolicyReference] = [], rule: Int? = nil, explanation: String, dryRun: ExplainReport.Verdict? = nil
    ) {
        self.workload = workload
        self.address = address
        self.port = port
        self.verdict = verdict
        self.status = status
        self.policies = policies
        self.rule = rule
        self.explanation = explanation
        self.dryRun = dryRun
    }
}

/// One field that a MeshPolicy sets.
public struct RequestSettingReport: Codable, Equatable, Sendable {
    /// `NAMESPACE/NAME` and port of the Service.
    public var service: String
    /// As in the policy's spec.
    public var field: String
    public var value: String
    public var policy: PolicyReference

    public init(service: String, field: String, value: String, policy: PolicyReference) {
        self.service = service
        self.field = field
        self.value = value
        self.policy = policy
    }
}
