// SPDX-License-Identifier: Apache-2.0

extension MeshRoute {
    /// A match of a rule in one line, for a person; `nil`: the rule has none, and takes every request.
    public func matchText(rule: Int, match: Int) -> String? {
        switch self {
        case .http(let route):
            guard route.rules.indices.contains(rule), route.rules[rule].matches.indices.contains(match) else {
                return nil
            }
            return route.rules[rule].matches[match].description
        case .grpc(let route):
            guard route.rules.indices.contains(rule), route.rules[rule].matches.indices.contains(match) else {
                return nil
            }
            return route.rules[rule].matches[match].description
        }
    }
}

extension HTTPRouteMatch: CustomStringConvertible {
    public var description: String {
        var words: [String] = []
        switch path {
        case .exact(let text): words.append("path \(text)")
        case .prefix(let text): words.append("path prefix \(text)")
        case .regularExpression(let text): words.append("path matches \(text)")
        }
        if let method { words.append("method \(method)") }
        words += headers.map { "header \($0)" }
        words += queryParams.map { "query \($0)" }
        return words.joined(separator: ", ")
    }
}

extension GRPCRouteMatch: CustomStringConvertible {
    public var description: String {
        var words: [String] = []
        if let method {
            let verb = method.kind == .exact ? "" : "matches "
            if let service = method.service { words.append("service \(verb)\(service)") }
            if let name = method.method { words.append("method \(verb)\(name)") }
        }
        words += headers.map { "header \($0)" }
        return words.isEmpty ? "every method" : words.joined(separator: ", ")
    }
}

extension FieldMatch: CustomStringConvertible {
    public var description: String {
        switch value {
        case .exact(let text): "\(name)=\(text)"
        case .regularExpression(let text): "\(name) matches \(text)"
        }
    }
}
