// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO

/// Finds programs of other Sockmesh nodes where this node's own would meet them.
///
/// Two of them over one socket would rewrite and judge each connection twice, and only the
/// first could redirect it.
struct Neighbours {
    /// Programs that run under this node's own links, by the kernel's numbers.
    let own: Set<UInt32>

    /// - Throws: ``BPFError`` with `.start` and EBUSY, naming the program and where it is attached.
    func requireAlone(_ configuration: DataPlaneConfiguration) throws(BPFError) {
        let cgroup = configuration.cgroup
        let below = try BPFError.telling { () throws(SystemError) in try cgroup.subtree() }
        for candidate in Self.ancestors(of: cgroup) + below {
            guard let foreign = try foreignProgram(on: candidate, isNodeCgroupOrBelow: candidate.isWithin(cgroup))
            else { continue }
            throw BPFError(
                .start, "node on \(cgroup.path)", errnoCode: EBUSY,
                detail: "\(foreign) of another Sockmesh node is attached to \(candidate.path); "
                    + "uninstall that node or choose another --cgroup")
        }
    }

    /// - Throws: ``BPFError`` with `.attach` and EBUSY if another node has enrolled the namespace.
    func requireAlone(_ namespace: borrowing NetworkNamespace) throws(BPFError) {
        let ids = try BPFProgram.attached(to: namespace.rawDescriptor, as: .socketLookup)
        if let foreign = try firstForeign(ids) {
            throw BPFError(
                .attach, "\(MeshProgram.lookup.name) to \(namespace.path)", errnoCode: EBUSY,
                detail: "\(foreign) of another Sockmesh node is attached there; a pod belongs to one node")
        }
    }

    /// From the parent up to the root of the hierarchy.
    static func ancestors(of cgroup: Cgroup) -> [Cgroup] {
        var found: [Cgroup] = []
        var components = cgroup.path.split(separator: "/").dropLast()
        while !components.isEmpty {
            let candidate = "/" + components.joined(separator: "/")
            guard Mounts.isOnCgroup2(candidate) else { break }
            found.append(Cgroup(path: candidate))
            components = components.dropLast()
        }
        return found
    }

    private func foreignProgram(on cgroup: Cgroup, isNodeCgroupOrBelow: Bool) throws(BPFError) -> String? {
        let directory: OwnedDescriptor
        do throws(SystemError) {
            directory = try cgroup.open()
        } catch {
            // A cgroup that goes while we look has no programs.
            if error.errnoCode == ENOENT { return nil }
            throw BPFError(error)
        }
        for point in Set(MeshProgram.ofCgroups.compactMap(\.point)) {
            let ids = try BPFProgram.attached(to: directory.rawValue, as: point)
            if let foreign = try firstForeign(ids, allowingHostRecords: !isNodeCgroupOrBelow) { return foreign }
        }
        return nil
    }

    private func firstForeign(_ ids: [UInt32], allowingHostRecords: Bool = false) throws(BPFError) -> String? {
        for id in ids where !own.contains(id) {
            guard let name = try Self.name(of: id), MeshProgram.isOurs(kernelName: name) else { continue }
            // Every node of the machine records its own connections at the root.
            if allowingHostRecords, name == MeshProgram.hostRecords.kernelName { continue }
            return "program \(name) (number \(id))"
        }
        return nil
    }

    /// Nil if the program has been unloaded meanwhile.
    private static func name(of id: UInt32) throws(BPFError) -> String? {
        do throws(BPFError) {
            return try BPFProgram(id: id).name
        } catch {
            if error.errnoCode == ENOENT { return nil }
            throw error
        }
    }
}
