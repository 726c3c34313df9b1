// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// Which rule a request meets, read slowly from the text of the Gateway API: every match of every route is tried, and
/// of those that hold the one that the API prefers is taken. Shares nothing with the router but the objects.
public struct RouteOracle {
    public struct Request: Sendable, CustomStringConvertible {
        public var method: String
        /// As the client sent it.
        public var path: String
        public var query: String?
        /// Names in any case, also repeated.
        public var headers: [(name: String, value: String)]

        public init(method: String, path: String, query: String? = nil, headers: [(name: String, value: String)] = []) {
            self.method = method
            self.path = path
            self.query = query
            self.headers = headers
        }

        public var description: String {
            "\(method) \(path)\(query.map { "?\($0)" } ?? "") "
                + headers.map { "\($0.name): \($0.value)" }.joined(separator: ", ")
        }
    }

    public enum Answer: Hashable, Sendable {
        /// No route is attached: to the endpoints of the Service.
        case noRoute
        /// Routes, and none for this request: 404.
        case noRule
        case rule(ObjectReference, rule: Int, match: Int)
    }

    private let routes: [MeshRoute]
    private let services: [Service]
    /// The meaning of each regular expression that the routes use.
    private let expressions: [String: @Sendable (String) -> Bool]

    public init(
        routes: [MeshRoute], services: [Service], expressions: [String: @Sendable (String) -> Bool] = [:]
    ) {
        self.routes = routes
        self.services = services
        self.expressions = expressions
    }

    /// A match that holds, and what the API compares to choose between several: the larger is preferred.
    private struct Candidate {
        let answer: Answer
        /// In the order of the specification.
        let criteria: [Int]
        let created: String
        let name: String
        let position: [Int]

        /// Whether this one is chosen rather than the other.
        func isPreferred(over other: Candidate) -> Bool {
            if criteria != other.criteria { return other.criteria.lexicographicallyPrecedes(criteria) }
            if created != other.created { return created < other.created }
            if name != other.name { return name < other.name }
            return position.lexicographicallyPrecedes(other.position)
        }
    }

    public func answer(
        _ request: Request, to service: NamespacedName, port: UInt16, from clientNamespace: String
    ) -> Answer {
        let attached = routes.filter { isAttached($0, service, port) }
        // Consumer routes are for clients of their namespace, and take the place of the producer's.
        let consumer = attached.filter {
            $0.metadata.namespace != service.namespace && $0.metadata.namespace == clientNamespace
        }
        let producer = attached.filter { $0.metadata.namespace == service.namespace }
        var group = consumer.isEmpty ? producer : consumer
        if group.isEmpty { return .noRoute }
        // The most specific kind is served, the others conflict.
        if group.contains(where: { $0.kind == .grpc }) { group.removeAll { $0.kind != .grpc } }
        var best: Candidate?
        for candidate in group.flatMap({ candidates($0, request) }) {
            if let current = best, !candidate.isPreferred(over: current) { continue }
            best = candidate
        }
        return best?.answer ?? .noRule
    }

    private func isAttached(_ route: MeshRoute, _ name: NamespacedName, _ port: UInt16) -> Bool {
        guard let service = services.first(where: { $0.namespacedName == name }), !service.isHeadless,
            service.kind != .externalName,
            let servicePort = service.ports.first(where: { $0.port == port && $0.transport == .tcp })
        else { return false }
        switch route {
        case .http(let route):
            if route.rules.allSatisfy({ !$0.unsupported.isEmpty }), !route.rules.isEmpty { return false }
        case .grpc(let route):
            if route.rules.allSatisfy({ !$0.unsupported.isEmpty }), !route.rules.isEmpty { return false }
        }
        return route.parentRefs.contains { parent in
            guard parent.group == "", parent.kind == "Service", parent.name == name.name else { return false }
            guard (parent.namespace ?? route.metadata.namespace) == name.namespace else { return false }
            if let wanted = parent.port, wanted != port { return false }
            if let wanted = parent.sectionName, wanted != servicePort.name { return false }
            return true
        }
    }

