// SPDX-License-Identifier: Apache-2.0

/// Why a request is allowed or denied.
public struct RequestExplanation: Hashable, Sendable {
    public let isAllowed: Bool
    /// `nil`: no policy decides about requests to the workload.
    public let stage: PolicyStage?
    /// The policy whose rule matched, or those of the stage that allow nothing here.
    public let policies: [ObjectReference]
    /// Index in the policy's list of rules, if one matched.
    public let rule: Int?
    /// The reading of the path that decided, where it has two.
    public let path: String?
    /// The answer if dry-run policies were enforced; `nil` if it is the same.
    public let dryRunIsAllowed: Bool?
    /// Why, for a person.
    public let sentence: String
}

extension RequestAuthorizer {
    /// Answers as ``decide(_:headers:)`` does, from the same program.
    public func explain<Fields: RouteHeaderFields & ~Copyable>(
        _ request: AuthorizationRequest, headers: borrowing Fields
    ) -> RequestExplanation {
        let decision = decide(request, headers: headers)
        var single = request
        single.path = RequestPath(normal: request.path.normal)
        var path: String?
        if let other = request.path.other {
            let decides = decide(single, headers: headers).isAllowed == decision.isAllowed
            path = String(decoding: decides ? request.path.normal : other, as: UTF8.self)
        }
        let source = decision.rule.map { rules[$0] }
        let stage: PolicyStage? =
            if let source {
                policies[source.policy].action == .deny ? .authorizationDeny : .authorizationAllow
            } else if !decision.isAllowed {
                .authorizationAllow
            } else {
                policies.contains { !$0.isDryRun } ? .authorizationDeny : nil
            }
        let deciding: [ObjectReference] =
            if let source {
                [reference(source.policy)]
            } else if let stage {
                policies.indices.filter {
                    !policies[$0].isDryRun && (policies[$0].action == .deny) == (stage == .authorizationDeny)
                }.map(reference)
            } else {
                []
            }
        return RequestExplanation(
            isAllowed: decision.isAllowed, stage: stage, policies: deciding, rule: source?.index, path: path,
            dryRunIsAllowed: decision.dryRunDiffers ? decision.dryRunIsAllowed : nil,
            sentence: sentence(decision, source, deciding, path))
    }

    private func reference(_ policy: Int) -> ObjectReference {
        MeshObject.authorizationPolicy(policies[policy]).reference
    }

    private func sentence(
        _ decision: AuthorizationDecision, _ source: RuleSource?, _ deciding: [ObjectReference], _ path: String?
    ) -> String {
        let names = deciding.prefix(3).map(\.description).joined(separator: ", ")
        let some = deciding.count > 3 ? "\(names) and \(deciding.count - 3) more" : names
        let reading = path.map { " if its path is read as \($0)" } ?? ""
        if let source {
            return "\(some), rules[\(source.index)], \(decision.isAllowed ? "allows" : "denies") the request\(reading)"
        }
        if !decision.isAllowed {
            return "\(some) allows only what its rules say, and none matches the request\(reading)"
        }
        return deciding.isEmpty
            ? "no policy decides about requests" : "no rule of \(some), which denies, matches the request"
    }
}
