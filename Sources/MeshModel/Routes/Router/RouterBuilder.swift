// SPDX-License-Identifier: Apache-2.0

/// Compiles the routes of one group into what a ``Router`` is made of.
struct RouterBuilder {
    struct Parts {
        let kind: MeshRoute.Kind
        var rules: [CompiledRouteRule] = []
        var text: [UInt8] = []
        var entries: [RouterEntry] = []
        var tests: [RouterEntry.FieldTest] = []
        var patterns = RegexTables()
        var exact = PathIndex([], isTree: false)
        var prefixes = PathIndex([], isTree: true)
        var others = 0..<0
    }

    /// Where the entry of a match is looked for.
    private enum Place: Hashable {
        case exact([UInt8])
        case prefix([UInt8])
        case others
    }

    private struct Ranked {
        let place: Place
        let rank: RouteRank
        let entry: RouterEntry
    }

    private var parts: Parts
    private var ranked: [Ranked] = []
    private var patternNumbers: [String: Int32] = [:]
    private var texts: [String: RouterEntry.Text] = [:]
    private var position = 0

    /// - Parameter routes: all of `kind`, and accepted; oldest first.
    static func build(_ routes: [MeshRoute], kind: MeshRoute.Kind, _ resolver: RouteBackendResolver) -> Parts {
        var builder = RouterBuilder(parts: Parts(kind: kind))
        for route in routes {
            switch route {
            case .http(let http): builder.add(http, route, resolver) { builder, match in builder.http(match) }
            case .grpc(let grpc): builder.add(grpc, route, resolver) { builder, match in builder.grpc(match) }
            }
            builder.position += 1
        }
        return builder.finished()
    }

    private init(parts: Parts) { self.parts = parts }

    /// The place, path rank and entry of a match.
    private typealias Compiled = (
        place: Place, path: (Int, Int, Int), hasMethod: Bool, headers: [FieldMatch], parameters: [FieldMatch],
        entry: RouterEntry
    )

    private mutating func add<Match: Hashable & Sendable>(
        _ route: Route<Match>, _ object: MeshRoute, _ resolver: RouteBackendResolver,
        _ compile: (inout RouterBuilder, Match?) -> Compiled?
    ) {
        for (index, rule) in route.rules.enumerated() where !rule.unsupported.contains(where: { $0.part == .match }) {
            let number = parts.rules.count
            parts.rules.append(CompiledRouteRule(RouteRuleBody(rule), index: index, of: object, resolver))
            for (order, match) in (rule.matches.isEmpty ? [nil] : rule.matches.map(Optional.some)).enumerated() {
                guard let compiled = compile(&self, match) else { continue }
                let headers = compiled.headers.firstOfEachName(ignoringCase: true)
                let parameters = compiled.parameters.firstOfEachName(ignoringCase: false)
                var entry = RouterEntry(
                    rule: Int32(number), match: Int32(order), prefixLength: compiled.entry.prefixLength,
                    method: compiled.entry.method, pathPattern: compiled.entry.pathPattern,
                    grpcMethod: compiled.entry.grpcMethod, grpcMethodPattern: compiled.entry.grpcMethodPattern)
                entry.headers = tests(headers.map { FieldMatch(name: $0.name.asciiLowercased, value: $0.value) })
                entry.parameters = tests(parameters)
                let rank = RouteRank(
                    path: compiled.path, hasMethod: compiled.hasMethod, headers: headers.count,
                    parameters: parameters.count, route: position, rule: index, match: order)
                ranked.append(Ranked(place: compiled.place, rank: rank, entry: entry))
            }
        }
    }

    // MARK: - Matches

    private mutating func http(_ match: HTTPRouteMatch?) -> Compiled? {
        let match = match ?? HTTPRouteMatch()
        var entry = RouterEntry(rule: 0, match: 0)
        let place: Place
        let path: (Int, Int, Int)
        switch match.path {
        case .exact(let value):
            place = .exact(RoutePath.normalized(value))
            path = (0, 0, 0)
        case .prefix(let value):
            var prefix = RoutePath.normalized(value)
            if prefix.last == UInt8(ascii: "/") { prefix.removeLast() }
            entry.prefixLength = Int32(prefix.count)
            // The prefix of everything is no condition on the path: it comes after the patterns.
            place = prefix.isEmpty ? .others : .prefix(prefix)
            path = prefix.isEmpty ? (3, 0, 0) : (1, -prefix.count, 0)
        case .regularExpression(let text):
            guard let number = pattern(text) else { return nil }
            entry.pathPattern = number
            place = .others
            path = (2, 0, 0)
        }
        if let method = match.method { entry.method = self.text(method) }
        return (place, path, match.method != nil, match.headers, match.queryParams, entry)
    }

