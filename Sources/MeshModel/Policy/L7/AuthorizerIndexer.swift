// SPDX-License-Identifier: Apache-2.0

/// Finds for each rule where a request that it can match is looked for.
struct AuthorizerIndexer {
    private enum Place: Hashable {
        case exactPath([UInt8])
        case pathPrefix([UInt8])
        case principal([UInt8])
        case namespace([UInt8])
        case account([UInt8])
        case method([UInt8])
        case others
    }

    private typealias Placed = (place: Place, candidate: AuthorizerProgram.Candidate)

    private let program: AuthorizerProgram

    init(_ program: AuthorizerProgram) { self.program = program }

    func index(_ result: inout AuthorizerProgram) {
        let choices = program.rules.indices.map { rule in
            [byPath(Int32(rule)), bySource(Int32(rule)), byMethod(Int32(rule))].compactMap { $0 }
        }
        var crowds: [Place: Int] = [:]
        for placed in choices.joined().joined() { crowds[placed.place, default: 0] += 1 }
        // Hundreds of rules may name one path, each for another client, or one client, each for another path.
        var places: [Place: [AuthorizerProgram.Candidate]] = [:]
        for (rule, choices) in choices.enumerated() {
            let crowd = { (placed: [Placed]) in placed.reduce(0) { max($0, crowds[$1.place] ?? 0) } }
            let best = choices.min { crowd($0) < crowd($1) }
            let whole = candidate(Int32(rule), .rule)
            for placed in best ?? [(Place.others, whole)] { places[placed.place, default: []].append(placed.candidate) }
        }
        layOut(places, in: &result)
    }

    private func layOut(_ places: [Place: [AuthorizerProgram.Candidate]], in result: inout AuthorizerProgram) {
        var exactPaths: [(key: [UInt8], entries: Range<Int>)] = []
        var pathPrefixes = exactPaths
        var principals = exactPaths
        var namespaces = exactPaths
        var accounts = exactPaths
        var methods = exactPaths
        for (place, candidates) in places {
            let first = result.candidates.count
            result.candidates += candidates
            let entries = first..<result.candidates.count
            switch place {
            case .exactPath(let key): exactPaths.append((key, entries))
            case .pathPrefix(let key): pathPrefixes.append((key, entries))
            case .principal(let key): principals.append((key, entries))
            case .namespace(let key): namespaces.append((key, entries))
            case .account(let key): accounts.append((key, entries))
            case .method(let key): methods.append((key, entries))
            case .others: result.others = entries
            }
        }
        result.exactPaths = PathIndex(exactPaths, isTree: false)
        result.pathPrefixes = PathIndex(pathPrefixes, isTree: false)
        result.prefixLengths = Set(pathPrefixes.map(\.key.count)).sorted()
        result.principals = PathIndex(principals, isTree: false)
        result.namespaces = PathIndex(namespaces, isTree: false)
        result.accounts = PathIndex(accounts, isTree: false)
        result.methods = PathIndex(methods, isTree: false)
        result.hasSources = !(principals.isEmpty && namespaces.isEmpty && accounts.isEmpty)
    }

    // MARK: - Choices

    /// - Returns: `nil` if some operation is open to paths that have no known beginning.
    private func byPath(_ number: Int32) -> [Placed]? {
        let rule = program.rules[Int(number)]
        if rule.to.isEmpty { return nil }
        var placed: [Placed] = []
        for clause in rule.to {
            guard let (test, index) = test(of: clause, .path) else { return nil }
            for pattern in test.values {
                let isTemplate = program.patterns[Int(pattern)].kind == .template
                guard let place = pathPlace(program.patterns[Int(pattern)]) else { return nil }
                var candidate = candidate(number, .operation, clause, proven: index)
                if isTemplate { candidate.template = pattern }
                placed.append((place, candidate))
            }
        }
        return placed
    }

    private func pathPlace(_ pattern: TextPattern) -> Place? {
        let text = bytes(pattern)
        let operators: Set<UInt8> = [TextPattern.oneSegment, TextPattern.anyRest]
        switch pattern.kind {
        case .exact: return .exactPath(text)
        case .prefix, .template:
            let literal = text.prefix { !operators.contains($0) }
            return literal.isEmpty ? nil : .pathPrefix(Array(literal))
        case .suffix, .presence: return nil
        }
    }

    /// - Returns: `nil` if some source is open to identities that are not listed.
    private func bySource(_ number: Int32) -> [Placed]? {
        let rule = program.rules[Int(number)]
        if rule.from.isEmpty { return nil }
        var placed: [Placed] = []
        for clause in rule.from {
            guard let (places, index) = sourcePlaces(clause) else { return nil }
            placed += places.map { ($0, candidate(number, .source, clause, proven: index)) }
        }
        return placed
    }

    /// - Returns: Where, and the test that is proven there.
    private func sourcePlaces(_ clause: Int32) -> (places: [Place], test: Int32)? {
        let kinds: [(AuthorizerProgram.Attribute, ([UInt8]) -> Place)] = [
            (.principal, Place.principal), (.account, Place.account), (.namespace, Place.namespace),
        ]
        for (attribute, place) in kinds {
            if let (test, index) = test(of: clause, attribute), let texts = exactTexts(test) {
                return (texts.map(place), index)
            }
        }
        return nil
    }

    private func byMethod(_ number: Int32) -> [Placed]? {
        let rule = program.rules[Int(number)]
        if rule.to.isEmpty { return nil }
        var placed: [Placed] = []
        for clause in rule.to {
            guard let (test, index) = test(of: clause, .method), let texts = exactTexts(test) else { return nil }
            placed += texts.map { (.method($0), candidate(number, .operation, clause, proven: index)) }
        }
        return placed
    }

    private func candidate(
        _ number: Int32, _ kind: AuthorizerProgram.Candidate.Kind, _ clause: Int32 = 0, proven: Int32 = -1
    ) -> AuthorizerProgram.Candidate {
        let rule = program.rules[Int(number)]
        var candidate = AuthorizerProgram.Candidate(rule: number, group: rule.group, kind: kind, proven: proven)
        guard kind != .rule else { return candidate }
        let tests = program.clauses[Int(clause)].tests
        if tests.contains(where: { $0 != proven }) { candidate.tests = tests }
        candidate.hasMore = !rule.when.isEmpty || !(kind == .operation ? rule.from : rule.to).isEmpty
        return candidate
    }

    private func test(
        of clause: Int32, _ attribute: AuthorizerProgram.Attribute
    ) -> (test: AuthorizerProgram.Test, index: Int32)? {
        program.clauses[Int(clause)].tests.lazy.map { (program.tests[Int($0)], $0) }
            .first { $0.0.attribute == attribute && !$0.0.isNegated }
    }

    /// - Returns: `nil` unless every value is an exact one.
    private func exactTexts(_ test: AuthorizerProgram.Test) -> [[UInt8]]? {
        let patterns = test.values.map { program.patterns[Int($0)] }
        return patterns.allSatisfy { $0.kind == .exact } ? Array(Set(patterns.map(bytes))) : nil
    }

    private func bytes(_ pattern: TextPattern) -> [UInt8] {
        Array(program.text[Int(pattern.text.offset)..<Int(pattern.text.offset + pattern.text.length)])
    }
}
