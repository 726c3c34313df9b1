// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import Testing

@testable import SockOps

/// A cgroup and a bpffs directory of its own for one node; uninstalled at the end.
struct TestNode: ~Copyable {
    let configuration: DataPlaneConfiguration
    private let hierarchy: Cgroup

    /// - Parameter path: of the node's cgroup below a cgroup that plays the root.
    init(_ name: String, path: String = "node") throws {
        let root = try #require(try Mounts.current().cgroup2)
        let hierarchy = Cgroup(path: "\(root)/sockops-test-\(getpid())-\(name)")
        try hierarchy.create()
        self.hierarchy = hierarchy
        self.configuration = DataPlaneConfiguration(
            cgroup: Cgroup(path: "\(hierarchy.path)/\(path)"), rootCgroup: hierarchy,
            bpffs: "/sys/fs/bpf/sockops-test-\(getpid())-\(name)")
    }

    deinit {
        _ = try? Uninstaller(configuration).run { _ in }
        try? hierarchy.remove()
    }

    static func object() throws -> BPFObjectFile { try BPFObjectFile(path: ObjectLocator.find()) }

    func start() throws -> DataPlane { try DataPlane(configuration, object: TestNode.object()) }

    /// Another node at `path` of the same hierarchy.
    func neighbour(_ name: String, path: String) -> DataPlaneConfiguration {
        DataPlaneConfiguration(
            cgroup: Cgroup(path: "\(hierarchy.path)/\(path)"), rootCgroup: hierarchy,
            bpffs: "\(configuration.bpffs)-\(name)")
    }

    /// Program numbers attached to the cgroup of `place` at `point`.
    func attached(_ point: AttachPoint, of place: MeshProgram.Place = .nodeCgroup) throws -> [UInt32] {
        let cgroup =
            switch place {
            case .rootCgroup: hierarchy
            case .factoryCgroup: configuration.factoryCgroup
            case .nodeCgroup, .podNamespace, .sockhash, .none: configuration.cgroup
            }
        let directory = try cgroup.open()
        return try BPFProgram.attached(to: directory.rawValue, as: point)
    }
}
