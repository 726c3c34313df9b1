// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// `rules[].from[].source` of an AuthorizationPolicy.
enum SourceDecoder {
    private static let fields = [
        "principals", "notPrincipals", "requestPrincipals", "notRequestPrincipals", "namespaces", "notNamespaces",
        "serviceAccounts", "notServiceAccounts", "ipBlocks", "notIpBlocks", "remoteIpBlocks", "notRemoteIpBlocks",
        "trustDomains", "notTrustDomains",
    ]
    /// Istio's limit on each of the two lists.
    private static let maximumServiceAccounts = 16

    static func source(_ reader: FieldReader) -> AuthorizationPolicy.Source? {
        guard let outer = reader.object(strict: ["source"]),
            let fields = outer.required("source")?.object(strict: Self.fields)
        else { return nil }
        var source = AuthorizationPolicy.Source()
        source.principals = fields["principals"].map(principals) ?? []
        source.notPrincipals = fields["notPrincipals"].map(principals) ?? []
        source.namespaces = fields["namespaces"]?.patterns() ?? []
        source.notNamespaces = fields["notNamespaces"]?.patterns() ?? []
        source.serviceAccounts = fields["serviceAccounts"].map(serviceAccounts) ?? []
        source.notServiceAccounts = fields["notServiceAccounts"].map(serviceAccounts) ?? []
        source.ipBlocks = fields["ipBlocks"].map(blocks) ?? []
        source.notIpBlocks = fields["notIpBlocks"].map(blocks) ?? []
        source.trustDomains = fields["trustDomains"]?.patterns() ?? []
        source.notTrustDomains = fields["notTrustDomains"]?.patterns() ?? []
        source.requestPrincipals = fields["requestPrincipals"]?.patterns() ?? []
        source.notRequestPrincipals = fields["notRequestPrincipals"]?.patterns() ?? []
        source.remoteIpBlocks = fields["remoteIpBlocks"].map { blocks($0).map(\.description) } ?? []
        source.notRemoteIpBlocks = fields["notRemoteIpBlocks"].map { blocks($0).map(\.description) } ?? []

        if fields.fields.allSatisfy(\.value.isNull) { fields.report("must have at least one field") }
        let named = ["principals", "notPrincipals", "namespaces", "notNamespaces"].filter { fields[$0] != nil }
        for key in ["serviceAccounts", "notServiceAccounts"] {
            if let field = fields[key], !named.isEmpty {
                field.report(
                    "cannot be together with \(named.joined(separator: " and ")) in one source",
                    remedy: "a service account names the namespace already")
            }
        }
        return source
    }

    private static func principals(_ reader: FieldReader) -> [String] {
        for (field, text) in reader.list().compactMap({ field in field.node.string.map { (field, $0) } })
        where text.hasPrefix("spiffe://") {
            field.report(
                "principals are written without the scheme", remedy: "write \(text.dropFirst("spiffe://".count))")
        }
        return reader.patterns()
    }

    /// `namespace/name` or `name`; wildcards are not part of this field.
    private static func serviceAccounts(_ reader: FieldReader) -> [String] {
        let accounts = reader.nonEmptyStrings()
        if accounts.count > maximumServiceAccounts {
            reader.report("has \(accounts.count) elements; the limit is \(maximumServiceAccounts)")
        }
        return accounts.map { field, text in
            let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
            if text.contains("*") {
                field.report(
                    "\"\(text.clipped)\" has a wildcard, which service accounts cannot have",
                    remedy: "use namespaces or principals")
            } else if parts.count > 2 {
                field.report("\"\(text.clipped)\" is not of the form namespace/name or name")
            } else if let problem = parts.dropLast().compactMap(NameRules.label).first
                ?? NameRules.subdomain(parts.last ?? "")
            {
                field.report(problem, remedy: "write namespace/name, or the name alone for the policy's namespace")
            }
            return text
        }
    }

    private static func blocks(_ reader: FieldReader) -> [CIDR] {
        if reader.node.elements?.isEmpty == true {
            reader.report("must have at least one value", remedy: "remove the field to leave it open")
        }
        return reader.list().compactMap { $0.cidr(allowsAddress: true) }
    }
}

/// `rules[].when[]` of an AuthorizationPolicy.
enum ConditionDecoder {
    private static let l7Keys = [
        "remote.ip", "request.auth.principal", "request.auth.audiences", "request.auth.presenter", "connection.sni",
    ]
    private static let l7Prefixes = ["request.headers[", "request.auth.claims[", "experimental.envoy.filters."]

    static func condition(_ reader: FieldReader) -> AuthorizationPolicy.Condition? {
        guard let fields = reader.object(strict: ["key", "values", "notValues"]) else { return nil }
        let key = fields.required("key")?.string()
        if let key, let field = fields["key"] { check(key, field) }
        if fields["values"] == nil, fields["notValues"] == nil {
            fields.report("must have values or notValues")
        }
        let values = fields["values"].map { self.values($0, of: key) } ?? []
        let notValues = fields["notValues"].map { self.values($0, of: key) } ?? []
        return key.map { AuthorizationPolicy.Condition(key: $0, values: values, notValues: notValues) }
    }

    private static func check(_ key: String, _ field: FieldReader) {
        let known = AuthorizationPolicy.Condition.l4Keys.sorted() + l7Keys
        if known.contains(key) { return }
        if let prefix = l7Prefixes.first(where: key.hasPrefix) {
            if prefix.hasSuffix("["), !key.hasSuffix("]") || key.utf8.count <= prefix.utf8.count + 1 {
                field.report("\"\(key.clipped)\" must end with a name in brackets", remedy: "write \(prefix)name]")
            }
            return
        }
        let all = known + l7Prefixes.map { $0.hasSuffix("[") ? $0 + "name]" : $0 + "name" }
        field.report("\"\(key.clipped)\" is not a known attribute", remedy: Suggestion.remedy(for: key, among: all))
    }

    private static func values(_ reader: FieldReader, of key: String?) -> [String] {
        switch key {
        case "source.ip", "destination.ip", "remote.ip":
            if reader.node.elements?.isEmpty == true { reader.report("must have at least one value") }
            return reader.list().compactMap { $0.cidr(allowsAddress: true)?.description }
        case "destination.port":
            return reader.ports().map { String($0) }
        case "source.serviceAccount":
            return reader.nonEmptyStrings().map(\.text)
        default:
            return reader.patterns()
        }
    }
}
