// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// MeshPolicy of sockmesh.io: the targets, and the parts of the spec. What a part holds is read by
/// ``MeshPolicySettingsDecoder``.
enum MeshPolicyDecoder {
    private static let maximumTargets = 16

    static func decode(_ header: ObjectHeader) -> MeshPolicy {
        var policy = MeshPolicy(metadata: header.metadata, targets: [])
        guard
            let spec = header.object.required("spec")?.object(
                strict: ["targetRefs", "connection", "resilience", "rateLimit", "fault", "protocol"])
        else { return policy }
        policy.targets = targets(spec, namespace: header.metadata.namespace)
        policy.settings = MeshPolicySettingsDecoder.settings(spec)
        if !header.object.sink.hasErrors, !MeshPolicyField.allCases.contains(where: { $0.isSet(in: policy.settings) }) {
            spec.report(
                "sets nothing", remedy: "add connection, resilience, rateLimit, fault or protocol", severity: .warning)
        }
        return policy
    }

    private static func targets(_ spec: ObjectReader, namespace: String) -> [MeshPolicy.Target] {
        guard let field = spec.required("targetRefs", remedy: "name what the policy is for") else { return [] }
        if field.node.elements?.isEmpty == true {
            field.report("must have at least one target", remedy: "write - kind: Namespace for the whole namespace")
        }
        var seen: Set<MeshPolicy.Target> = []
        return field.list(atMost: maximumTargets).compactMap { reader in
            guard let target = target(reader, namespace: namespace) else { return nil }
            if !seen.insert(target).inserted { reader.report("is there twice", remedy: "remove one of the two") }
            return target
        }
    }

    private static func target(_ reader: FieldReader, namespace: String) -> MeshPolicy.Target? {
        guard let fields = reader.object(strict: ["group", "kind", "name", "sectionName", "selector"]) else {
            return nil
        }
        if let group = fields["group"], let text = group.string(), !text.isEmpty {
            group.report("\"\(text.clipped)\" has no kind that can be a target", remedy: "remove it, or write \"\"")
        }
        guard let kind = fields.required("kind")?.string(oneOf: ["Service", "Namespace", "Pod"]) else { return nil }
        func refuse(_ keys: String...) {
            for key in keys {
                fields[key]?.report("does not belong to a target of the kind \(kind)", remedy: "remove it")
            }
        }
        switch kind {
        case "Service":
            refuse("selector")
            let port = fields["sectionName"].flatMap { field -> String? in
                guard let port = field.string() else { return nil }
                if let problem = NameRules.label(port) { field.report(problem) }
                return port
            }
            guard let field = fields.required("name"), let name = field.string() else { return nil }
            if let problem = NameRules.service(name) { field.report(problem) }
            return .service(name, port: port)
        case "Namespace":
            refuse("selector", "sectionName")
            if let field = fields["name"], let name = field.string(), name != namespace {
                field.report(
                    "a policy cannot target another namespace than its own, \(namespace)",
                    remedy: "remove it, or put the policy there")
            }
            return .namespace
        default:
            refuse("name", "sectionName")
            guard
                let field = fields.required("selector", remedy: "a pod's name changes; select it by its labels"),
                let selector = field.labelSelector()
            else { return nil }
            if selector.isEmpty, field.node.fields?.isEmpty == true {
                field.report("selects every pod", remedy: "use a target of the kind Namespace")
            }
            return .pods(selector)
        }
    }
}
