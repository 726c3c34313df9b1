// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// References of routes to parents and backends, and the grants for them.
enum RouteReferenceDecoder {
    static let backendFields = ["group", "kind", "namespace", "name", "port"]
    private static let maximumBackends = 16

    /// `parentRefs`.
    static func parents(_ spec: ObjectReader) -> [RouteParentReference] {
        guard let list = spec["parentRefs"] else {
            spec.report("has no parentRefs, so the route is attached to nothing", severity: .warning)
            return []
        }
        var parents: [RouteParentReference] = []
        for field in list.list(atMost: RouteDecoder.maximumParents) {
            guard let parent = parent(field) else { continue }
            checkDistinct(parent, among: parents, field)
            parents.append(parent)
        }
        return parents
    }

    private static func parent(_ reader: FieldReader) -> RouteParentReference? {
        guard let fields = reader.object(strict: ["group", "kind", "namespace", "name", "sectionName", "port"]) else {
            return nil
        }
        let kind = fields["kind"].map(Self.kind) ?? "Gateway"
        let group = fields["group"].map(Self.group) ?? RouteParentReference.gatewayGroup
        let name = fields.required("name").flatMap(objectName)
        guard let kind, let group, let name else { return nil }
        var parent = RouteParentReference(group: group, kind: kind, name: name)
        parent.namespace = fields["namespace"].flatMap(namespace)
        if let field = fields["sectionName"], let text = field.string(), !text.isEmpty {
            if let problem = NameRules.subdomain(text) { field.report(problem) }
            parent.sectionName = text
        }
        parent.port = fields["port"]?.port()
        if kind == "Service", group == RouteParentReference.gatewayGroup {
            reader.report(
                "a Service is not of the group \(RouteParentReference.gatewayGroup), which is the default",
                remedy: "write group: \"\"")
        } else if !parent.isService {
            reader.report(
                "\(kind) is no parent in a mesh; this reference has no effect here",
                remedy: "for a Service write group: \"\" and kind: Service", severity: .warning)
        }
        return parent
    }

    /// References to one object must set the same optional fields, and differ in them.
    private static func checkDistinct(
        _ parent: RouteParentReference, among others: [RouteParentReference], _ field: FieldReader
    ) {
        for other in others
        where other.group == parent.group && other.kind == parent.kind && other.name == parent.name
            && other.namespace == parent.namespace
        {
            let hasSameFields =
                (other.sectionName == nil) == (parent.sectionName == nil) && (other.port == nil) == (parent.port == nil)
            if hasSameFields, other.sectionName != parent.sectionName || other.port != parent.port { continue }
            field.report(
                hasSameFields
                    ? "the same parent twice"
                    : "sectionName and port must be in all references to one parent, or in none",
                remedy: hasSameFields ? "give each a sectionName or a port of its own" : "write them in each")
            return
        }
    }

    /// `backendRefs`.
    static func backends(_ reader: FieldReader?, _ filters: RouteFilterDecoder) -> [RouteBackend] {
        reader?.list(atMost: maximumBackends).compactMap { field in
            guard let fields = field.object(strict: backendFields + ["weight", "filters"]),
                let reference = backend(fields)
            else { return nil }
            var backend = RouteBackend(reference: reference)
            if let weight = fields["weight"]?.integer(in: 0...Int64(RouteBackend.maximumWeight)) {
                backend.weight = UInt32(weight)
            }
            backend.filters = filters.filters(fields["filters"])
            return backend
        } ?? []
    }

    /// A reference to a backend. Whether there is one of that kind and name is for the status to say.
    static func backend(_ fields: ObjectReader) -> RouteBackendReference? {
        let group = fields["group"].map(Self.group) ?? ""
        let kind = fields["kind"].map(Self.kind) ?? "Service"
        let name = fields.required("name").flatMap(objectName)
        guard let group, let kind, let name else { return nil }
        let port = fields["port"]?.port()
        if group.isEmpty, kind == "Service", fields["port"] == nil {
            _ = fields.required("port", remedy: "write the port of the Service")
        }
        return RouteBackendReference(
            group: group, kind: kind, namespace: fields["namespace"].flatMap(namespace), name: name, port: port)
    }

    private static func group(_ field: FieldReader) -> String? {
        guard let text = field.string() else { return nil }
        if !text.isEmpty, let problem = NameRules.subdomain(text) { field.report(problem) }
        return text
    }

    private static func kind(_ field: FieldReader) -> String? {
        guard let text = field.string() else { return nil }
        let isKind =
            text.utf8.first?.isLetter == true && text.utf8.count <= 63
            && text.utf8.allSatisfy { $0.isLetter || $0.isDigit || $0 == UInt8(ascii: "-") } && !text.hasSuffix("-")
        if !isKind { field.report("\"\(text.clipped)\" is not a kind of object") }
        return text
    }

    private static func objectName(_ field: FieldReader) -> String? {
        guard let text = field.string() else { return nil }
        if text.isEmpty { field.report("must not be empty") }
        if text.utf8.count > 253 { field.report("has \(text.utf8.count) characters; the limit is 253") }
        return text
    }

    private static func namespace(_ field: FieldReader) -> String? {
        guard let text = field.string() else { return nil }
        if let problem = NameRules.label(text) { field.report(problem) }
        return text
    }

    /// ReferenceGrant of gateway.networking.k8s.io.
    static func grant(_ header: ObjectHeader) -> ReferenceGrant {
        var grant = ReferenceGrant(metadata: header.metadata, apiVersion: header.apiVersion, from: [], to: [])
        guard let spec = header.object.required("spec")?.object(strict: ["from", "to"]) else { return grant }
        grant.from =
            spec.required("from")?.list(atMost: 16).compactMap { field in
                guard let fields = field.object(strict: ["group", "kind", "namespace"]) else { return nil }
                let group = fields.required("group").flatMap(group)
                let kind = fields.required("kind").flatMap(kind)
                let namespace = fields.required("namespace").flatMap(namespace)
                guard let group, let kind, let namespace else { return nil }
                return ReferenceGrant.From(group: group, kind: kind, namespace: namespace)
            } ?? []
        grant.to =
            spec.required("to")?.list(atMost: 16).compactMap { field in
                guard let fields = field.object(strict: ["group", "kind", "name"]) else { return nil }
                let group = fields.required("group").flatMap(group)
                let kind = fields.required("kind").flatMap(kind)
                guard let group, let kind else { return nil }
                return ReferenceGrant.To(group: group, kind: kind, name: fields["name"].flatMap(objectName))
            } ?? []
        for key in ["from", "to"] {
            if let list = spec[key], list.node.elements?.isEmpty == true {
                list.report("must have at least one element")
            }
        }
        return grant
    }
}
