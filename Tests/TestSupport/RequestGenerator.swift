// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// Makes AuthorizationPolicy objects with fields of HTTP, and requests that they are about, by chance.
public struct RequestGenerator: Sendable {
    public var random: SplitMix64

    public init(seed: UInt64) { random = SplitMix64(seed: seed) }

    static let principals = [
        "cluster.local/ns/shop/sa/web", "cluster.local/ns/shop/sa/db", "cluster.local/ns/bank/sa/web",
        "other/ns/shop/sa/web",
    ]
    static let addresses = ["10.0.0.1", "10.0.0.2", "10.1.0.1", "8.8.8.8", "fd00::2"]
    static let ports: [UInt16] = [80, 443, 8080]
    static let methods = ["GET", "POST", "PUT"]
    static let pathPatterns = [
        "/a", "/a/b", "/a*", "/a/*", "/a/b*", "*/b", "*.txt", "*", "/a/{*}", "/a/{*}/c", "/a/{**}", "/{*}/b/{**}",
        "/a/{**}/c", "/%61/b", "/x%2fy", "/a@b", "/p.S/M", "/p.S/*", "/a/b/c", "/", "/v[1]",
    ]
    static let paths = [
        "/", "/a", "/a/b", "/a/b/c", "/a/x/c", "/ab", "/a/b.txt", "/p.S/M", "/p.S/N", "/a/", "/b", "/%61", "/a/%62",
        "//a", "/a//b", "/a/./b", "/x/../a", "/a%2Fb", "/a%2fb%2fc", "/a;p=1/b", "/a/b;p", "/x%2Fy", "/a%40b", "/a@b",
        "/v[1]", "/v%5B1%5D", "/a/..%2Fb", "/a%5Cb", "/a/%2e%2e/b", "/a/b/../c", "/x;/a", "*", "/a/%C3%A9",
    ]
    static let hostPatterns = ["web", "WEB.shop", "web:*", "*.shop", "w*", "*"]
    static let hosts: [String?] = ["web", "Web.Shop", "web:80", "api.shop", "other", nil]
    static let headerPatterns = ["1", "1*", "*2", "1,2", "*"]
    static let headerValues = ["1", "2", "12", "1,2", ""]
    static let blocks = ["10.0.0.0/16", "10.0.0.1", "0.0.0.0/0", "fd00::/8", "8.8.8.8"]

    // MARK: Policies

    public mutating func policy(_ name: String) -> AuthorizationPolicy {
        var policy = AuthorizationPolicy(
            metadata: ObjectMetadata(name: name, namespace: random.pick(["shop", "shop", "bank"])))
        policy.action = random.pick([.allow, .allow, .deny, .deny, .audit])
        policy.isDryRun = random.chance(15)
        policy.rules = random.list(atMost: 3) { _ in AuthorizationPolicy.Rule() }.map { _ in rule() }
        return policy
    }

    public mutating func rule() -> AuthorizationPolicy.Rule {
        var rule = AuthorizationPolicy.Rule()
        for _ in 0..<random.pick([0, 1, 1, 2]) { rule.from.append(source()) }
        for _ in 0..<random.pick([0, 1, 1, 2]) { rule.to.append(operation()) }
        for _ in 0..<random.pick([0, 0, 0, 1, 2]) { rule.when.append(condition()) }
        return rule
    }

    private mutating func values(_ all: [String]) -> [String] { random.some(all, atLeast: 1, atMost: 3) }

    private mutating func source() -> AuthorizationPolicy.Source {
        var source = AuthorizationPolicy.Source()
        let principals = Self.principals + ["*", "cluster.local/*", "*/sa/web", "spiffe://other/ns/shop/sa/web"]
        if random.chance(35) { source.principals = values(principals) }
        if random.chance(12) { source.notPrincipals = values(principals) }
        if random.chance(25) { source.namespaces = values(["shop", "bank", "b*", "*p", "*"]) }
        if random.chance(10) { source.notNamespaces = values(["shop", "b*"]) }
        if random.chance(20) { source.serviceAccounts = values(["web", "shop/web", "bank/web"]) }
        if random.chance(10) { source.notServiceAccounts = values(["web", "shop/db"]) }
        if random.chance(20) { source.ipBlocks = values(Self.blocks).compactMap { CIDR(addressOrPrefix: $0) } }
        if random.chance(10) { source.notIpBlocks = values(Self.blocks).compactMap { CIDR(addressOrPrefix: $0) } }
        if random.chance(10) { source.trustDomains = values(["other", "cluster*"]) }
        if random.chance(10) { source.remoteIpBlocks = values(Self.blocks) }
        if random.chance(8) { source.notRemoteIpBlocks = values(Self.blocks) }
        if random.chance(5) { source.requestPrincipals = ["*"] }
        if random.chance(3) { source.notRequestPrincipals = ["*"] }
        return source
    }

