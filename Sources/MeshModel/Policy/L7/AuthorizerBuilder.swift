// SPDX-License-Identifier: Apache-2.0

/// Compiles AuthorizationPolicy objects into an ``AuthorizerProgram``.
///
/// What cannot be evaluated (tokens, SNI, filters of Envoy) is never met in an ALLOW rule and always met in a DENY rule,
/// so that the mesh errs on the strict side, as Istio does with what a connection cannot tell.
struct AuthorizerBuilder {
    private(set) var program = AuthorizerProgram()
    private var sources: [RequestAuthorizer.RuleSource] = []
    private var texts: [[UInt8]: RouterEntry.Text] = [:]

    /// A list of tests that must all hold; `nil`: never.
    private typealias Tests = [AuthorizerProgram.Test]?

    mutating func add(_ policy: AuthorizationPolicy, _ number: Int) {
        if policy.isDryRun { program.hasDryRun = true }
        switch (policy.action, policy.isDryRun) {
        case (.allow, false): program.hasAllow = true
        case (.allow, true): program.hasDryRunAllow = true
        case (.deny, _), (.audit, _): break
        }
        for (index, rule) in policy.rules.enumerated() {
            guard let compiled = compile(rule, policy) else { continue }
            program.rules.append(compiled)
            sources.append(.init(policy: number, index: index))
        }
    }

    func finished() -> (AuthorizerProgram, [RequestAuthorizer.RuleSource]) {
        var program = program
        AuthorizerIndexer(program).index(&program)
        return (program, sources)
    }

    /// - Returns: `nil` if the rule can never match.
    private mutating func compile(
        _ rule: AuthorizationPolicy.Rule, _ policy: AuthorizationPolicy
    ) -> AuthorizerProgram.Rule? {
        let isDeny = policy.action == .deny
        let namespace = policy.metadata.namespace
        let group: AuthorizerProgram.Group =
            isDeny ? (policy.isDryRun ? .dryRunDeny : .deny) : (policy.isDryRun ? .dryRunAllow : .allow)
        let from = rule.from.compactMap { tests($0, isDeny, namespace) }
        let to = rule.to.compactMap { tests($0, isDeny) }
        if from.isEmpty != rule.from.isEmpty || to.isEmpty != rule.to.isEmpty { return nil }
        var when: [AuthorizerProgram.Test] = []
        for condition in rule.when {
            guard let tests = tests(condition, isDeny, namespace) else { return nil }
            when += tests
        }
        return AuthorizerProgram.Rule(group: group, from: add(from), to: add(to), when: add(when))
    }

    // MARK: - Fields

    private mutating func tests(
        _ source: AuthorizationPolicy.Source, _ isDeny: Bool, _ namespace: String
    ) -> Tests {
        if source.isEmpty { return nil }
        if source.isUnevaluable, !isDeny { return nil }
        let account = { (text: String) in TextSource.exact(Self.account(text, namespace)) }
        return [
            pattern(.principal, source.principals, source.notPrincipals) { .pattern(Self.withoutScheme($0)) },
            pattern(.namespace, source.namespaces, source.notNamespaces) { .pattern($0) },
            pattern(.account, source.serviceAccounts, source.notServiceAccounts, account),
            pattern(.trustDomain, source.trustDomains, source.notTrustDomains) { .pattern($0) },
            blocks(.sourceAddress, source.ipBlocks, source.notIpBlocks),
            blocks(
                .remoteAddress, source.remoteIpBlocks.compactMap { CIDR(addressOrPrefix: $0) },
                source.notRemoteIpBlocks.compactMap { CIDR(addressOrPrefix: $0) }),
        ].flatMap { $0 }
    }

    private mutating func tests(_ operation: AuthorizationPolicy.Operation, _ isDeny: Bool) -> Tests {
        if operation.isEmpty { return nil }
        var tests = [
            numbers(.destinationPort, operation.ports, operation.notPorts),
            pattern(.method, operation.methods, operation.notMethods) { .pattern($0) },
            pattern(.authority, operation.hosts, operation.notHosts) { .caseless($0) },
        ].flatMap { $0 }
        for (paths, isNegated) in [(operation.paths, false), (operation.notPaths, true)] where !paths.isEmpty {
            // A template that is none, which no valid object has: the others of the list decide nothing without it.
            if paths.contains(where: \.isBrokenTemplate) {
                if isDeny { continue } else { return nil }
            }
            tests.append(test(.path, isNegated, paths) { .path($0) })
        }
        return tests
    }

    private mutating func tests(
        _ condition: AuthorizationPolicy.Condition, _ isDeny: Bool, _ namespace: String
    ) -> Tests {
        let (values, notValues) = (condition.values, condition.notValues)
        if values.isEmpty, notValues.isEmpty { return nil }
        let cidrs = { (values: [String]) in values.compactMap { CIDR(addressOrPrefix: $0) } }
        switch condition.key {
        case "source.ip": return blocks(.sourceAddress, cidrs(values), cidrs(notValues), values.isEmpty)
        case "remote.ip": return blocks(.remoteAddress, cidrs(values), cidrs(notValues), values.isEmpty)
        case "destination.ip": return blocks(.destinationAddress, cidrs(values), cidrs(notValues), values.isEmpty)
        case "destination.port":
            return numbers(
                .destinationPort, values.compactMap { UInt16($0) }, notValues.compactMap { UInt16($0) }, values.isEmpty)
        case "source.namespace": return pattern(.namespace, values, notValues) { .pattern($0) }
        case "source.trustDomain": return pattern(.trustDomain, values, notValues) { .pattern($0) }
        case "source.principal":
            return pattern(.principal, values, notValues) { .pattern(Self.withoutScheme($0)) }
        case "source.serviceAccount":
            return pattern(.account, values, notValues) { .exact(Self.account($0, namespace)) }
        default:
            guard let name = condition.headerName else { return isDeny ? [] : nil }
            switch name {
            // Host is a field in one version of HTTP and `:authority` in the others.
            case "host", ":authority": return pattern(.authority, values, notValues) { .pattern($0) }
            case ":method": return pattern(.method, values, notValues) { .pattern($0) }
            default:
                let text = add(Array(name.utf8))
                return pattern(.header, values, notValues, name: text) { .pattern($0) }
            }
        }
    }

