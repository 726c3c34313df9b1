// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import LinuxIO
import MeshModel
import TestSupport

@testable import MeshAgent

/// A random cluster whose policies are in force in the kernel, brought there by the agent's own ``Reconciler``.
final class KernelCluster {
    private(set) var cluster: RandomCluster
    let reconciler: Reconciler
    private let namespaces: Namespaces
    private var objects = ObjectSet()

    /// Shared with the closure that stands for looking into namespaces; both are the test thread's.
    private final class Namespaces { var cookies = InventedNamespaces() }

    /// - Parameter quiesce: as ``Reconciler`` takes it.
    init(_ cluster: RandomCluster, on writer: KernelWriter, quiesce: (() -> Void)? = nil) throws {
        let namespaces = Namespaces()
        let file = FileIdentity(device: 0, inode: 0)
        self.cluster = cluster
        self.namespaces = namespaces
        reconciler = try Reconciler(
            on: EventLoop(), compiler: MeshCompiler(configuration: RandomCluster.configuration), writer: writer,
            enrolment: Enrolment(
                inspect: { pod in
                    PodNamespace(
                        path: "/run/netns/\(pod.metadata.name)", file: file,
                        cookie: namespaces.cookies[pod.namespacedName], isOnVeth: true)
                }, file: { _ in file }),
            quiesce: quiesce)
    }

    var oracle: PolicyOracle { cluster.oracle }
    var generation: UInt32 { reconciler.writer.tables.generation }

    /// Puts another cluster in force, in one change that leaves nothing of the one before.
    func replace(by other: RandomCluster) throws(Reconciler.Failure) {
        cluster = other
        try enforce()
    }

    /// Replaces, removes or adds one object, or enrols or removes one pod; the change that failed is forgotten.
    func mutate() throws(Reconciler.Failure) {
        let before = cluster
        _ = cluster.mutate()
        do throws(Reconciler.Failure) {
            try enforce()
        } catch {
            cluster = before
            throw error
        }
    }

    /// A flow that may well meet a policy.
    func flow() -> RandomCluster.Flow { cluster.flow() }

    func question(_ flow: RandomCluster.Flow) -> mesh_query {
        let pod = cluster.pods.first {
            $0.podIPs.contains(flow.source) && !$0.hostNetwork && $0.nodeName == RandomCluster.nodeName
        }
        return mesh_query(flow, from: pod.map { namespaces.cookies[$0.namespacedName] })
    }

    /// Brings in force what the cluster says now.
    func enforce() throws(Reconciler.Failure) {
        let next = ObjectSet(cluster.objects)
        let pods = Dictionary(
            uniqueKeysWithValues: cluster.pods.filter { cluster.enrolled.contains($0.namespacedName) }.map {
                ($0.namespacedName, $0)
            })
        let outcome = try reconciler.reconcile(
            objects.change(to: next), reverse: next.change(to: objects), pods: pods)
        if let late = outcome.late { throw .kernel(late) }
        objects = next
    }
}
