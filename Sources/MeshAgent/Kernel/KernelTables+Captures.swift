// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshModel

extension KernelTables {
    /// Whose connections the rows of services lead to the proxy.
    var captures: [ServiceKey: ServiceCapture] {
        let classes = Dictionary(grouping: routes, by: \.service).mapValues { Set($0.map(\.routeClass)) }
        return services.compactMapValues { row in
            if row.flags & MESH_SVC_CAPTURE.rawValue != 0 { return .all }
            guard row.flags & MESH_SVC_CAPTURE_CLASS.rawValue != 0, let classes = classes[row.service] else {
                return nil
            }
            return .classes(classes)
        }
    }
}
