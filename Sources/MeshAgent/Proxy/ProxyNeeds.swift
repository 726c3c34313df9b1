// SPDX-License-Identifier: Apache-2.0
import MeshModel

/// What of a node's mesh does not work without a proxy: it is refused, or goes on as if nobody had asked for it.
struct ProxyNeeds: Equatable {
    /// Of people's words, one for each kind.
    let what: [String]

    var isEmpty: Bool { what.isEmpty }

    init(_ what: [String]) { self.what = what }

    /// - Parameter mesh: as it is compiled for a node with a proxy.
    init(_ mesh: CompiledMesh) {
        guard !mesh.workloads.isEmpty else {
            self.init([])
            return
        }
        var what: [String] = []
        if !mesh.captures.isEmpty { what.append("connections to Services with routes") }
        let judged = mesh.workloads.count { _, workload in
            mesh.policySets[workload.policySet]?.ingressTCP.needsProxy ?? false
        }
        if judged > 0 { what.append("connections to \(judged) pods whose policies decide about requests") }
        if !mesh.remotePods.isEmpty { what.append("tunnels to and from \(mesh.remotePods.count) pods") }
        self.init(what)
    }
}

extension PortTable {
    /// Whether it leads anybody to the proxy, at another port than that of tunnels, which every pod may have.
    fileprivate var needsProxy: Bool {
        segments.contains { segment in
            segment.firstPort != tunnelPort
                && (segment.verdict == .needsProxy
                    || exceptions[Int(segment.portClass)].contains { $0.verdict == .needsProxy })
        }
    }
}
