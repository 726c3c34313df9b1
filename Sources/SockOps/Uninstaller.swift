// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO

/// Removes a node from the kernel, with or without an agent, and finds what is left of one.
public struct Uninstaller: Sendable {
    private let configuration: DataPlaneConfiguration

    /// How long the kernel may take to free what nobody refers to any more; it does so from work queues.
    private static let patience = Duration.seconds(3)

    public init(_ configuration: DataPlaneConfiguration) {
        self.configuration = configuration
    }

    /// Empties the slot of the verdict, lets `drain` wait, then detaches and unpins everything.
    ///
    /// A socket that still has redirected bytes unread when its sockhash goes would lose them: `drain` must
    /// return only when there are none, or when losing them is accepted. It is lent the node's maps, or is not
    /// called if they are not there. Connections go on by TCP. The agent must have ended.
    ///
    /// - Returns: what is left, for people; empty if nothing is.
    /// - Throws: ``BPFError``; running it again continues.
    public func run(drain: (borrowing MeshMaps) throws(BPFError) -> Void) throws(BPFError) -> [String] {
        let versions = try configuration.versionDirectories()
        let maps = try LoadedPrograms.pinnedMaps(below: configuration.bpffs)
        for directory in versions { try Self.killSwitch(directory) }
        if PinTree.exists(configuration.versionDirectory) {
            let opened: MeshMaps?
            // A start that failed half way may have left only some of the maps: then nothing was ever redirected.
            do throws(BPFError) { opened = try MeshMaps(pinnedBy: configuration) } catch { opened = nil }
            if let opened { try drain(opened) }
        }
        for directory in versions { try Self.removeVersion(directory) }
        do throws(SystemError) {
            try releaseProcesses()
            try configuration.cgroup.remove()
        } catch  where error.errnoCode == EBUSY {
            // One was started this moment; leftovers() says so.
        } catch {
            throw BPFError(error)
        }
        removeEmptyDirectories(cgroup: true)
        return try awaitNothingLeft(using: maps)
    }

    /// Moves the processes of pods to the root of the hierarchy: they run on, without the mesh.
    private func releaseProcesses() throws(SystemError) {
        guard configuration.cgroup.exists, let root = try Mounts.current().cgroup2 else { return }
        for cgroup in try configuration.cgroup.subtree() {
            // ESRCH: it has ended meanwhile.
            for pid in try cgroup.processes() {
                do throws(SystemError) { try Cgroup(path: root).add(pid) } catch  where error.errnoCode == ESRCH {}
            }
        }
    }

    /// What the kernel and the file systems still have of this node, as `kind: object`; empty if nothing.
    ///
    /// Among it every loaded program of this project that no pinned node accounts for, if it stays: those of another
    /// node's start or self-test are of the moment, and are waited for.
    public func leftovers() throws(BPFError) -> [String] {
        let start = ContinuousClock.now
        var orphans = try LoadedPrograms.orphans()
        while !orphans.isEmpty, ContinuousClock.now - start < Self.patience {
            usleep(20_000)
            orphans.formIntersection(try LoadedPrograms.orphans())
        }
        return try remains() + LoadedPrograms.describe { orphans.contains($0.id) }
    }

    /// As ``leftovers()``, without what is only loaded.
    func remains() throws(BPFError) -> [String] {
        var found: [String] = []
        if PinTree.exists(configuration.bpffs) {
            found.append("directory: \(configuration.bpffs)")
            found += try PinTree.everything(below: configuration.bpffs).map { "pin: \($0)" }
        }
        if configuration.cgroup.exists {
            let processes = ((try? configuration.cgroup.subtree()) ?? []).flatMap { (try? $0.processes()) ?? [] }
            let suffix =
                processes.isEmpty ? "" : " with processes \(processes.prefix(8).map { "\($0)" }.joined(separator: " "))"
            found.append("cgroup: \(configuration.cgroup.path)\(suffix)")
        }
        return found
    }

    /// Removes the node's directories, and those that all nodes share, as far as they are empty.
    func removeEmptyDirectories(cgroup removesCgroup: Bool) {
        var paths = [configuration.bpffs]
        if removesCgroup { paths += [configuration.factoryCgroup.path, configuration.cgroup.path] }
        for path in paths {
            // rmdir refuses what is not empty, which is the answer that is wanted.
            rmdir(path)
            let parent = path.split(separator: "/").dropLast()
            if parent.last == "sockmesh" { rmdir("/" + parent.joined(separator: "/")) }
        }
    }

    /// - Parameter maps: those that the node had; programs over them must go too.
    private func awaitNothingLeft(using maps: Set<UInt32>) throws(BPFError) -> [String] {
        let start = ContinuousClock.now
        while true {
            let left = try remains() + LoadedPrograms.describe { !maps.isDisjoint(with: $0.mapIDs) }
            if left.isEmpty || ContinuousClock.now - start > Self.patience { return left }
            usleep(20_000)
        }
    }

    static func killSwitch(_ directory: String) throws(BPFError) {
        let path = "\(directory)/maps/mesh_slots"
        if PinTree.exists(path) { try ProgramArray(MapHandle(pinned: path)).clear(0) }
    }

    /// Removes the directory of one layout with all that is pinned there.
    static func removeVersion(_ directory: String) throws(BPFError) {
        try detachLinks(of: directory)
        try PinTree.removeAll(directory)
    }

    /// Detaches and unpins the links of one layout; its maps stay.
    ///
    /// The order keeps connections alive that are being made meanwhile: first the programs of connect, then the lookup
    /// programs, which want the records that the last ones write. Those ask for a stamp of the lookup programs unless
    /// the layout is marked MESH_CTL_RETIRED.
    static func detachLinks(of directory: String) throws(BPFError) {
        let links = "\(directory)/links"
        let last: Set<String> = ["mesh_sockops", MeshProgram.hostRecords.name]
        func phase(_ name: String) -> Int {
            if last.contains(name) { return 2 }
            return DataPlaneConfiguration.lookupCookie(inPinName: name) == nil ? 0 : 1
        }
        for name in try PinTree.names(links).sorted(by: { phase($0) < phase($1) }) {
            try CgroupLinks.remove("\(links)/\(name)")
        }
    }
}
