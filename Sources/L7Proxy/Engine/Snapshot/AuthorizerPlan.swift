// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// A pod about whose requests policies decide.
public struct ProxyDestination: Sendable {
    public var addresses: [IPAddress]
    /// Compiled once; pods with the same policies share it.
    public var authorizer: RequestAuthorizer

    public init(addresses: [IPAddress], authorizer: RequestAuthorizer) {
        self.addresses = addresses
        self.authorizer = authorizer
    }
}

/// An authorizer in plain memory; the snapshot keeps it alive.
struct AuthorizerPlan: BitwiseCopyable {
    var authorizer: Unmanaged<RequestAuthorizer>
    /// In ``PlanMemory/decisionTexts``: of each rule, then of the case that none has matched.
    var firstText: Int32
    var ruleCount: Int32

    func text(ofRule rule: Int?) -> Int32 { firstText + (rule.map { Int32(truncatingIfNeeded: $0) } ?? ruleCount) }

    /// The texts of an authorizer's decisions, for the log.
    static func texts(_ authorizer: RequestAuthorizer) -> [String] {
        let rules = authorizer.rules.map { source in
            let policy = authorizer.policies[source.policy]
            return "\(MeshObject.authorizationPolicy(policy).reference) rule \(source.index)"
        }
        return rules + ["no rule that allows it"]
    }
}

/// Who decides about requests to a Service's endpoints.
enum ServiceAuthorization: BitwiseCopyable {
    /// Nobody: all are taken.
    case none
    /// The same for every endpoint.
    case uniform(UnsafePointer<AuthorizerPlan>)
    /// It depends on the endpoint.
    case mixed
}
