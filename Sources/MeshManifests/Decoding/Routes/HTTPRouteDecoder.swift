// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// HTTPRoute of gateway.networking.k8s.io/v1.
enum HTTPRouteDecoder {
    private static let ruleFields = [
        "name", "matches", "filters", "backendRefs", "timeouts", "retry", "sessionPersistence",
    ]
    static let maximumFields = 16

    static func decode(_ header: ObjectHeader, _ mode: ManifestDecoder.UnsupportedValues) -> HTTPRoute {
        RouteDecoder(header, mode).route(
            ruleFields: ruleFields, allowed: Set(RouteFilterDecoder.FilterType.allCases),
            defaultMatch: HTTPRouteMatch(),
            match,
            prefixes: { if case .prefix = $0.path { true } else { false } })
    }

    private static func match(_ decoder: RouteDecoder, _ reader: FieldReader) -> HTTPRouteMatch? {
        guard let fields = reader.object(strict: ["path", "headers", "queryParams", "method"]) else { return nil }
        let reader = RouteFieldDecoder(unsupported: decoder.unsupported)
        return HTTPRouteMatch(
            path: fields["path"].flatMap { path($0, decoder.unsupported) } ?? .prefix("/"),
            method: fields["method"]?.string(oneOf: HTTPRouteMatch.methods),
            headers: fields["headers"].map { reader.matches($0, ignoringCase: true, valueLimit: 4096) } ?? [],
            queryParams: fields["queryParams"].map { reader.matches($0, ignoringCase: false, valueLimit: 1024) } ?? [])
    }

    private static func path(_ reader: FieldReader, _ unsupported: UnsupportedRouteSink) -> HTTPRouteMatch.PathMatch? {
        guard let fields = reader.object(strict: ["type", "value"]) else { return nil }
        let type =
            fields["type"].map { $0.string(oneOf: ["Exact", "PathPrefix", "RegularExpression"]) } ?? "PathPrefix"
        guard let type else { return nil }
        guard let field = fields["value"] else {
            // The API's default, which is a fine prefix and a strange pattern.
            return type == "Exact" ? .exact("/") : type == "PathPrefix" ? .prefix("/") : .regularExpression("/")
        }
        guard let value = field.string() else { return nil }
        if value.utf8.count > RouteText.maximumPath {
            field.report("has \(value.utf8.count) characters; the limit is \(RouteText.maximumPath)")
        }
        if type == "RegularExpression" {
            RouteFieldDecoder(unsupported: unsupported).checkPattern(field, value)
            return .regularExpression(value)
        }
        if let (problem, remedy) = RouteText.path(value) { field.report(problem, remedy: remedy) }
        return type == "Exact" ? .exact(value) : .prefix(value)
    }
}

/// GRPCRoute of gateway.networking.k8s.io/v1.
enum GRPCRouteDecoder {
    private static let ruleFields = ["name", "matches", "filters", "backendRefs", "sessionPersistence"]

    static func decode(_ header: ObjectHeader, _ mode: ManifestDecoder.UnsupportedValues) -> GRPCRoute {
        RouteDecoder(header, mode).route(
            ruleFields: ruleFields, allowed: RouteFilterDecoder.grpcTypes, defaultMatch: nil, match,
            prefixes: { _ in false })
    }

    private static func match(_ decoder: RouteDecoder, _ reader: FieldReader) -> GRPCRouteMatch? {
        guard let fields = reader.object(strict: ["method", "headers"]) else { return nil }
        let reader = RouteFieldDecoder(unsupported: decoder.unsupported)
        return GRPCRouteMatch(
            method: fields["method"].flatMap { method($0, reader) },
            headers: fields["headers"].map { reader.matches($0, ignoringCase: true, valueLimit: 4096) } ?? [])
    }

    private static func method(
        _ reader: FieldReader, _ patterns: RouteFieldDecoder
    ) -> GRPCRouteMatch.MethodMatch? {
        guard let fields = reader.object(strict: ["type", "service", "method"]) else { return nil }
        let type = fields["type"].map { $0.string(oneOf: ["Exact", "RegularExpression"]) } ?? "Exact"
        var match = GRPCRouteMatch.MethodMatch(kind: type == "RegularExpression" ? .regularExpression : .exact)
        for key in ["service", "method"] {
            // "If left empty or omitted, will match any."
            guard let field = fields[key], let text = field.string(), !text.isEmpty else { continue }
            if text.utf8.count > 1024 { field.report("has \(text.utf8.count) characters; the limit is 1024") }
            if match.kind == .regularExpression {
                patterns.checkPattern(field, text)
            } else if let problem = key == "service" ? RouteText.grpcService(text) : RouteText.grpcMethod(text) {
                field.report(problem)
            }
            if key == "service" { match.service = text } else { match.method = text }
        }
        if match.service == nil, match.method == nil {
            fields.report("needs a service, a method or both", remedy: "remove method to match every request")
            return nil
        }
        return match
    }
}
