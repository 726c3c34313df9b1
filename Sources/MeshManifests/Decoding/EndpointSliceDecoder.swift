// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// EndpointSlice of discovery.k8s.io/v1.
///
/// https://github.com/kubernetes/kubernetes/blob/v1.34.0/pkg/apis/discovery/validation/validation.go
enum EndpointSliceDecoder {
    private static let maximumEndpoints = 1000
    private static let maximumAddresses = 100

    static func decode(_ header: ObjectHeader) -> EndpointSlice {
        let object = header.object
        header.checkAnnotations { annotations throws(AnnotationError) in
            _ = try MeshAnnotation.weight(in: annotations)
        }
        let type = object.required("addressType")?.string(oneOf: ["IPv4", "IPv6", "FQDN"])
            .flatMap { EndpointSlice.AddressType(rawValue: $0) }
        var slice = EndpointSlice(metadata: header.metadata, addressType: type ?? .ipv4)
        slice.weight = (try? MeshAnnotation.weight(in: header.metadata.annotations)) ?? nil
        slice.endpoints =
            object["endpoints"]?.list(atMost: maximumEndpoints).compactMap {
                endpoint($0, type: type, namespace: header.metadata.namespace)
            } ?? []
        slice.ports = object["ports"]?.list().compactMap(port) ?? []
        var names: Set<String> = []
        for (index, port) in slice.ports.enumerated() where !names.insert(port.name).inserted {
            object["ports"]?.report("the port name \"\(port.name)\" is given twice, again in element \(index)")
        }
        return slice
    }

    private static func endpoint(
        _ reader: FieldReader, type: EndpointSlice.AddressType?, namespace: String
    ) -> EndpointSlice.Endpoint? {
        guard let fields = reader.object() else { return nil }
        var endpoint = EndpointSlice.Endpoint(addresses: [])
        if let addresses = fields.required("addresses") {
            let list = addresses.list(atMost: maximumAddresses)
            if list.isEmpty, addresses.node.elements != nil { addresses.report("must have at least one address") }
            endpoint.addresses = list.compactMap { address($0, type: type) }
        }
        if let conditions = fields["conditions"]?.object() {
            endpoint.ready = conditions["ready"]?.bool()
            endpoint.serving = conditions["serving"]?.bool()
            endpoint.terminating = conditions["terminating"]?.bool()
        }
        endpoint.nodeName = fields["nodeName"]?.string()
        endpoint.zone = fields["zone"]?.string()
        if let hints = fields["hints"]?.object() {
            endpoint.hintedZones = names(hints["forZones"])
            endpoint.hintedNodes = names(hints["forNodes"])
        }
        if let target = fields["targetRef"]?.object(), target["kind"]?.string() == "Pod",
            let name = target["name"]?.string()
        {
            endpoint.targetPod = NamespacedName(namespace: target["namespace"]?.string() ?? namespace, name: name)
        }
        return endpoint
    }

    private static func address(_ reader: FieldReader, type: EndpointSlice.AddressType?) -> IPAddress? {
        guard type != .fqdn else {
            _ = reader.string()
            return nil
        }
        guard let address = reader.address() else { return nil }
        if let type, address.isIPv4 != (type == .ipv4) {
            reader.report("\(address) is not an \(type.rawValue) address, as addressType says")
        }
        return address
    }

    private static func names(_ reader: FieldReader?) -> [String] {
        reader?.list().compactMap { $0.object()?.required("name")?.string() } ?? []
    }

    private static func port(_ reader: FieldReader) -> EndpointSlice.Port? {
        guard let fields = reader.object() else { return nil }
        var port = EndpointSlice.Port(port: nil)
        if let field = fields["name"], let name = field.string(), !name.isEmpty {
            if let problem = NameRules.label(name) { field.report(problem) }
            port.name = name
        }
        port.port = fields["port"]?.port()
        if let transport = fields["protocol"]?.transport() { port.transport = transport }
        port.appProtocol = fields["appProtocol"]?.string()
        return port
    }
}
