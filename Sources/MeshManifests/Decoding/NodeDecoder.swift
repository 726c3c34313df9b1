// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// Node of core/v1: its addresses.
enum NodeDecoder {
    static func decode(_ header: ObjectHeader) -> Node {
        var node = Node(metadata: header.metadata)
        let entries = header.object["status"]?.object()?["addresses"]?.list() ?? []
        for entry in entries {
            guard let fields = entry.object(), let type = fields.required("type")?.string() else { continue }
            // Hostname and the DNS types carry no address.
            guard type == "InternalIP" || type == "ExternalIP" else { continue }
            if let address = fields.required("address")?.address() { node.addresses.append(address) }
        }
        return node
    }
}

/// Namespace of core/v1: its labels and whether its pods are meshed.
enum NamespaceDecoder {
    static func decode(_ header: ObjectHeader) -> Namespace {
        header.checkAnnotations { annotations throws(AnnotationError) in
            _ = try MeshAnnotation.membership(in: annotations)
        }
        return Namespace(
            metadata: header.metadata,
            mesh: (try? MeshAnnotation.membership(in: header.metadata.annotations)) ?? nil)
    }
}
