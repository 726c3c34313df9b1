// SPDX-License-Identifier: Apache-2.0

import Identity
import IdentityProviders
import LinuxIO
import Logging
import MeshManifests
import MeshModel

/// Which identities a node may ask for, as the manifests of the authority's own configuration have it: those of the Pods
/// whose `spec.nodeName` it is and which ask for the mesh.
///
/// Not what nodes say: a node that somebody has broken into gets nothing by writing Pods of its own.
final class ManifestPlacement: IdentityPlacement {
    private struct Account: Hashable {
        let namespace: String
        let name: String
    }

    /// Between a change of a file and its being read, if it may have been half written.
    private static let settling = Duration.milliseconds(120)

    private let loop: EventLoop
    private let logger: Logger
    private let watch: WatchedDirectory
    private var directory: ManifestDirectory
    /// What a file said before it was damaged stays, as for an agent.
    private var store = ObjectStore()
    private var nodes: [Account: Set<String>] = [:]
    private var timer: EventLoop.Timer?

    /// - Parameter path: of the directory of manifests.
    init(_ path: String, on loop: EventLoop, logger: Logger) {
        self.loop = loop
        self.logger = logger
        watch = WatchedDirectory(path, loop: loop, logger: logger)
        directory = ManifestDirectory(
            path: path, decoder: ManifestDecoder(unknownKinds: .warn, kinds: ObjectKind.enforced))
        read(acceptsUnsettled: true)
        watch.start { [unowned self] in read() }
    }

    func refusal(of id: SPIFFEID, for node: String) -> String? {
        guard let workload = id.workload else { return "\(id) is no workload's identity" }
        let account = Account(namespace: String(workload.namespace), name: String(workload.serviceAccount))
        guard nodes[account]?.contains(node) != true else { return nil }
        return "no Pod of the authority's configuration with the service account \(account.name) of namespace "
            + "\(account.namespace) is on node \(node) (spec.nodeName) and asks for the mesh"
    }

    private func read(acceptsUnsettled: Bool = false) {
        do throws(StateFileError) {
            let snapshot = try directory.scan(acceptsUnsettled: acceptsUnsettled)
            _ = store.update(snapshot)
            if !snapshot.changed.isEmpty || !snapshot.removed.isEmpty { logFindings() }
            if !snapshot.unsettled.isEmpty {
                if let timer { loop.cancel(timer) }
                timer = loop.schedule(after: Self.settling) { [unowned self] in read() }
            }
        } catch {
            _ = store.directoryIsUnreadable(ManifestError(file: error.path, reason: "\(error)"))
            logger.error("configuration directory unreadable", metadata: ["error": "\(error)"])
        }
        place()
    }

    private func place() {
        nodes = [:]
        for pod in store.podsThatWantMesh {
            guard let node = pod.nodeName else { continue }
            let account = Account(namespace: pod.metadata.namespace, name: pod.serviceAccountName)
            nodes[account, default: []].insert(node)
        }
    }

    private func logFindings() {
        for finding in store.findings where finding.severity == .error {
            logger.error("manifest", metadata: ["finding": "\(finding)"])
        }
    }
}

@available(*, unavailable)
extension ManifestPlacement: Sendable {}