    /// Longer services first, then longer methods; a pattern has no length and comes before no condition at all.
    private mutating func grpc(_ match: GRPCRouteMatch?) -> Compiled? {
        var entry = RouterEntry(rule: 0, match: 0)
        var place = Place.others
        var path = (0, 0, 1)
        switch (match?.method?.kind, match?.method?.service, match?.method?.method) {
        case (.exact, let service?, let method?):
            place = .exact(Array("/\(service)/\(method)".utf8))
            path = (-service.utf8.count, -method.utf8.count, 1)
        case (.exact, let service?, nil):
            place = .prefix(Array("/\(service)".utf8))
            path = (-service.utf8.count, 0, 1)
        case (.exact, nil, let method?):
            entry.grpcMethod = text(method)
            path = (0, -method.utf8.count, 1)
        case (.regularExpression, let service, let method):
            if let service {
                guard let number = pattern(service) else { return nil }
                entry.pathPattern = number
            }
            if let method {
                guard let number = pattern(method) else { return nil }
                entry.grpcMethodPattern = number
            }
            path = (0, 0, 0)
        default: break
        }
        return (place, path, false, match?.headers ?? [], [], entry)
    }

    private mutating func tests(_ matches: [FieldMatch]) -> Range<Int32> {
        let first = Int32(parts.tests.count)
        for match in matches {
            let name = text(match.name)
            switch match.value {
            case .exact(let value): parts.tests.append(.init(name: name, value: text(value), pattern: -1))
            case .regularExpression(let text):
                // A pattern that cannot be compiled is an unsupported match, whose rule is not here; for one that
                // slipped in, a name that no field has.
                let number = pattern(text)
                parts.tests.append(
                    .init(name: number == nil ? self.text(" ") : name, value: .init(), pattern: number ?? 0))
            }
        }
        return first..<Int32(parts.tests.count)
    }

    /// The number of a pattern, equal for equal patterns.
    private mutating func pattern(_ text: String) -> Int32? {
        if let number = patternNumbers[text] { return number }
        guard let pattern = try? RegexPattern(text) else { return nil }
        let number = Int32(parts.patterns.add(pattern.automaton))
        patternNumbers[text] = number
        return number
    }

    private mutating func text(_ string: String) -> RouterEntry.Text {
        if let known = texts[string] { return known }
        let bytes = Array(string.utf8)
        let text = RouterEntry.Text(offset: Int32(parts.text.count), length: Int32(bytes.count))
        parts.text += bytes
        texts[string] = text
        return text
    }

    // MARK: - Layout

    /// Entries of one place stand together, the preferred first.
    private func finished() -> Parts {
        var parts = parts
        var exact: [[UInt8]: [Ranked]] = [:]
        var prefixes: [[UInt8]: [Ranked]] = [:]
        var others: [Ranked] = []
        for item in ranked.sorted(by: { $0.rank < $1.rank }) {
            switch item.place {
            case .exact(let key): exact[key, default: []].append(item)
            case .prefix(let key): prefixes[key, default: []].append(item)
            case .others: others.append(item)
            }
        }
        func laidOut(_ items: [Ranked]) -> Range<Int> {
            let first = parts.entries.count
            parts.entries += items.map(\.entry)
            return first..<parts.entries.count
        }
        let exactPaths = exact.map { (key: $0.key, entries: laidOut($0.value)) }
        let prefixPaths = prefixes.map { (key: $0.key, entries: laidOut($0.value)) }
        parts.others = laidOut(others)
        parts.exact = PathIndex(exactPaths, isTree: false)
        parts.prefixes = PathIndex(prefixPaths, isTree: true)
        return parts
    }
}
