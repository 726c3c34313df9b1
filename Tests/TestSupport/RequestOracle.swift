// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// A slow reading of AuthorizationPolicy for requests: loops over the objects as they were written.
///
/// It shares no code with the compiled authorizer, so that a mistake would have to be made twice.
public struct RequestOracle: Sendable {
    public struct Request: Sendable {
        public var principal: String?
        public var source: IPAddress
        public var remote: IPAddress
        public var destination: IPAddress
        public var port: UInt16
        public var method: String
        public var path: String
        public var authority: String?
        public var headers: [(name: String, value: String)]

        public init(
            principal: String? = nil, source: IPAddress, remote: IPAddress? = nil, destination: IPAddress,
            port: UInt16 = 80, method: String = "GET", path: String = "/", authority: String? = "web",
            headers: [(name: String, value: String)] = []
        ) {
            self.principal = principal
            self.source = source
            self.remote = remote ?? source
            self.destination = destination
            self.port = port
            self.method = method
            self.path = path
            self.authority = authority
            self.headers = headers
        }
    }

    public var policies: [AuthorizationPolicy]

    public init(_ policies: [AuthorizationPolicy]) { self.policies = policies }

    /// - Returns: `nil` if the path is refused.
    public func allows(_ request: Request, withDryRun: Bool = false) -> Bool? {
        RequestPathOracle.readings(request.path)?.allSatisfy { allows(request, path: $0, withDryRun) }
    }

    /// Whether a rule, by its place in ``policies`` and in its policy, matches some reading of the path.
    public func matches(policy: Int, rule: Int, _ request: Request) -> Bool {
        (RequestPathOracle.readings(request.path) ?? []).contains {
            Self.matches(policies[policy].rules[rule], policies[policy], request, $0)
        }
    }

    private func allows(_ request: Request, path: String, _ withDryRun: Bool) -> Bool {
        let enforced = policies.filter { withDryRun || !$0.isDryRun }
        let matches = { (policy: AuthorizationPolicy) in
            policy.rules.contains { Self.matches($0, policy, request, path) }
        }
        for policy in enforced where policy.action == .deny && matches(policy) { return false }
        let allows = enforced.filter { $0.action == .allow }
        return allows.isEmpty || allows.contains(where: matches)
    }

    private static func matches(
        _ rule: AuthorizationPolicy.Rule, _ policy: AuthorizationPolicy, _ request: Request, _ path: String
    ) -> Bool {
        let context = Context(policy: policy, request: request, path: path)
        if !rule.from.isEmpty, !rule.from.contains(where: context.holds) { return false }
        if !rule.to.isEmpty, !rule.to.contains(where: context.holds) { return false }
        return rule.when.allSatisfy(context.holds)
    }

    private struct Context {
        let policy: AuthorizationPolicy
        let request: Request
        let path: String

        /// An attribute that nobody can tell.
        var unknown: Bool { policy.action == .deny }

        /// Every SPIFFE ID has one.
        var domain: String? { request.principal?.components(of: "/")[0] }

        var identity: (namespace: String, account: String)? {
            guard let parts = request.principal?.components(of: "/"), parts.count == 5, parts[1] == "ns",
                parts[3] == "sa"
            else { return nil }
            return (parts[2], parts[4])
        }

        func holds(_ source: AuthorizationPolicy.Source) -> Bool {
            if source == AuthorizationPolicy.Source() { return false }
            if !source.requestPrincipals.isEmpty || !source.notRequestPrincipals.isEmpty, !unknown { return false }
            return listed(source.principals, source.notPrincipals, isPrincipal)
                && listed(source.namespaces, source.notNamespaces) { like($0, identity?.namespace) }
                && listed(source.serviceAccounts, source.notServiceAccounts, isAccount)
                && listed(source.trustDomains, source.notTrustDomains) { like($0, domain) }
                && listed(source.ipBlocks, source.notIpBlocks) { $0.contains(request.source) }
                && listed(source.remoteIpBlocks, source.notRemoteIpBlocks) { isInside($0, request.remote) }
        }

