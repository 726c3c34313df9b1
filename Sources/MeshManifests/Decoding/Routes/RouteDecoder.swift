// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// What HTTPRoute and GRPCRoute have in common.
///
/// https://github.com/kubernetes-sigs/gateway-api/blob/v1.4.0/apis/v1/httproute_types.go
struct RouteDecoder {
    let header: ObjectHeader
    let unsupported: UnsupportedRouteSink

    static let maximumRules = 16
    static let maximumMatches = 64
    /// Over all rules of a route.
    static let maximumMatchesInAll = 128
    static let maximumParents = 32
    static let maximumHostnames = 16

    init(_ header: ObjectHeader, _ mode: ManifestDecoder.UnsupportedValues) {
        self.header = header
        unsupported = UnsupportedRouteSink(mode)
    }

    /// Reads all but the rules' matches.
    ///
    /// - Parameters:
    ///   - ruleFields: the fields of a rule.
    ///   - match: reads one match.
    func route<Match>(
        ruleFields: [String], allowed: Set<RouteFilterDecoder.FilterType>, defaultMatch: Match?,
        _ match: (RouteDecoder, FieldReader) -> Match?, prefixes: (Match) -> Bool
    ) -> Route<Match> {
        var route = Route<Match>(metadata: header.metadata, generation: header.generation)
        guard
            let spec = header.object.required("spec")?.object(
                strict: ["parentRefs", "hostnames", "rules", "useDefaultGateways"])
        else { return route }
        if let field = spec["useDefaultGateways"] {
            field.report("is about Gateways, which the mesh does not have", remedy: "remove it", severity: .warning)
        }
        route.parentRefs = RouteReferenceDecoder.parents(spec)
        route.hostnames =
            spec["hostnames"]?.list(atMost: Self.maximumHostnames).compactMap { field in
                guard let name = field.string() else { return nil }
                if let problem = RouteText.hostname(name, allowsWildcard: true) { field.report(problem) }
                return name
            } ?? []
        if let field = spec["hostnames"], !route.hostnames.isEmpty {
            field.report(
                "has no effect on a Service: a mesh matches by the Service's address (GEP-1294)", remedy: "remove it",
                severity: .warning)
        }
        guard let rules = spec["rules"] else {
            // The API server writes this default for an HTTPRoute; a GRPCRoute without rules has none.
            if let defaultMatch { route.rules = [.init(matches: [defaultMatch])] }
            return route
        }
        if defaultMatch != nil, rules.node.elements?.isEmpty == true {
            rules.report("must have at least one rule", remedy: "remove the field for one rule that matches everything")
        }
        var names: Set<String> = []
        var matches = 0
        for field in rules.list(atMost: Self.maximumRules) {
            guard let rule = self.rule(field, ruleFields, allowed, defaultMatch, match, prefixes) else { continue }
            if let name = rule.name, !names.insert(name).inserted {
                field.report("the name \"\(name.clipped)\" is given to two rules", remedy: "rename one of the two")
            }
            matches += rule.matches.count
            route.rules.append(rule)
        }
        if matches > Self.maximumMatchesInAll {
            rules.report(
                "has \(matches) matches in all; the limit is \(Self.maximumMatchesInAll)",
                remedy: "split the route in two")
        }
        return route
    }

    private func rule<Match>(
        _ reader: FieldReader, _ known: [String], _ allowed: Set<RouteFilterDecoder.FilterType>, _ defaultMatch: Match?,
        _ match: (RouteDecoder, FieldReader) -> Match?, _ isPrefix: (Match) -> Bool
    ) -> Route<Match>.Rule? {
        guard let fields = reader.object(strict: known) else { return nil }
        var rule = Route<Match>.Rule()
        if let field = fields["name"], let name = field.string() {
            if let problem = NameRules.subdomain(name) { field.report(problem) }
            rule.name = name
        }
        rule.matches =
            fields["matches"]?.list(atMost: Self.maximumMatches).compactMap { match(self, $0) }
            ?? [defaultMatch].compactMap(\.self)
        if let field = fields["sessionPersistence"] {
            unsupported.report(field, .action, "session persistence is not supported", remedy: "remove it")
        }
        // What a prefix to replace needs: one match, a prefix. With none written, the default is one.
        let hasOnePrefix = rule.matches.count == 1 && rule.matches.allSatisfy(isPrefix)
        let filters = RouteFilterDecoder(
            allowed: allowed, hasOnePrefix: hasOnePrefix, isOnBackend: false, unsupported: unsupported)
        rule.filters = filters.filters(fields["filters"])
        rule.backends = RouteReferenceDecoder.backends(
            fields["backendRefs"],
            RouteFilterDecoder(
                allowed: allowed, hasOnePrefix: hasOnePrefix, isOnBackend: true, unsupported: unsupported))
        let hasRedirect = rule.filters.contains { if case .requestRedirect = $0 { true } else { false } }
        if hasRedirect, let backends = fields["backendRefs"], !rule.backends.isEmpty {
            backends.report(
                "cannot be together with a RequestRedirect filter, which answers the request", remedy: "remove one")
        }
        if let field = fields["timeouts"] { rule.timeouts = RouteTimingDecoder.timeouts(field) }
        if let field = fields["retry"] { rule.retry = RouteTimingDecoder.retry(field) }
        rule.unsupported = unsupported.take()
        return rule
    }
}

/// Collects what the API allows and the mesh does not support, or refuses it.
///
/// Used by one decoding call on one thread and then dropped.
final class UnsupportedRouteSink {
    private let mode: ManifestDecoder.UnsupportedValues
    private var found: [UnsupportedRouteValue] = []

    init(_ mode: ManifestDecoder.UnsupportedValues) { self.mode = mode }

    func report(_ field: FieldReader, _ part: UnsupportedRouteValue.Part, _ reason: String, remedy: String = "") {
        switch mode {
        case .refuse: field.report(reason, remedy: remedy)
        case .record:
            field.report(reason, remedy: remedy, severity: .warning)
            found.append(UnsupportedRouteValue(part: part, field: field.path.description, reason: reason))
        }
    }

    /// What was found since the last call.
    func take() -> [UnsupportedRouteValue] {
        defer { found = [] }
        return found
    }
}
