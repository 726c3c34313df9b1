// SPDX-License-Identifier: Apache-2.0

/// A step of processing a request or its response.
public enum RouteFilter: Hashable, Sendable {
    case requestHeaderModifier(HeaderModifier)
    case responseHeaderModifier(HeaderModifier)
    case requestRedirect(RequestRedirect)
    case urlRewrite(URLRewrite)
    /// The only one of which a rule may have several.
    case requestMirror(RequestMirror)
    case cors(CORSPolicy)

    /// The value of `type`.
    public var typeName: String {
        switch self {
        case .requestHeaderModifier: "RequestHeaderModifier"
        case .responseHeaderModifier: "ResponseHeaderModifier"
        case .requestRedirect: "RequestRedirect"
        case .urlRewrite: "URLRewrite"
        case .requestMirror: "RequestMirror"
        case .cors: "CORS"
        }
    }
}

/// One line of a header section.
public struct HeaderField: Hashable, Sendable, CustomStringConvertible {
    public var name: String
    public var value: String

    public init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }

    public var description: String { "\(name): \(value)" }
}

/// What to change in a header section. No name occurs twice, in whatever case.
public struct HeaderModifier: Hashable, Sendable {
    /// Takes the place of all lines of the name.
    public var set: [HeaderField]
    /// Added to the lines of the name.
    public var add: [HeaderField]
    public var remove: [String]

    public init(set: [HeaderField] = [], add: [HeaderField] = [], remove: [String] = []) {
        self.set = set
        self.add = add
        self.remove = remove
    }
}

/// What becomes of a path.
public enum PathModifier: Hashable, Sendable {
    case replaceFullPath(String)
    /// In place of what the rule's only match, a prefix, has matched. May be empty.
    case replacePrefixMatch(String)
}

/// Answers the request with a redirection.
public struct RequestRedirect: Hashable, Sendable {
    public enum Scheme: String, Hashable, Sendable, CaseIterable {
        case http, https

        public var wellKnownPort: UInt16 { self == .http ? 80 : 443 }
    }

    /// `nil`: the scheme of the request.
    public var scheme: Scheme?
    /// `nil`: the host of the request.
    public var hostname: String?
    /// `nil`: the path of the request.
    public var path: PathModifier?
    /// `nil`: the well-known port of `scheme`, or without that the port that the request was sent to.
    public var port: UInt16?
    /// One of ``statusCodes``.
    public var statusCode: UInt16

    public static let statusCodes: [UInt16] = [301, 302, 303, 307, 308]

    public init(
        scheme: Scheme? = nil, hostname: String? = nil, path: PathModifier? = nil, port: UInt16? = nil,
        statusCode: UInt16 = 302
    ) {
        self.scheme = scheme
        self.hostname = hostname
        self.path = path
        self.port = port
        self.statusCode = statusCode
    }
}

/// Changes what a backend is asked for.
public struct URLRewrite: Hashable, Sendable {
    /// Replaces Host and `:authority`.
    public var hostname: String?
    public var path: PathModifier?

    public init(hostname: String? = nil, path: PathModifier? = nil) {
        self.hostname = hostname
        self.path = path
    }
}

/// Sends a copy of some requests to a further backend, whose answers are dropped.
public struct RequestMirror: Hashable, Sendable {
    public var backend: RouteBackendReference
    /// `numerator / denominator` of the requests; a percentage has the denominator 100.
    public var numerator: UInt32
    public var denominator: UInt32

    /// - Precondition: `denominator > 0`, `numerator <= denominator`.
    public init(backend: RouteBackendReference, numerator: UInt32 = 100, denominator: UInt32 = 100) {
        precondition(denominator > 0 && numerator <= denominator, "\(numerator)/\(denominator) is no share")
        self.backend = backend
        self.numerator = numerator
        self.denominator = denominator
    }
}

/// Cross-origin resource sharing. https://fetch.spec.whatwg.org/#http-cors-protocol
public struct CORSPolicy: Hashable, Sendable {
    /// `*`, or `scheme://host[:port]` where a `*` stands for any number of labels to its left.
    public var allowOrigins: [String]
    public var allowCredentials: Bool
    /// `*` alone, or methods.
    public var allowMethods: [String]
    /// `*` alone, or names.
    public var allowHeaders: [String]
    public var exposeHeaders: [String]
    /// Seconds.
    public var maxAge: UInt32

    public init(
        allowOrigins: [String] = [], allowCredentials: Bool = false, allowMethods: [String] = [],
        allowHeaders: [String] = [], exposeHeaders: [String] = [], maxAge: UInt32 = 5
    ) {
        self.allowOrigins = allowOrigins
        self.allowCredentials = allowCredentials
        self.allowMethods = allowMethods
        self.allowHeaders = allowHeaders
        self.exposeHeaders = exposeHeaders
        self.maxAge = maxAge
    }
}