        func holds(_ operation: AuthorizationPolicy.Operation) -> Bool {
            if operation == AuthorizationPolicy.Operation() { return false }
            return listed(operation.hosts, operation.notHosts) {
                like($0.lowercased(), request.authority?.lowercased())
            }
                && listed(operation.ports, operation.notPorts) { $0 == request.port }
                && listed(operation.methods, operation.notMethods) { like($0, request.method) }
                && listed(operation.paths, operation.notPaths, isPath)
        }

        func holds(_ condition: AuthorizationPolicy.Condition) -> Bool {
            if condition.values.isEmpty, condition.notValues.isEmpty { return false }
            let test: (String) -> Bool
            switch condition.key {
            case "source.ip": test = { isInside($0, request.source) }
            case "remote.ip": test = { isInside($0, request.remote) }
            case "destination.ip": test = { isInside($0, request.destination) }
            case "destination.port": test = { $0 == String(request.port) }
            case "source.namespace": test = { like($0, identity?.namespace) }
            case "source.trustDomain": test = { like($0, domain) }
            case "source.principal": test = isPrincipal
            case "source.serviceAccount": test = isAccount
            default:
                guard condition.key.hasPrefix("request.headers[") else { return unknown }
                let name = String(condition.key.dropFirst(16).dropLast()).lowercased()
                if name == "host" || name == ":authority" {
                    test = { like($0, request.authority) }
                } else if name == ":method" {
                    test = { like($0, request.method) }
                } else if name.hasPrefix(":") {
                    return unknown
                } else {
                    let lines = request.headers.filter { $0.name.lowercased() == name }.map(\.value)
                    let value = lines.isEmpty ? nil : lines.joined(separator: ",")
                    test = { like($0, value) }
                }
            }
            return listed(condition.values, condition.notValues, test)
        }

        private func listed<Value>(_ values: [Value], _ notValues: [Value], _ test: (Value) -> Bool) -> Bool {
            (values.isEmpty || values.contains(where: test)) && !notValues.contains(where: test)
        }

        private func isPrincipal(_ pattern: String) -> Bool {
            like(pattern.hasPrefix("spiffe://") ? String(pattern.dropFirst(9)) : pattern, request.principal)
        }

        private func isAccount(_ text: String) -> Bool {
            guard let identity else { return false }
            let parts = text.components(of: "/")
            if parts.count == 2 { return parts == [identity.namespace, identity.account] }
            return text == identity.account && policy.metadata.namespace == identity.namespace
        }

        private func isInside(_ text: String, _ address: IPAddress) -> Bool {
            (CIDR(text) ?? IPAddress(text).map { CIDR(host: $0) })?.contains(address) ?? false
        }

        private func isPath(_ pattern: String) -> Bool {
            if pattern.contains("{*}") || pattern.contains("{**}") { return isTemplate(pattern) }
            if pattern == "*" { return true }
            let text = RequestPathOracle.spelled(pattern: pattern.filter { $0 != "*" })
            if pattern.hasPrefix("*") { return path.hasSuffix(text) }
            return pattern.hasSuffix("*") ? path.hasPrefix(text) : path == text
        }

        private func isTemplate(_ pattern: String) -> Bool {
            let wanted = pattern.components(of: "/")
            let segments = path.components(of: "/")
            for (index, segment) in wanted.enumerated() {
                guard index < segments.count else { return false }
                if segment == "{**}" {
                    let tail = wanted[(index + 1)...].map { "/" + RequestPathOracle.spelled(pattern: $0) }.joined()
                    return segments[index...].joined(separator: "/").hasSuffix(tail)
                }
                if segment == "{*}" {
                    if segments[index] == "" { return false }
                } else if segments[index] != RequestPathOracle.spelled(pattern: segment) {
                    return false
                }
            }
            return segments.count == wanted.count
        }

        private func like(_ pattern: String, _ text: String?) -> Bool {
            guard let text else { return false }
            if pattern == "*" { return true }
            if pattern.first == "*" { return text.hasSuffix(String(pattern.dropFirst())) }
            if pattern.last == "*" { return text.hasPrefix(String(pattern.dropLast())) }
            return pattern == text
        }
    }
}
