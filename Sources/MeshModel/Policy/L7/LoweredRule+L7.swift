// SPDX-License-Identifier: Apache-2.0

extension LoweredRule {
    /// What the kernel must know of one rule.
    ///
    /// With a proxy a rule is two: what holds whatever a request says, and what holds for some requests, which the proxy
    /// decides about. The second is a superset: that rules together leave no request open (`GET` and `notMethods: [GET]`)
    /// is not found out, and the proxy then gives one answer to all.
    static func lowered(
        _ rule: AuthorizationPolicy.Rule, index: Int, action: AuthorizationPolicy.Action, namespace: String,
        l7: L7Enforcement
    ) -> [LoweredRule] {
        let lower = { (rule: AuthorizationPolicy.Rule) in
            LoweredRule(rule, index: index, action: action, namespace: namespace)
        }
        guard l7 == .enforced, rule.hasL7Fields else { return lower(rule).map { [$0] } ?? [] }
        var result: [LoweredRule] = []
        if var datagrams = lower(rule) {
            datagrams.ports.tcp = .none
            result.append(datagrams)
        }
        guard let evaluable = rule.evaluable(action) else { return result }
        if let certain = evaluable.withoutL7, var always = lower(certain) {
            always.ports.udp = .none
            result.append(always)
        }
        if evaluable.hasL7Fields {
            // As a DENY: fields of HTTP count as met.
            if var sometimes = LoweredRule(evaluable, index: index, action: .deny, namespace: namespace) {
                sometimes.ports.udp = .none
                sometimes.needsProxy = true
                result.append(sometimes)
            }
        }
        return result
    }
}

extension AuthorizationPolicy.Rule {
    fileprivate var hasL7Fields: Bool {
        from.contains(where: \.hasL7Fields) || to.contains(where: \.hasL7Fields) || when.contains(where: \.isL7)
    }

    /// Without what nobody can evaluate: dropped from a DENY rule; in an ALLOW rule it is never met.
    ///
    /// - Returns: `nil` if the rule can never match.
    fileprivate func evaluable(_ action: AuthorizationPolicy.Action) -> AuthorizationPolicy.Rule? {
        var rule = self
        if action == .deny {
            rule.when.removeAll(where: \.isUnevaluable)
            // A source of nothing else is open to everyone, and so is the list that it is in.
            rule.from = from.filter { !$0.isEmpty }.map(\.withoutTokens)
            if rule.from.isEmpty, !from.isEmpty { return nil }
            if rule.from.contains(where: \.isEmpty) { rule.from = [] }
            return rule
        }
        if when.contains(where: \.isUnevaluable) { return nil }
        rule.from.removeAll(where: \.isUnevaluable)
        return rule.from.isEmpty && !from.isEmpty ? nil : rule
    }

    /// The part that holds whatever a request says; `nil` if there is none.
    fileprivate var withoutL7: AuthorizationPolicy.Rule? {
        if when.contains(where: \.isL7) { return nil }
        var rule = self
        rule.from.removeAll(where: \.hasL7Fields)
        rule.to.removeAll(where: \.hasL7Fields)
        return rule.from.isEmpty != from.isEmpty || rule.to.isEmpty != to.isEmpty ? nil : rule
    }
}

extension AuthorizationPolicy.Source {
    fileprivate var withoutTokens: AuthorizationPolicy.Source {
        var source = self
        source.requestPrincipals = []
        source.notRequestPrincipals = []
        return source
    }
}
