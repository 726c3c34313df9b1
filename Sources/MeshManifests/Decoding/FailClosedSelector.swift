// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// What an unreadable policy would have restricted, as far as it can be told.
///
/// While a policy has no good version, its place is taken by the strictest policy that it could have been, so that a
/// mistake never opens what the policy was written to close. Where a part cannot be read, the widest is assumed: all
/// pods of the namespace, both directions.
public struct FailClosedSelector: Hashable, Sendable {
    public let reference: ObjectReference
    /// The pods of the policy's namespace that it selects.
    public let selector: LabelSelector
    /// Directions in which it would have decided.
    public let directions: Set<NetworkPolicy.PolicyType>
    /// Takes the policy's place.
    public let substitute: MeshObject

    /// The selector of the policy in `root`.
    ///
    /// - Returns: `nil` if the object is no policy, or is one that decides nothing: a dry run, an AUDIT policy.
    init?(_ root: ManifestNode, kind: ObjectKind, apiVersion: String, metadata: ObjectMetadata) {
        guard kind.isPolicy, !Self.isDryRun(root) else { return nil }
        let spec = root["spec"]
        var directions: Set<NetworkPolicy.PolicyType> = [.ingress]
        switch kind {
        case .networkPolicy:
            let selector = Self.selector(spec?["podSelector"])
            directions = Self.directions(spec)
            let types: [NetworkPolicy.PolicyType] = [.ingress, .egress].filter(directions.contains)
            // Network policies only add up: one that isolates and allows nothing is the strictest of all.
            substitute = .networkPolicy(
                NetworkPolicy(metadata: metadata, podSelector: selector, policyTypes: types))
            self.selector = selector
        case .authorizationPolicy:
            let action = spec?["action"]
            if action?.string == "AUDIT" { return nil }
            let selector = Self.selector(spec?["selector"])
            let isAllow = action == nil || action?.isNull == true || action?.string == "ALLOW"
            // ALLOW that matches nothing is the strictest ALLOW, DENY that matches everything the strictest DENY.
            substitute = .authorizationPolicy(
                AuthorizationPolicy(
                    metadata: metadata, apiVersion: apiVersion, selector: selector, action: isAllow ? .allow : .deny,
                    rules: isAllow ? [] : [.init()]))
            self.selector = selector
        case .peerAuthentication:
            let selector = Self.selector(spec?["selector"])
            substitute = .peerAuthentication(
                PeerAuthentication(
                    metadata: metadata, apiVersion: apiVersion, selector: selector, mode: .strict))
            self.selector = selector
        case .namespace, .node, .pod, .service, .endpointSlice, .httpRoute, .grpcRoute, .referenceGrant,
            .meshPolicy:
            return nil
        }
        self.directions = directions
        self.reference = substitute.reference
    }

    /// The selector as written; all pods if a part of it has an error.
    private static func selector(_ node: ManifestNode?) -> LabelSelector {
        guard let node, !node.isNull else { return LabelSelector() }
        let sink = ProblemSink(file: "")
        let selector = FieldReader(node: node, path: .root, sink: sink).labelSelector()
        return sink.hasErrors ? LabelSelector() : selector ?? LabelSelector()
    }

    private static func directions(_ spec: ManifestNode?) -> Set<NetworkPolicy.PolicyType> {
        let both: Set<NetworkPolicy.PolicyType> = [.ingress, .egress]
        // No spec, or one without fields, isolates ingress: that much is certain.
        guard let spec, !spec.isNull else { return [.ingress] }
        guard let fields = spec.fields else { return both }
        let known = ["podSelector", "policyTypes", "ingress", "egress"]
        // A field that is not known may be a misspelt direction.
        guard fields.allSatisfy({ known.contains($0.key) }) else { return both }
        guard let types = spec["policyTypes"], !types.isNull, types.elements?.isEmpty != true else {
            return isEmptyOrAbsent(spec["egress"]) ? [.ingress] : both
        }
        var directions: Set<NetworkPolicy.PolicyType> = []
        for element in types.elements ?? [ManifestNode(.null)] {
            guard let type = element.string.flatMap({ NetworkPolicy.PolicyType(rawValue: $0) }) else { return both }
            directions.insert(type)
        }
        return directions
    }

    private static func isEmptyOrAbsent(_ node: ManifestNode?) -> Bool {
        node == nil || node?.isNull == true || node?.elements?.isEmpty == true
    }

    private static func isDryRun(_ root: ManifestNode) -> Bool {
        let annotations = root["metadata"]?["annotations"]
        return [MeshAnnotation.dryRun, .istioDryRun].contains { annotations?[$0.rawValue]?.string == "true" }
    }
}
