// SPDX-License-Identifier: Apache-2.0

/// All of these must hold.
public struct HTTPRouteMatch: Hashable, Sendable {
    /// Also where the object says nothing about paths: the API's default is the prefix `/`.
    public var path: PathMatch
    /// `nil`: every method. Compared with case, as methods are (RFC 9110 section 9.1).
    public var method: String?
    public var headers: [FieldMatch]
    public var queryParams: [FieldMatch]

    public init(
        path: PathMatch = .prefix("/"), method: String? = nil, headers: [FieldMatch] = [],
        queryParams: [FieldMatch] = []
    ) {
        self.path = path
        self.method = method
        self.headers = headers
        self.queryParams = queryParams
    }

    public enum PathMatch: Hashable, Sendable {
        case exact(String)
        /// By path elements: `/v2` is a prefix of `/v2` and `/v2/a`, not of `/v2a`. A `/` at the end says nothing.
        case prefix(String)
        /// The whole path, in the syntax of ``RegexPattern``.
        case regularExpression(String)
    }

    /// The values of `method` that the API knows.
    public static let methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]
}

/// A condition on a header field or a query parameter.
public struct FieldMatch: Hashable, Sendable {
    public enum Value: Hashable, Sendable {
        case exact(String)
        /// The whole value, in the syntax of ``RegexPattern``.
        case regularExpression(String)
    }

    /// A header name has no case; the name of a query parameter has. Of several conditions on one name only the first
    /// counts, as the API demands.
    public var name: String
    public var value: Value

    public init(name: String, value: Value) {
        self.name = name
        self.value = value
    }

    public init(_ name: String, _ value: String) {
        self.init(name: name, value: .exact(value))
    }
}

/// All of these must hold.
public struct GRPCRouteMatch: Hashable, Sendable {
    /// `nil`: every service and method.
    public var method: MethodMatch?
    public var headers: [FieldMatch]

    public init(method: MethodMatch? = nil, headers: [FieldMatch] = []) {
        self.method = method
        self.headers = headers
    }

    /// A gRPC request's path is `/` service `/` method; at least one of the two is given.
    public struct MethodMatch: Hashable, Sendable {
        public enum Kind: Hashable, Sendable {
            case exact
            case regularExpression
        }

        public var kind: Kind
        /// With its package, `helloworld.Greeter`; `nil`: any.
        public var service: String?
        /// `nil`: any.
        public var method: String?

        public init(kind: Kind = .exact, service: String? = nil, method: String? = nil) {
            self.kind = kind
            self.service = service
            self.method = method
        }
    }
}

extension [FieldMatch] {
    /// Without those that the API says must be ignored: a later one of the same name.
    func firstOfEachName(ignoringCase: Bool) -> [FieldMatch] {
        var names: Set<String> = []
        return filter { names.insert(ignoringCase ? $0.name.asciiLowercased : $0.name).inserted }
    }
}

extension String {
    /// `A` to `Z` in lower case, all else as it is: what "case-insensitive" means for a header name.
    var asciiLowercased: String {
        String(decoding: utf8.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
    }
}
