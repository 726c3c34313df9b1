// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// AuthorizationPolicy of security.istio.io and sockmesh.io, with Istio's rules.
///
/// https://istio.io/latest/docs/reference/config/security/authorization-policy/
/// https://github.com/istio/istio/blob/1.27.0/pkg/config/validation/validation.go (validateAuthorizationPolicy)
enum AuthorizationPolicyDecoder {
    /// Istio's CRD has the same limits. They bound what one policy can cost.
    static let maximumRules = 512
    private static let maximumTargets = 16

    static func decode(_ header: ObjectHeader) -> AuthorizationPolicy {
        var policy = AuthorizationPolicy(metadata: header.metadata, apiVersion: header.apiVersion)
        policy.isDryRun = header.dryRun()
        guard
            let spec = header.object["spec"]?.object(
                strict: ["selector", "targetRefs", "action", "provider", "rules"])
        else { return policy }
        policy.selector = spec["selector"]?.workloadSelector()
        policy.targetRefs = spec["targetRefs"]?.list(atMost: maximumTargets).compactMap(target) ?? []
        if spec["selector"] != nil, let targets = spec["targetRefs"] {
            targets.report("cannot be together with selector", remedy: "remove one of the two")
        }
        policy.action = spec["action"].flatMap(action) ?? .allow
        if let provider = spec["provider"], spec["action"]?.node.string != "CUSTOM" {
            provider.report("belongs to the action CUSTOM only", remedy: "remove it")
        }
        policy.rules = spec["rules"]?.list(atMost: maximumRules).compactMap(rule) ?? []
        if policy.action == .deny, policy.rules.isEmpty, !header.object.sink.hasErrors {
            header.object.sink.report(
                .warning, at: spec.position, field: spec.path.key("rules"),
                "a DENY policy without rules denies nothing", remedy: "write rules: [{}] to deny everything")
        }
        return policy
    }

    private static func action(_ reader: FieldReader) -> AuthorizationPolicy.Action? {
        if reader.node.string == "CUSTOM" {
            reader.report(
                "the action CUSTOM is not supported: there is no external authorizer",
                remedy: "use ALLOW, DENY or AUDIT")
            return nil
        }
        return reader.string(oneOf: ["ALLOW", "DENY", "AUDIT"]).flatMap { AuthorizationPolicy.Action(rawValue: $0) }
    }

    private static func target(_ reader: FieldReader) -> String? {
        guard let fields = reader.object(strict: ["group", "kind", "name", "namespace"]) else { return nil }
        _ = fields["group"]?.string()
        _ = fields["namespace"]?.string()
        let kind = fields.required("kind")?.string()
        let name = fields.required("name")?.string()
        guard let kind, let name else { return nil }
        return "\(kind)/\(name)"
    }

    private static func rule(_ reader: FieldReader) -> AuthorizationPolicy.Rule? {
        guard let fields = reader.object(strict: ["from", "to", "when"]) else { return nil }
        // `from: []` reads like "from nobody" and would mean "from everybody": Istio refuses it too.
        for key in ["from", "to", "when"] {
            if let list = fields[key], list.node.elements?.isEmpty == true {
                list.report("must have at least one element", remedy: "remove the field to leave it open")
            }
        }
        return AuthorizationPolicy.Rule(
            from: fields["from"]?.list().compactMap(SourceDecoder.source) ?? [],
            to: fields["to"]?.list().compactMap(operation) ?? [],
            when: fields["when"]?.list().compactMap(ConditionDecoder.condition) ?? [])
    }

    private static func operation(_ reader: FieldReader) -> AuthorizationPolicy.Operation? {
        guard let outer = reader.object(strict: ["operation"]),
            let fields = outer.required("operation")?.object(
                strict: ["hosts", "notHosts", "ports", "notPorts", "methods", "notMethods", "paths", "notPaths"])
        else { return nil }
        var operation = AuthorizationPolicy.Operation()
        operation.ports = fields["ports"]?.ports() ?? []
        operation.notPorts = fields["notPorts"]?.ports() ?? []
        operation.hosts = fields["hosts"]?.patterns() ?? []
        operation.notHosts = fields["notHosts"]?.patterns() ?? []
        operation.methods = fields["methods"]?.patterns() ?? []
        operation.notMethods = fields["notMethods"]?.patterns() ?? []
        operation.paths = fields["paths"]?.pathPatterns() ?? []
        operation.notPaths = fields["notPaths"]?.pathPatterns() ?? []
        if fields.fields.allSatisfy(\.value.isNull) { fields.report("must have at least one field") }
        return operation
    }
}

extension FieldReader {
    /// A list of strings that may begin or end with `*`; neither the list nor a string is empty.
    func patterns() -> [String] {
        nonEmptyStrings().map { field, text in
            field.checkPattern(text)
            return text
        }
    }

    /// A `*` may be at one end only.
    private func checkPattern(_ text: String) {
        let inner = text.dropFirst(text.hasPrefix("*") ? 1 : 0)
        let middle = inner.hasSuffix("*") && inner.count > 0 ? inner.dropLast() : inner
        if middle.contains("*") {
            report("\"\(text.clipped)\" has a * in the middle", remedy: "a * may be the first or the last character")
        } else if text.utf8.count > 1, text.hasPrefix("*"), text.hasSuffix("*") {
            report("\"\(text.clipped)\" has a * at both ends", remedy: "only one end can be left open")
        }
    }

    /// A list of paths: strings that may begin or end with `*`, or templates with `{*}` and `{**}`.
    func pathPatterns() -> [String] {
        let texts = list().map(\.node.string)
        guard texts.contains(where: { $0.map(AuthorizationPolicy.PathTemplate.isTemplate) ?? false }) else {
            return patterns()
        }
        return nonEmptyStrings().map { field, text in
            if AuthorizationPolicy.PathTemplate.isTemplate(text) {
                if AuthorizationPolicy.PathTemplate(text) == nil {
                    field.report(
                        "\"\(text.clipped)\" is not a path template",
                        remedy:
                            "{*} and {**} are whole segments, {**} is the last of them, and there is no other {, } or *"
                    )
                }
            } else {
                field.checkPattern(text)
            }
            return text
        }
    }

    /// A list of ports, which this API writes as strings.
    func ports() -> [UInt16] {
        nonEmptyStrings().compactMap { field, text in
            guard let port = UInt16(text), port > 0, text == String(port) else {
                field.report("\"\(text.clipped)\" is not a port between 1 and 65535")
                return nil
            }
            return port
        }
    }

    /// The strings of a list, which must have some, with the reader of each.
    func nonEmptyStrings() -> [(field: FieldReader, text: String)] {
        if node.elements?.isEmpty == true {
            report("must have at least one value", remedy: "remove the field to leave it open")
        }
        return list().compactMap { field in
            guard let text = field.string() else { return nil }
            if text.isEmpty {
                field.report("must not be empty", remedy: "write \"*\" for any value")
                return nil
            }
            return (field, text)
        }
    }
}
