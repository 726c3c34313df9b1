// SPDX-License-Identifier: Apache-2.0

import MeshManifests
import MeshModel

extension ObjectStore {
    /// The pods of all nodes that ask for the mesh, by their own annotation or their namespace's.
    var podsThatWantMesh: [Pod] {
        var namespaces: [String: Namespace] = [:]
        var pods: [Pod] = []
        for object in objects.objects.values {
            switch object {
            case .namespace(let namespace): namespaces[namespace.metadata.name] = namespace
            case .pod(let pod): pods.append(pod)
            default: break
            }
        }
        return pods.filter { $0.wantsMesh(in: namespaces[$0.metadata.namespace]) }
    }
}