    private func candidates(_ route: MeshRoute, _ request: Request) -> [Candidate] {
        var result: [Candidate] = []
        func add(_ rule: Int, _ match: Int, _ criteria: [Int]?) {
            guard let criteria else { return }
            result.append(
                Candidate(
                    answer: .rule(route.reference, rule: rule, match: match), criteria: criteria,
                    // A route that has no time yet is newer than all that have.
                    created: route.metadata.creationTimestamp ?? "~",
                    name: "\(route.metadata.namespace)/\(route.metadata.name)", position: [rule, match]))
        }
        switch route {
        case .http(let route):
            for (index, rule) in route.rules.enumerated() where !rule.unsupported.contains(where: { $0.part == .match })
            {
                for (number, match) in (rule.matches.isEmpty ? [HTTPRouteMatch()] : rule.matches).enumerated() {
                    add(index, number, criteria(match, request))
                }
            }
        case .grpc(let route):
            for (index, rule) in route.rules.enumerated() where !rule.unsupported.contains(where: { $0.part == .match })
            {
                for (number, match) in (rule.matches.isEmpty ? [GRPCRouteMatch()] : rule.matches).enumerated() {
                    add(index, number, criteria(match, request))
                }
            }
        }
        return result
    }

    // MARK: - HTTP

    private func criteria(_ match: HTTPRouteMatch, _ request: Request) -> [Int]? {
        let path = RoutePathOracle.normalized(request.path)
        let rank: [Int]
        switch match.path {
        case .exact(let value):
            guard path == RoutePathOracle.normalized(value) else { return nil }
            rank = [3, 0]
        case .prefix(let value):
            var prefix = RoutePathOracle.normalized(value)
            if prefix.hasSuffix("/") { prefix.removeLast() }
            let wanted = prefix.split(separator: "/", omittingEmptySubsequences: false)
            let elements = path.split(separator: "/", omittingEmptySubsequences: false)
            // The prefix / "has the effect of matching every HTTP request", and says nothing about the path.
            guard prefix.isEmpty || elements.starts(with: wanted) else { return nil }
            rank = prefix.isEmpty ? [0, 0] : [2, prefix.utf8.count]
        case .regularExpression(let pattern):
            guard expressions[pattern]!(path) else { return nil }
            rank = [1, 0]
        }
        if let method = match.method, method != request.method { return nil }
        guard let headers = headers(match.headers, request), let parameters = parameters(match.queryParams, request)
        else { return nil }
        return rank + [match.method == nil ? 0 : 1, headers, parameters]
    }

    /// The number of conditions; `nil` if one does not hold.
    private func headers(_ conditions: [FieldMatch], _ request: Request) -> Int? {
        var names: [String] = []
        for condition in conditions where !names.contains(condition.name.lowercased()) {
            names.append(condition.name.lowercased())
            let values = request.headers.filter { $0.name.lowercased() == condition.name.lowercased() }.map(\.value)
            guard !values.isEmpty, holds(condition.value, values.joined(separator: ",")) else { return nil }
        }
        return names.count
    }

    private func parameters(_ conditions: [FieldMatch], _ request: Request) -> Int? {
        var names: [String] = []
        for condition in conditions where !names.contains(condition.name) {
            names.append(condition.name)
            let pairs = (request.query ?? "").split(separator: "&").map { pair -> (String, String) in
                let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                return (
                    RoutePathOracle.formDecoded(String(parts[0])),
                    parts.count > 1 ? RoutePathOracle.formDecoded(String(parts[1])) : ""
                )
            }
            guard let pair = pairs.first(where: { $0.0 == condition.name }), holds(condition.value, pair.1) else {
                return nil
            }
        }
        return names.count
    }

    private func holds(_ condition: FieldMatch.Value, _ value: String) -> Bool {
        switch condition {
        case .exact(let wanted): value == wanted
        case .regularExpression(let pattern): expressions[pattern]!(value)
        }
    }

    // MARK: - gRPC

    private func criteria(_ match: GRPCRouteMatch, _ request: Request) -> [Int]? {
        let parts = request.path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 3, parts[0].isEmpty, !parts[1].isEmpty, !parts[2].isEmpty else { return nil }
        var rank = [0, 0, 0]
        if let wanted = match.method {
            switch wanted.kind {
            case .exact:
                if let service = wanted.service, service != parts[1] { return nil }
                if let method = wanted.method, method != parts[2] { return nil }
                rank = [wanted.service?.utf8.count ?? 0, wanted.method?.utf8.count ?? 0, 0]
            case .regularExpression:
                if let service = wanted.service, !expressions[service]!(parts[1]) { return nil }
                if let method = wanted.method, !expressions[method]!(parts[2]) { return nil }
                // A pattern has no characters to count: before no condition at all.
                rank = [0, 0, 1]
            }
        }
        guard let headers = headers(match.headers, request) else { return nil }
        return rank + [headers]
    }
}