    private static func withoutScheme(_ principal: String) -> String {
        principal.hasPrefix("spiffe://") ? String(principal.dropFirst(9)) : principal
    }

    private static func account(_ text: String, _ namespace: String) -> String {
        let name = NamespacedName(text) ?? NamespacedName(namespace: namespace, name: text)
        return "ns/\(name.namespace)/sa/\(name.name)"
    }

    // MARK: - Tables

    private enum TextSource {
        case pattern(String)
        case caseless(String)
        case path(String)
        case exact(String)
    }

    private mutating func pattern(
        _ attribute: AuthorizerProgram.Attribute, _ values: [String], _ notValues: [String],
        name: RouterEntry.Text = .init(), _ source: (String) -> TextSource
    ) -> [AuthorizerProgram.Test] {
        [(values, false), (notValues, true)].filter { !$0.0.isEmpty }.map {
            test(attribute, $0.1, $0.0, name: name, source)
        }
    }

    private mutating func test(
        _ attribute: AuthorizerProgram.Attribute, _ isNegated: Bool, _ values: [String],
        name: RouterEntry.Text = .init(), _ source: (String) -> TextSource
    ) -> AuthorizerProgram.Test {
        let first = Int32(program.patterns.count)
        for value in values { program.patterns.append(compile(source(value))) }
        return .init(
            attribute: attribute, isNegated: isNegated, values: first..<Int32(program.patterns.count), name: name)
    }

    private mutating func compile(_ source: TextSource) -> TextPattern {
        switch source {
        case .exact(let text): return TextPattern(kind: .exact, text: add(Array(text.utf8)))
        case .pattern(let text): return compile(text) { Array($0.utf8) }
        case .caseless(let text):
            return compile(text, ignoresCase: true) { $0.utf8.map { $0 &- 0x41 < 26 ? $0 | 0x20 : $0 } }
        case .path(let text):
            guard let template = AuthorizationPolicy.PathTemplate(text),
                AuthorizationPolicy.PathTemplate.isTemplate(text)
            else { return compile(text, RoutePath.patternText) }
            let bytes = template.parts.flatMap { part -> [UInt8] in
                switch part {
                case .literal(let text): RoutePath.patternText(text)
                case .oneSegment: [TextPattern.oneSegment]
                case .anyRest: [TextPattern.anyRest]
                }
            }
            return TextPattern(kind: .template, text: add(bytes))
        }
    }

    private mutating func compile(
        _ text: String, ignoresCase: Bool = false, _ bytes: (String) -> [UInt8]
    ) -> TextPattern {
        switch StringMatch(text) {
        case .exact(let text): TextPattern(kind: .exact, ignoresCase: ignoresCase, text: add(bytes(text)))
        case .prefix(let text): TextPattern(kind: .prefix, ignoresCase: ignoresCase, text: add(bytes(text)))
        case .suffix(let text): TextPattern(kind: .suffix, ignoresCase: ignoresCase, text: add(bytes(text)))
        case .presence: TextPattern(kind: .presence, text: add([]))
        }
    }

    /// - Parameter isOpen: Whether no value was written, rather than none that can be met.
    private mutating func blocks(
        _ attribute: AuthorizerProgram.Attribute, _ values: [CIDR], _ notValues: [CIDR], _ isOpen: Bool? = nil
    ) -> [AuthorizerProgram.Test] {
        [(values, false, isOpen ?? values.isEmpty), (notValues, true, notValues.isEmpty)].filter { !$0.2 }.map {
            let first = Int32(program.cidrs.count)
            program.cidrs += $0.0
            return .init(attribute: attribute, isNegated: $0.1, values: first..<Int32(program.cidrs.count))
        }
    }

    private mutating func numbers(
        _ attribute: AuthorizerProgram.Attribute, _ values: [UInt16], _ notValues: [UInt16], _ isOpen: Bool? = nil
    ) -> [AuthorizerProgram.Test] {
        [(values, false, isOpen ?? values.isEmpty), (notValues, true, notValues.isEmpty)].filter { !$0.2 }.map {
            let first = Int32(program.ports.count)
            program.ports += $0.0
            return .init(attribute: attribute, isNegated: $0.1, values: first..<Int32(program.ports.count))
        }
    }

    private mutating func add(_ tests: [AuthorizerProgram.Test]) -> Range<Int32> {
        let first = Int32(program.tests.count)
        program.tests += tests
        return first..<Int32(program.tests.count)
    }

    private mutating func add(_ clauses: [[AuthorizerProgram.Test]]) -> Range<Int32> {
        let first = Int32(program.clauses.count)
        for tests in clauses { program.clauses.append(.init(tests: add(tests))) }
        return first..<Int32(program.clauses.count)
    }

    private mutating func add(_ bytes: [UInt8]) -> RouterEntry.Text {
        if let known = texts[bytes] { return known }
        let text = RouterEntry.Text(offset: Int32(program.text.count), length: Int32(bytes.count))
        program.text += bytes
        texts[bytes] = text
        return text
    }
}

extension String {
    fileprivate var isBrokenTemplate: Bool {
        AuthorizationPolicy.PathTemplate.isTemplate(self) && AuthorizationPolicy.PathTemplate(self) == nil
    }
}
