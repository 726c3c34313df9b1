// SPDX-License-Identifier: Apache-2.0

/// The AuthorizationPolicy objects of one workload, compiled to decide about requests.
///
/// Order, as Istio documents it: any DENY that matches denies; without an ALLOW policy all else is allowed; an ALLOW
/// that matches allows; all else is denied.
/// https://istio.io/latest/docs/reference/config/security/authorization-policy/
///
/// Deciding allocates nothing and takes no reference. Rules are found by the path, the identity or the method that they
/// name; only rules that name none of these are tried for every request. A class, so that a connection holds its
/// authorizer by one reference.
public final class RequestAuthorizer: Sendable {
    /// Where a rule was written.
    public struct RuleSource: Hashable, Sendable {
        /// Index into ``RequestAuthorizer/policies``.
        public let policy: Int
        /// In the policy, from 0.
        public let index: Int
    }

    /// Those that decide: AUDIT is not among them.
    public let policies: [AuthorizationPolicy]
    /// Those that can match.
    public let rules: [RuleSource]

    let program: AuthorizerProgram

    /// - Parameter policies: all that select the workload, in any order; the answers name the first of several.
    public init(_ policies: [AuthorizationPolicy]) {
        self.policies = policies.filter { $0.action != .audit }
        var builder = AuthorizerBuilder()
        for (index, policy) in self.policies.enumerated() { builder.add(policy, index) }
        (program, rules) = builder.finished()
    }

    public func decide<Fields: RouteHeaderFields & ~Copyable>(
        _ request: AuthorizationRequest, headers: borrowing Fields
    ) -> AuthorizationDecision {
        let decision = decide(request, path: request.path.normal, headers)
        guard let other = request.path.other else { return decision }
        let second = decide(request, path: other, headers)
        return AuthorizationDecision(
            isAllowed: decision.isAllowed && second.isAllowed,
            rule: decision.isAllowed ? second.rule : decision.rule,
            dryRunIsAllowed: decision.dryRunIsAllowed && second.dryRunIsAllowed,
            dryRunRule: decision.dryRunIsAllowed ? second.dryRunRule : decision.dryRunRule)
    }

    private func decide<Fields: RouteHeaderFields & ~Copyable>(
        _ request: AuthorizationRequest, path: UnsafeRawBufferPointer, _ headers: borrowing Fields
    ) -> AuthorizationDecision {
        decision(program.matches(request, path, headers))
    }

    func decision(_ found: AuthorizerMatches) -> AuthorizationDecision {
        let enforced = Self.verdict(deny: found.deny, allow: found.allow, hasAllow: program.hasAllow)
        guard program.hasDryRun else {
            return AuthorizationDecision(
                isAllowed: enforced.isAllowed, rule: enforced.rule, dryRunIsAllowed: enforced.isAllowed,
                dryRunRule: enforced.rule)
        }
        let dryRun = Self.verdict(
            deny: Self.first(found.deny, found.dryRunDeny), allow: Self.first(found.allow, found.dryRunAllow),
            hasAllow: program.hasAllow || program.hasDryRunAllow)
        return AuthorizationDecision(
            isAllowed: enforced.isAllowed, rule: enforced.rule, dryRunIsAllowed: dryRun.isAllowed,
            dryRunRule: dryRun.rule)
    }

    private static func verdict(deny: Int32, allow: Int32, hasAllow: Bool) -> (isAllowed: Bool, rule: Int?) {
        if deny >= 0 { return (false, Int(deny)) }
        if allow >= 0 { return (true, Int(allow)) }
        return (!hasAllow, nil)
    }

    private static func first(_ left: Int32, _ right: Int32) -> Int32 {
        left < 0 ? right : right < 0 ? left : min(left, right)
    }
}
