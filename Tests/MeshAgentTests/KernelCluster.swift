// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshModel
import TestSupport

@testable import MeshAgent

/// A random cluster whose policies are in force in the kernel.
struct KernelCluster {
    let mesh: KernelMesh
    private(set) var cluster: RandomCluster

    init(_ cluster: RandomCluster, on mesh: KernelMesh) {
        self.mesh = mesh
        self.cluster = cluster
    }

    var oracle: PolicyOracle { cluster.oracle }

    /// Brings in force what the cluster says now.
    func enforce() throws(Reconciler.Failure) {
        try mesh.enforce(cluster.objects, enrolled: cluster.enrolled)
    }

    /// Puts another cluster in force, in one change that leaves nothing of the one before.
    mutating func replace(by other: RandomCluster) throws(Reconciler.Failure) {
        let before = cluster
        cluster = other
        try enforce(else: before)
    }

    /// Replaces, removes or adds one object, or enrols or removes one pod.
    mutating func mutate() throws(Reconciler.Failure) {
        let before = cluster
        _ = cluster.mutate()
        try enforce(else: before)
    }

    /// A change that fails has not happened.
    private mutating func enforce(else before: RandomCluster) throws(Reconciler.Failure) {
        do throws(Reconciler.Failure) {
            try enforce()
        } catch {
            cluster = before
            throw error
        }
    }

    /// A flow that may well meet a policy.
    mutating func flow() -> RandomCluster.Flow { cluster.flow() }

    func question(_ flow: RandomCluster.Flow) -> mesh_query { mesh_query(flow, from: namespace(of: flow)) }

    /// Whether a question still is the flow's: its source's address may have gone to a pod with another namespace.
    func isOf(_ question: mesh_query, _ flow: RandomCluster.Flow) -> Bool {
        namespace(of: flow) == question.source_netns
    }

    /// 0 if the source is no pod of this node.
    private func namespace(of flow: RandomCluster.Flow) -> NetnsCookie {
        source(of: flow).map { mesh.namespace(of: $0.namespacedName) } ?? 0
    }

    private func source(of flow: RandomCluster.Flow) -> Pod? {
        cluster.pods.first {
            $0.podIPs.contains(flow.source) && !$0.hostNetwork && $0.nodeName == RandomCluster.nodeName
        }
    }

    /// What the oracle says to each.
    func allowed(_ flows: [RandomCluster.Flow]) -> [Bool] {
        let oracle = oracle
        return flows.map {
            oracle.allows(from: $0.source, to: $0.destination, port: $0.port, transport: $0.transport)
        }
    }
}
