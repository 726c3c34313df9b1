// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import LinuxIO
import MeshManifests
import MeshModel
import SockOps

/// What the kernel's own tables and links say about the namespaces of pods: true also where no path leads into one.
struct NamespaceRecords {
    private let writer: KernelWriter
    /// Pods of an earlier agent, by address; what is enrolled later is no adoption.
    private let pods: [IPAddress: NetnsCookie]

    /// - Parameter writer: has not written anything yet.
    init(_ writer: KernelWriter) {
        self.writer = writer
        let tables = writer.tables
        pods = Dictionary(
            uniqueKeysWithValues: tables.addresses.keys.compactMap { address in
                tables.pod(at: address).map { (address, $0) }
            })
    }

    /// As ``Enrolment/Records/exists``.
    func exists(_ cookie: NetnsCookie) -> Bool? { writer.plane.namespaceExists(cookie) }

    /// As ``Enrolment/Records/adopted``.
    func adopted(_ pod: Pod) -> (namespace: PodNamespace, isProved: Bool)? {
        guard let cookie = pod.podIPs.lazy.compactMap({ pods[$0] }).first,
            let inode = writer.plane.namespaceInode(cookie), let row = writer.tables.workloads[cookie]
        else { return nil }
        let path = (try? PodProbe.path(of: pod)) ?? ""
        let file = PodProbe.file(at: path)
        // The inode of a namespace that lives is nobody else's.
        return (
            PodNamespace(
                path: path, file: file ?? FileIdentity(device: 0, inode: 0), cookie: cookie,
                isOnVeth: row.flags & MESH_WL_LOCAL_VETH.rawValue != 0),
            file?.inode == inode && row.flags & MESH_WL_READY.rawValue != 0
        )
    }
}
