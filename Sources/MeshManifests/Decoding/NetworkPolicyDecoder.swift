// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// networking.k8s.io/v1 NetworkPolicy, with the API server's rules.
///
/// https://github.com/kubernetes/kubernetes/blob/v1.34.0/pkg/apis/networking/validation/validation.go
enum NetworkPolicyDecoder {
    static func decode(_ header: ObjectHeader) -> NetworkPolicy {
        var policy = NetworkPolicy(metadata: header.metadata)
        policy.isDryRun = header.dryRun()
        guard let spec = header.object["spec"]?.object(strict: ["podSelector", "policyTypes", "ingress", "egress"])
        else { return policy }
        if let selector = spec["podSelector"]?.labelSelector() { policy.podSelector = selector }
        policy.policyTypes = spec["policyTypes"].map(policyTypes) ?? []
        policy.ingress = spec["ingress"]?.list().compactMap { rule($0, peers: "from") } ?? []
        policy.egress = spec["egress"]?.list().compactMap { rule($0, peers: "to") } ?? []
        return policy
    }

    private static func policyTypes(_ reader: FieldReader) -> [NetworkPolicy.PolicyType] {
        var types: [NetworkPolicy.PolicyType] = []
        for field in reader.list() {
            guard
                let type = field.string(oneOf: ["Ingress", "Egress"]).flatMap({ NetworkPolicy.PolicyType(rawValue: $0) }
                )
            else { continue }
            if !types.contains(type) { types.append(type) }
        }
        return types
    }

    private static func rule(_ reader: FieldReader, peers: String) -> NetworkPolicy.Rule? {
        guard let fields = reader.object(strict: [peers, "ports"]) else { return nil }
        return NetworkPolicy.Rule(
            peers: fields[peers]?.list().compactMap(peer) ?? [], ports: fields["ports"]?.list().compactMap(port) ?? [])
    }

    private static func peer(_ reader: FieldReader) -> NetworkPolicy.Peer? {
        guard let fields = reader.object(strict: ["podSelector", "namespaceSelector", "ipBlock"]) else { return nil }
        let (pods, namespaces) = (fields["podSelector"], fields["namespaceSelector"])
        if let block = fields["ipBlock"] {
            if pods != nil || namespaces != nil {
                block.report(
                    "cannot be together with podSelector or namespaceSelector in one peer",
                    remedy: "make it a peer of its own: begin it with \"- \"")
            }
            return ipBlock(block)
        }
        guard pods != nil || namespaces != nil else {
            fields.report(
                "a peer must have a podSelector, a namespaceSelector or an ipBlock",
                remedy: "write podSelector: {} for every pod of the namespace")
            return nil
        }
        return .pods(pods: pods?.labelSelector(), namespaces: namespaces?.labelSelector())
    }

    private static func ipBlock(_ reader: FieldReader) -> NetworkPolicy.Peer? {
        guard let fields = reader.object(strict: ["cidr", "except"]) else { return nil }
        let cidr = fields.required("cidr")?.cidr()
        var except: [CIDR] = []
        for field in fields["except"]?.list() ?? [] {
            guard let excluded = field.cidr() else { continue }
            if let cidr, !cidr.contains(excluded) || cidr == excluded {
                field.report(
                    "\(excluded) is not a part of the cidr \(cidr)", remedy: "only parts of it can be excepted")
            }
            except.append(excluded)
        }
        return cidr.map { .ipBlock(cidr: $0, except: except) }
    }

    private static func port(_ reader: FieldReader) -> NetworkPolicy.Port? {
        guard let fields = reader.object(strict: ["protocol", "port", "endPort"]) else { return nil }
        var port = NetworkPolicy.Port()
        if let transport = fields["protocol"]?.transport() { port.transport = transport }
        port.port = fields["port"]?.portReference()
        guard let end = fields["endPort"], let last = end.port() else { return port }
        switch port.port {
        case .number(let first) where last < first:
            end.report("is \(last), which is less than port \(first)")
        case .number:
            port.endPort = last
        case .name(let name):
            end.report("cannot be together with the named port \"\(name)\"", remedy: "write the port as a number")
        case nil where fields["port"] == nil:
            end.report("needs the field port, the first of the range")
        case nil:
            break  // The port itself has been reported.
        }
        return port
    }
}
