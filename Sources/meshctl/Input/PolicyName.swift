// SPDX-License-Identifier: Apache-2.0

import MeshAdmin

/// Kinds and names as they are typed.
enum PolicyName {
    private static let kinds: [(kind: String, aliases: Set<String>)] = [
        ("NetworkPolicy", ["networkpolicy", "networkpolicies", "netpol", "np"]),
        ("AuthorizationPolicy", ["authorizationpolicy", "authorizationpolicies", "ap", "authz"]),
        ("PeerAuthentication", ["peerauthentication", "peerauthentications", "pa"]),
        ("HTTPRoute", ["httproute", "httproutes"]),
        ("GRPCRoute", ["grpcroute", "grpcroutes"]),
        ("ReferenceGrant", ["referencegrant", "referencegrants", "refgrant"]),
    ]

    /// The kind's own spelling.
    static func kind(_ text: String) throws(AdminError) -> String {
        let lower = text.lowercased()
        if let found = kinds.first(where: { $0.aliases.contains(lower) }) { return found.kind }
        throw AdminError(
            .invalidRequest,
            "'\(text)' is not a kind of policy; kinds are \(kinds.map(\.kind).joined(separator: ", "))")
    }

    /// Splits `NAMESPACE/NAME`.
    static func split(_ text: String) throws(AdminError) -> (namespace: String, name: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else {
            throw AdminError(.invalidRequest, "'\(text)' is not NAMESPACE/NAME; write for example shop/web")
        }
        return (String(parts[0]), String(parts[1]))
    }
}
