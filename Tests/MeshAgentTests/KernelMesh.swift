// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import LinuxIO
import MeshModel
import TestSupport

@testable import MeshAgent

/// Objects in force in the kernel, brought there by the agent's own ``Reconciler``.
final class KernelMesh {
    let reconciler: Reconciler
    private let namespaces = Namespaces()
    private var objects = ObjectSet()

    /// Which namespace a pod is found to have. Shared with the closure that stands for the look into it; both belong to
    /// the test's thread.
    private final class Namespaces {
        var cookies: [NamespacedName: NetnsCookie] = [:]
        /// No real namespace of this machine has such a number.
        var last: NetnsCookie = 0x6f72_6163_6c65_0000
    }

    /// - Parameter quiesce: as ``Reconciler`` takes it.
    init(on writer: KernelWriter, quiesce: (() -> Void)? = nil) throws {
        let file = FileIdentity(device: 0, inode: 0)
        reconciler = try Reconciler(
            on: EventLoop(), compiler: MeshCompiler(configuration: RandomCluster.configuration), writer: writer,
            enrolment: Enrolment(
                inspect: { [namespaces] pod in
                    PodNamespace(
                        path: "/run/netns/\(pod.metadata.name)", file: file,
                        cookie: namespaces.cookies[pod.namespacedName] ?? 0, isOnVeth: true)
                }, file: { _ in file }),
            quiesce: quiesce)
    }

    var generation: UInt32 { reconciler.writer.tables.generation }

    /// The number of a pod's namespace: the same as long as it lives.
    func namespace(of pod: NamespacedName) -> NetnsCookie {
        if let cookie = namespaces.cookies[pod] { return cookie }
        namespaces.last += 1
        namespaces.cookies[pod] = namespaces.last
        return namespaces.last
    }

    /// Gives the namespace of one pod to another.
    func moveNamespace(from old: NamespacedName, to new: NamespacedName) {
        namespaces.cookies[new] = namespaces.cookies.removeValue(forKey: old)
    }

    /// Brings in force what `all` say and nothing else. If that fails, what was in force stays.
    func enforce(_ all: [MeshObject], enrolled: Set<NamespacedName>) throws(Reconciler.Failure) {
        let next = ObjectSet(all)
        var pods: [NamespacedName: Pod] = [:]
        for case .pod(let pod) in all where enrolled.contains(pod.namespacedName) {
            _ = namespace(of: pod.namespacedName)
            pods[pod.namespacedName] = pod
        }
        let outcome = try reconciler.reconcile(
            objects.change(to: next), reverse: next.change(to: objects), pods: pods)
        if let late = outcome.late { throw .kernel(late) }
        objects = next
    }
}
