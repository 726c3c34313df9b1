// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// Values that several kinds have in common.
extension FieldReader {
    /// An address, as the API server accepts it.
    func address() -> IPAddress? {
        guard let text = string() else { return nil }
        if let address = IPAddress(text) { return address }
        if let cidr = CIDR(text) {
            report("\"\(text.clipped)\" is a prefix, not an address", remedy: "write \(cidr.network)")
        } else {
            report("\"\(text.clipped)\" is not an IPv4 or IPv6 address")
        }
        return nil
    }

    /// A prefix `address/length` without bits after the prefix.
    ///
    /// - Parameter allowsAddress: whether an address alone is read as the prefix that holds only it.
    func cidr(allowsAddress: Bool = false) -> CIDR? {
        guard let text = string() else { return nil }
        if let address = IPAddress(text) {
            if allowsAddress { return CIDR(host: address) }
            report(
                "\"\(text)\" is not a prefix: the length is missing", remedy: "write \(CIDR(host: address))")
            return nil
        }
        guard let cidr = CIDR(text) else {
            report("\"\(text.clipped)\" is not a prefix like 10.0.0.0/8 or fd00::/8")
            return nil
        }
        // Compared as an address: the text of an IPv6 address has many right spellings.
        let written = text.lastIndex(of: "/").flatMap { IPAddress(String(text[..<$0])) }
        if written != cidr.network {
            report("\"\(text)\" has bits set after the prefix", remedy: "write \(cidr)")
            return nil
        }
        return cidr
    }

    /// A port as a number, or the name of a container's port.
    func portReference() -> PortReference? {
        switch node.content {
        case .integer: return port().map { .number($0) }
        case .string:
            if let number = Int64(node.text) {
                report("\"\(number)\" in quotes is a port name, and not a valid one", remedy: "remove the quotes")
                return nil
            }
            if let problem = NameRules.port(node.text) {
                report(problem)
                return nil
            }
            return .name(node.text)
        default:
            report("must be a port number or a port name, but is \(node.kindOfValue)")
            return nil
        }
    }

    func transport() -> TransportProtocol? {
        string(oneOf: TransportProtocol.allCases.map(\.rawValue)).flatMap { TransportProtocol(rawValue: $0) }
    }

    /// One of the cases of a string enumeration.
    func value<Value: RawRepresentable<String> & CaseIterable>(of type: Value.Type) -> Value? {
        string(oneOf: Value.allCases.map(\.rawValue)).flatMap { Value(rawValue: $0) }
    }

    /// A label selector of Kubernetes, with `matchLabels` and `matchExpressions`.
    func labelSelector() -> LabelSelector? {
        guard let fields = object(strict: ["matchLabels", "matchExpressions"]) else { return nil }
        return LabelSelector(
            matchLabels: fields["matchLabels"].map(ObjectHeader.labels) ?? [:],
            matchExpressions: fields["matchExpressions"]?.list().compactMap { $0.requirement() } ?? [])
    }

    private func requirement() -> LabelSelector.Requirement? {
        guard let fields = object(strict: ["key", "operator", "values"]) else { return nil }
        let key = fields.required("key").flatMap { field -> String? in
            guard let key = field.string() else { return nil }
            if let problem = NameRules.qualifiedName(key) { field.report(problem) }
            return key
        }
        let relation = fields.required("operator")?.string(oneOf: ["In", "NotIn", "Exists", "DoesNotExist"])
        let values =
            fields["values"]?.list().compactMap { field -> String? in
                guard let value = field.string() else { return nil }
                if let problem = NameRules.labelValue(value) { field.report(problem) }
                return value
            } ?? []
        guard let key, let relation else { return nil }
        switch relation {
        case "In", "NotIn":
            if values.isEmpty, fields["values"]?.node.elements?.isEmpty ?? true {
                sink.report(
                    at: fields["values"]?.node.position ?? fields.position, field: path.key("values"),
                    "must have at least one value for the operator \(relation)")
                return nil
            }
            return relation == "In" ? .isIn(key: key, values: values) : .isNotIn(key: key, values: values)
        default:
            if !values.isEmpty {
                fields["values"]?.report("must be empty for the operator \(relation)", remedy: "remove the values")
            }
            return relation == "Exists" ? .exists(key: key) : .doesNotExist(key: key)
        }
    }

    /// Istio's workload selector: `matchLabels` alone.
    func workloadSelector() -> LabelSelector? {
        if node["matchExpressions"] != nil, node.fields != nil {
            sink.report(
                at: node["matchExpressions"]?.position ?? node.position, field: path.key("matchExpressions"),
                "is not part of this API: its selector has only matchLabels",
                remedy: "use matchLabels, or one policy for each value")
        }
        guard let fields = object(strict: ["matchLabels", "matchExpressions"]) else { return nil }
        return LabelSelector(matchLabels: fields["matchLabels"].map(ObjectHeader.labels) ?? [:])
    }
}
