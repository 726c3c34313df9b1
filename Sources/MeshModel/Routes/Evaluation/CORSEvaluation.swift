// SPDX-License-Identifier: Apache-2.0

extension CORSPolicy {
    /// What a request says about its origin; `nil`: the header is not there.
    public struct Request: Hashable, Sendable {
        public var method: String
        public var origin: String?
        /// Access-Control-Request-Method.
        public var requestMethod: String?
        /// Access-Control-Request-Headers.
        public var requestHeaders: String?

        public init(method: String, origin: String?, requestMethod: String? = nil, requestHeaders: String? = nil) {
            self.method = method
            self.origin = origin
            self.requestMethod = requestMethod
            self.requestHeaders = requestHeaders
        }
    }

    public enum Answer: Hashable, Sendable {
        /// No request across origins: it is forwarded and its response is not changed.
        case notCORS
        /// To be answered at once with 204 and these lines. Without Access-Control-Allow-Origin the browser refuses.
        case preflight([HeaderField])
        /// To be forwarded; these lines take the place of those of the same names in the response.
        case actual([HeaderField])
    }

    /// - Returns: What to do with a request. https://fetch.spec.whatwg.org/#http-requests
    public func answer(_ request: Request) -> Answer {
        guard let origin = request.origin else { return .notCORS }
        let isPreflight = request.method == "OPTIONS" && request.requestMethod != nil
        // What is sent depends on the origin, also when nothing is: a cache must keep the two apart.
        let vary = HeaderField("Vary", "Origin")
        guard allows(origin) else { return isPreflight ? .preflight([vary]) : .actual([vary]) }
        var fields = [HeaderField("Access-Control-Allow-Origin", origin), vary]
        if allowCredentials { fields.append(HeaderField("Access-Control-Allow-Credentials", "true")) }
        guard isPreflight else {
            // With credentials a browser takes `*` for a name.
            let names = allowCredentials ? exposeHeaders.filter { $0 != "*" } : exposeHeaders
            if !names.isEmpty {
                fields.append(HeaderField("Access-Control-Expose-Headers", names.joined(separator: ", ")))
            }
            return .actual(fields)
        }
        if let value = Self.list(allowMethods, asked: request.requestMethod, allowCredentials) {
            fields.append(HeaderField("Access-Control-Allow-Methods", value))
        }
        if let value = Self.list(allowHeaders, asked: request.requestHeaders, allowCredentials) {
            fields.append(HeaderField("Access-Control-Allow-Headers", value))
        }
        fields.append(HeaderField("Access-Control-Max-Age", String(maxAge)))
        return .preflight(fields)
    }

    /// `*` with credentials becomes what was asked for, and nothing if nothing was.
    private static func list(_ values: [String], asked: String?, _ hasCredentials: Bool) -> String? {
        if values.isEmpty { return nil }
        guard values.contains("*") else { return values.joined(separator: ", ") }
        return hasCredentials ? asked : "*"
    }

    /// Whether an Origin header's value is one of `allowOrigins`. A missing port is the scheme's own on either side.
    public func allows(_ origin: String) -> Bool {
        if allowOrigins.contains("*") { return true }
        guard let asked = Origin(origin) else { return false }
        return allowOrigins.contains { Origin($0)?.covers(asked) == true }
    }

    private struct Origin {
        let scheme: String
        /// In lower case.
        let host: String
        let port: UInt16

        init?(_ text: String) {
            guard let scheme = ["http", "https"].first(where: { text.asciiLowercased.hasPrefix("\($0)://") }) else {
                return nil
            }
            var host = text.asciiLowercased.dropFirst(scheme.utf8.count + 3)
            var port: UInt16 = scheme == "http" ? 80 : 443
            // A colon in brackets is part of an IPv6 address.
            if let colon = host.lastIndex(of: ":"), !host[colon...].contains("]") {
                guard let number = UInt16(host[host.index(after: colon)...]), number > 0 else { return nil }
                port = number
                host = host[..<colon]
            }
            guard !host.isEmpty, !host.contains("/") else { return nil }
            self.scheme = scheme
            self.host = String(host)
            self.port = port
        }

        /// `*` stands for any number of labels, and at least one character.
        func covers(_ other: Origin) -> Bool {
            guard scheme == other.scheme, port == other.port else { return false }
            if host == "*" { return true }
            guard host.hasPrefix("*") else { return host == other.host }
            let suffix = host.dropFirst()
            return other.host.hasSuffix(suffix) && other.host.utf8.count > suffix.utf8.count
        }
    }
}
