// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// Pod of core/v1. Fields that the mesh does not read are not looked at.
enum PodDecoder {
    static func decode(_ header: ObjectHeader) -> Pod {
        var pod = Pod(metadata: header.metadata)
        pod.isTerminating = header.isDeleting
        header.checkAnnotations { annotations throws(AnnotationError) in
            _ = try PodMeshSettings(annotations: annotations)
        }
        if let mesh = try? PodMeshSettings(annotations: header.metadata.annotations) { pod.mesh = mesh }
        if let spec = header.object["spec"]?.object() { read(spec, into: &pod) }
        if let status = header.object["status"]?.object() { read(status: status, into: &pod) }
        return pod
    }

    private static func read(_ spec: ObjectReader, into pod: inout Pod) {
        // `serviceAccount` is the older name, which the API server still writes beside the other.
        for key in ["serviceAccount", "serviceAccountName"] {
            guard let field = spec[key], let name = field.string(), !name.isEmpty else { continue }
            if let problem = NameRules.subdomain(name) { field.report(problem) }
            pod.serviceAccountName = name
        }
        if let field = spec["nodeName"], let name = field.string(), !name.isEmpty {
            if let problem = NameRules.subdomain(name) { field.report(problem) }
            pod.nodeName = name
        }
        pod.hostNetwork = spec["hostNetwork"]?.bool() ?? false
        let containers = spec["containers"]?.list() ?? []
        // An init container with restartPolicy Always keeps running: a sidecar, with ports and probes.
        let sidecars = (spec["initContainers"]?.list() ?? []).filter { $0.node["restartPolicy"]?.string == "Always" }
        pod.containers = (containers + sidecars).compactMap(container)
    }

    private static func container(_ reader: FieldReader) -> Pod.Container? {
        guard let fields = reader.object() else { return nil }
        var container = Pod.Container(name: "")
        if let field = fields.required("name"), let name = field.string() {
            if let problem = NameRules.label(name) { field.report(problem) }
            container.name = name
        }
        container.ports = fields["ports"]?.list().compactMap(port) ?? []
        for key in ["livenessProbe", "readinessProbe", "startupProbe"] {
            guard let probe = fields[key]?.object() else { continue }
            for handler in ["httpGet", "tcpSocket", "grpc"] {
                if let port = probe[handler]?.object()?.required("port")?.portReference() {
                    container.probes.append(port)
                }
            }
        }
        return container
    }

    private static func port(_ reader: FieldReader) -> Pod.ContainerPort? {
        guard let fields = reader.object() else { return nil }
        var name: String?
        if let field = fields["name"], let text = field.string(), !text.isEmpty {
            if let problem = NameRules.port(text) { field.report(problem) }
            name = text
        }
        let transport = fields["protocol"].map { $0.transport() } ?? .tcp
        guard let port = fields.required("containerPort")?.port(), let transport else { return nil }
        return Pod.ContainerPort(name: name, port: port, transport: transport)
    }

    private static func read(status: ObjectReader, into pod: inout Pod) {
        // `podIPs` is `podIP` and further addresses. A file written by hand may have either.
        var addresses: [IPAddress] = []
        for entry in status["podIPs"]?.list() ?? [] {
            if let address = entry.object()?.required("ip")?.address() { addresses.append(address) }
        }
        if let field = status["podIP"], let primary = field.address() {
            if addresses.isEmpty, status["podIPs"] == nil { addresses = [primary] }
            if let first = addresses.first, first != primary {
                field.report("is \(primary), but the first of podIPs is \(first)", remedy: "write the same address")
            }
        }
        for address in addresses where address.isUnspecified || address.isLoopback {
            status["podIPs"]?.report("\(address) cannot be the address of a pod")
        }
        pod.podIPs = addresses
        pod.phase = status["phase"]?.string(oneOf: ["Pending", "Running", "Succeeded", "Failed", "Unknown"])
            .flatMap { Pod.Phase(rawValue: $0) }
        for condition in status["conditions"]?.list() ?? [] {
            guard let fields = condition.object(), fields["type"]?.string() == "Ready" else { continue }
            pod.ready = fields.required("status")?.string(oneOf: ["True", "False", "Unknown"]).map { $0 == "True" }
        }
    }
}