    private mutating func operation() -> AuthorizationPolicy.Operation {
        var operation = AuthorizationPolicy.Operation()
        if random.chance(25) { operation.ports = random.some(Self.ports, atLeast: 1, atMost: 2) }
        if random.chance(10) { operation.notPorts = random.some(Self.ports, atLeast: 1, atMost: 1) }
        if random.chance(35) { operation.methods = values(Self.methods + ["P*", "*"]) }
        if random.chance(12) { operation.notMethods = values(Self.methods + ["*T"]) }
        if random.chance(55) { operation.paths = values(Self.pathPatterns) }
        if random.chance(20) { operation.notPaths = values(Self.pathPatterns) }
        if random.chance(20) { operation.hosts = values(Self.hostPatterns) }
        if random.chance(10) { operation.notHosts = values(Self.hostPatterns) }
        return operation
    }

    private mutating func condition() -> AuthorizationPolicy.Condition {
        let key = random.pick([
            "source.ip", "remote.ip", "destination.ip", "destination.port", "source.namespace", "source.principal",
            "source.serviceAccount", "source.trustDomain", "request.headers[X-A]", "request.headers[x-a]",
            "request.headers[:authority]", "request.headers[:method]", "request.headers[:path]",
            "request.auth.claims[iss]", "request.auth.principal", "connection.sni",
        ])
        let all: [String]
        switch key {
        case "source.ip", "remote.ip", "destination.ip": all = Self.blocks
        case "destination.port": all = Self.ports.map { String($0) }
        case "source.namespace": all = ["shop", "b*", "*"]
        case "source.principal": all = Self.principals + ["*"]
        case "source.serviceAccount": all = ["web", "bank/web"]
        case "source.trustDomain": all = ["other", "*local"]
        case "request.headers[:authority]": all = ["web", "*.shop", "*"]
        case "request.headers[:method]": all = ["GET", "P*"]
        default: all = Self.headerPatterns
        }
        var condition = AuthorizationPolicy.Condition(key: key)
        if random.chance(75) { condition.values = values(all) }
        if random.chance(35) { condition.notValues = values(all) }
        return condition
    }

    // MARK: Requests

    public mutating func request() -> RequestOracle.Request {
        let address = { (random: inout SplitMix64) in
            let text = random.pick(Self.addresses)
            guard let address = IPAddress(text) else { preconditionFailure("\(text) is no address") }
            return address
        }
        let source = address(&random)
        return RequestOracle.Request(
            principal: random.chance(75) ? random.pick(Self.principals + ["cluster.local/x", "odd"]) : nil,
            source: source, remote: random.chance(30) ? address(&random) : source, destination: address(&random),
            port: random.pick(Self.ports), method: random.pick(Self.methods), path: path(),
            authority: random.pick(Self.hosts),
            headers: random.list(atMost: 3) { random in
                (name: random.pick(["x-a", "X-A", "x-b"]), value: random.pick(Self.headerValues))
            })
    }

    /// One of those that mean something to the policies, sometimes with something put into it.
    public mutating func path() -> String {
        var path = random.pick(Self.paths)
        if random.chance(20) {
            let piece = random.pick([
                "/", "/..", "/.", "%2F", "%2f", ";x", "%2e", "%61", "%41", "%25", "%252f", "%5c", "\\", "%00", "%", "[",
                "%7c", "|", "%c0%af", "%E0%80%AF", "%e0%a0%80", "%20", " ", "%3B", "a", ".", "b", "%2B", "+", "é", "#",
            ])
            let place = path.index(path.startIndex, offsetBy: Int.random(in: 0...path.count, using: &random))
            path.insert(contentsOf: piece, at: place)
        }
        return path
    }
}
