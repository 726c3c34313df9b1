// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// Service of core/v1.
enum ServiceDecoder {
    /// The API server's limit: one day.
    private static let affinitySeconds: ClosedRange<Int64> = 1...86400

    static func decode(_ header: ObjectHeader) -> Service {
        var service = Service(metadata: header.metadata)
        guard let spec = header.object.required("spec")?.object() else { return service }
        service.kind =
            spec["type"]?.string(oneOf: ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"])
            .flatMap { Service.Kind(rawValue: $0) } ?? .clusterIP
        readAddresses(spec, into: &service)
        service.ports = spec["ports"]?.list().compactMap(port) ?? []
        checkPorts(service, spec)
        service.selector = spec["selector"].map(ObjectHeader.labels)
        service.externalIPs = spec["externalIPs"]?.list().compactMap { $0.address() } ?? []
        if spec["sessionAffinity"]?.string(oneOf: ["None", "ClientIP"]) == "ClientIP" {
            let seconds = spec["sessionAffinityConfig"]?.object()?["clientIP"]?.object()?["timeoutSeconds"]
            service.affinitySeconds =
                seconds.map { $0.integer(in: affinitySeconds).map { UInt32($0) } ?? 0 }
                ?? Service.defaultAffinitySeconds
        }
        service.internalTrafficPolicy =
            spec["internalTrafficPolicy"]?.string(oneOf: ["Cluster", "Local"])
            .flatMap { Service.TrafficPolicy(rawValue: $0) } ?? .cluster
        service.trafficDistribution = spec["trafficDistribution"]?
            .string(oneOf: ["PreferClose", "PreferSameZone", "PreferSameNode"])
            .flatMap { Service.TrafficDistribution(rawValue: $0) }
        service.publishNotReadyAddresses = spec["publishNotReadyAddresses"]?.bool() ?? false
        if let balancer = header.object["status"]?.object()?["loadBalancer"]?.object() {
            service.loadBalancerIPs = balancer["ingress"]?.list().compactMap(balancerAddress) ?? []
        }
        return service
    }

    private static func readAddresses(_ spec: ObjectReader, into service: inout Service) {
        // `clusterIPs` begins with `clusterIP`; the API server fills in whichever is missing.
        let list = spec["clusterIPs"]?.list() ?? []
        let single = spec["clusterIP"].flatMap { $0.node.string == "" ? nil : $0 }
        if let single, let first = list.first, first.node.string != single.node.string {
            single.report(
                "is \(single.node.kindOfValue), but the first of clusterIPs is \(first.node.kindOfValue)",
                remedy: "write the same address in both, or only one of the fields")
        }
        for field in list.isEmpty ? [single].compactMap({ $0 }) : list {
            if field.node.string == "None" {
                service.isHeadless = true
            } else if let address = field.address() {
                service.clusterIPs.append(address)
            }
        }
        if service.isHeadless, !service.clusterIPs.isEmpty {
            spec["clusterIPs"]?.report("\"None\" cannot be together with an address")
        }
        if !service.isHeadless, service.clusterIPs.isEmpty, service.kind != .externalName, !spec.sink.hasErrors {
            spec.sink.report(
                .warning, at: spec.position, field: spec.path.key("clusterIP"),
                "the service has no cluster address", remedy: "write one, or clusterIP: None for a headless service")
        }
    }

    private static func port(_ reader: FieldReader) -> Service.Port? {
        guard let fields = reader.object(), let number = fields.required("port")?.port() else { return nil }
        var port = Service.Port(port: number)
        if let field = fields["name"], let name = field.string(), !name.isEmpty {
            if let problem = NameRules.label(name) { field.report(problem) }
            port.name = name
        }
        port.targetPort = fields["targetPort"].flatMap { field in
            // 0 and "" are what the API server's clients write for "not set".
            if case .integer(0) = field.node.content { return nil }
            return field.node.string == "" ? nil : field.portReference()
        }
        if let field = fields["nodePort"], let value = field.integer(in: 0...65535), value > 0 {
            port.nodePort = UInt16(value)
        }
        if let transport = fields["protocol"]?.transport() { port.transport = transport }
        port.appProtocol = fields["appProtocol"]?.string()
        return port
    }

    private static func checkPorts(_ service: Service, _ spec: ObjectReader) {
        guard let field = spec["ports"], !field.node.isNull, !service.ports.isEmpty else {
            if !service.isHeadless, service.kind != .externalName, spec["ports"]?.node.elements?.isEmpty ?? true {
                spec.sink.report(
                    at: spec["ports"]?.node.position ?? spec.position, field: spec.path.key("ports"),
                    "must have at least one port")
            }
            return
        }
        var names: Set<String> = []
        var numbers: Set<[String]> = []
        for (index, port) in service.ports.enumerated() {
            let element = FieldReader(
                node: field.node.elements?.dropFirst(index).first ?? field.node, path: field.path.index(index),
                sink: field.sink)
            if port.name.isEmpty, service.ports.count > 1 {
                element.report("needs a name, because the service has several ports")
            } else if !names.insert(port.name).inserted {
                element.report("the name \"\(port.name)\" is given to two ports")
            }
            if !numbers.insert([String(port.port), port.transport.rawValue]).inserted {
                element.report("port \(port.port) of \(port.transport.rawValue) is given twice")
            }
        }
    }

    private static func balancerAddress(_ reader: FieldReader) -> IPAddress? {
        guard let fields = reader.object(), let address = fields["ip"]?.address() else { return nil }
        // With ipMode Proxy the balancer is outside the node and must see the traffic.
        return fields["ipMode"]?.string(oneOf: ["VIP", "Proxy"]) == "Proxy" ? nil : address
    }
}
