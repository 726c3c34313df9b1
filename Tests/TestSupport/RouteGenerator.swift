// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// Random routes and requests over few words, so that they meet.
public struct RouteGenerator {
    public var random: SplitMix64

    public init(seed: UInt64) { random = SplitMix64(seed: seed) }

    /// Patterns with what they mean, written by hand.
    public static let expressions: [String: @Sendable (String) -> Bool] = [
        "/a/.*": { $0.hasPrefix("/a/") },
        "/(a|b)/[0-9]+": { text in
            ["/a/", "/b/"].contains { text.hasPrefix($0) }
                && text.dropFirst(3).count > 0 && text.dropFirst(3).allSatisfy(\.isNumber)
        },
        ".*b": { $0.hasSuffix("b") },
        "v[12]": { $0 == "v1" || $0 == "v2" },
        "[a-z.]*": { $0.allSatisfy { ("a"..."z").contains($0) || $0 == "." } },
        "(?i)get.*": { $0.lowercased().hasPrefix("get") },
    ]

    static let paths = [
        "/", "/a", "/a/", "/a/b", "/a/b/", "/a/b/c", "/b", "/ab", "/a%20b", "/a/7", "/b/12", "/a/b/c/d", "/%61/b",
        "/a%2fb", "/a/./b", "/a/x/../b", "//a", "/a//b", "/A", "/%c3%a9", "/a/..", "/..", "/a/.b",
    ]
    static let fieldNames = ["x-a", "X-A", "x-b", "Version"]
    static let values = ["v1", "v2", "b", "v1,v2", "V1"]
    static let services = ["a.S", "a.T", "S", "b.a.S"]
    static let methods = ["Get", "GetAll", "Put", "get"]
    static let namespaces = ["shop", "shop", "bank", "blog"]
    static let clients = ["shop", "bank", "blog", "far"]

    public static let service = Service(
        metadata: ObjectMetadata(name: "web", namespace: "shop"),
        ports: [
            .init(name: "http", port: 80), .init(name: "alt", port: 8080),
            .init(name: "dns", port: 53, transport: .udp),
        ])

    public mutating func routes() -> [MeshRoute] {
        // Mostly one kind; sometimes they conflict.
        let percentGRPC = random.pick([0, 0, 5, 60, 100])
        return (0..<Int.random(in: 0...8, using: &random)).map { number in
            random.chance(percentGRPC) ? .grpc(grpc("r\(number)")) : .http(http("r\(number)"))
        }
    }

    private mutating func metadata(_ name: String) -> ObjectMetadata {
        ObjectMetadata(
            name: name, namespace: random.pick(Self.namespaces),
            creationTimestamp: random.pick([nil, "2025-01-01T00:00:00Z", "2024-01-01T00:00:00Z"]))
    }

    private mutating func parents() -> [RouteParentReference] {
        random.list(atLeast: 1, atMost: 2) { random in
            RouteParentReference(
                namespace: random.chance(90) ? "shop" : nil, name: random.chance(95) ? "web" : "other",
                sectionName: random.chance(15) ? random.pick(["http", "alt", "dns"]) : nil,
                port: random.chance(20) ? random.pick([80, 8080, 53]) : nil)
        }
    }

    private mutating func unsupported() -> [UnsupportedRouteValue] {
        random.chance(5)
            ? [UnsupportedRouteValue(part: random.chance(50) ? .match : .action, field: "f", reason: "r")] : []
    }

    private mutating func http(_ name: String) -> HTTPRoute {
        var route = HTTPRoute(metadata: metadata(name), parentRefs: parents())
        for _ in 0..<Int.random(in: 0...3, using: &random) {
            let matches = (0..<Int.random(in: 0...3, using: &random)).map { _ in httpMatch() }
            route.rules.append(.init(matches: matches, unsupported: unsupported()))
        }
        return route
    }

    private mutating func httpMatch() -> HTTPRouteMatch {
        var match = HTTPRouteMatch()
        switch Int.random(in: 0..<10, using: &random) {
        case 0..<4: match.path = .prefix(random.pick(Self.paths))
        case 4..<7: match.path = .exact(random.pick(Self.paths))
        case 7: match.path = .regularExpression(random.pick(["/a/.*", "/(a|b)/[0-9]+", ".*b"]))
        default: break
        }
        if random.chance(25) { match.method = random.pick(["GET", "PUT"]) }
        match.headers = fields(Self.fieldNames)
        match.queryParams = fields(["q", "p", "x y"])
        return match
    }

    private mutating func fields(_ names: [String]) -> [FieldMatch] {
        guard random.chance(35) else { return [] }
        return random.list(atLeast: 1, atMost: 2) { random in
            FieldMatch(
                name: random.pick(names),
                value: random.chance(75)
                    ? .exact(random.pick(Self.values)) : .regularExpression(random.pick([".*b", "v[12]"])))
        }
    }

    private mutating func grpc(_ name: String) -> GRPCRoute {
        var route = GRPCRoute(metadata: metadata(name), parentRefs: parents())
        for _ in 0..<Int.random(in: 0...3, using: &random) {
            let matches = (0..<Int.random(in: 0...3, using: &random)).map { _ in grpcMatch() }
            route.rules.append(.init(matches: matches, unsupported: unsupported()))
        }
        return route
    }

    private mutating func grpcMatch() -> GRPCRouteMatch {
        var match = GRPCRouteMatch(headers: fields(Self.fieldNames))
        let isPattern = random.chance(20)
        let service = isPattern ? "[a-z.]*" : random.pick(Self.services)
        let method = isPattern ? "(?i)get.*" : random.pick(Self.methods)
        switch Int.random(in: 0..<5, using: &random) {
        case 0: break
        case 1: match.method = .init(kind: isPattern ? .regularExpression : .exact, service: service)
        case 2: match.method = .init(kind: isPattern ? .regularExpression : .exact, method: method)
        default: match.method = .init(kind: isPattern ? .regularExpression : .exact, service: service, method: method)
        }
        return match
    }

    public mutating func request() -> RouteOracle.Request {
        var request = RouteOracle.Request(method: random.pick(["GET", "PUT", "POST", "get"]), path: "")
        if random.chance(30) {
            request.path = "/\(random.pick(Self.services))/\(random.pick(Self.methods))"
            if random.chance(10) { request.path += random.pick(["/", "/x"]) }
        } else {
            request.path = random.chance(5) ? random.pick(["*", ""]) : random.pick(Self.paths)
            if random.chance(20) { request.path += random.pick(["/", "/b", "/7", "x", "/%2e%2e"]) }
        }
        for _ in 0..<Int.random(in: 0...3, using: &random) {
            request.headers.append((random.pick(Self.fieldNames + ["Other"]), random.pick(Self.values)))
        }
        if random.chance(50) {
            let names = ["q", "p", "Q", "%71", "x+y", "x%20y", ""]
            request.query = random.list(atMost: 3) { random in
                random.pick(names) + random.pick(["=", "=", "=", ""])
                    + random.pick(["v1", "v2", "b", "%76%31", "v1%2Cv2", "V1", "%", "%7", "a=b", ""])
            }.joined(separator: "&")
        }
        return request
    }

    public mutating func client() -> String { random.pick(Self.clients) }
    public mutating func port() -> UInt16 { random.pick([80, 8080, 53]) }
}
