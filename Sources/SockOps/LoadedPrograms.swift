// SPDX-License-Identifier: Apache-2.0

import CLibBPF
import Glibc
import LinuxIO

/// What is loaded in the kernel under the names of this project, whoever loaded it.
enum LoadedPrograms {
    typealias Program = (id: UInt32, name: String, mapIDs: [UInt32])

    /// The loaded programs with names of ours.
    static func all() throws(BPFError) -> [Program] {
        var found: [Program] = []
        try forEachID("programs", bpf_prog_get_next_id) { id throws(BPFError) in
            // Gone between the two calls: ENOENT.
            guard let program = try present({ () throws(BPFError) in try BPFProgram(id: id) }),
                MeshProgram.isOurs(kernelName: program.name)
            else { return }
            found.append((id, program.name, program.mapIDs))
        }
        return found
    }

    /// The links that run one of `programs`, by the kernel's numbers.
    static func links(of programs: Set<UInt32>) throws(BPFError) -> [(id: UInt32, programID: UInt32)] {
        var found: [(id: UInt32, programID: UInt32)] = []
        try forEachID("links", bpf_link_get_next_id) { id throws(BPFError) in
            let raw = bpf_link_get_fd_by_id(id)
            if raw == -ENOENT { return }
            guard raw >= 0 else { throw BPFError(.find, "link \(id)", errnoCode: raw) }
            let descriptor = OwnedDescriptor(adopting: raw)
            var info = sockops_link_info()
            if sockops_link_info(descriptor.rawValue, &info) == 0, programs.contains(info.program_id) {
                found.append((id, info.program_id))
            }
        }
        return found
    }

    /// Those of ours that `isWanted`, as `program: NAME (number ID)` with the links that run them.
    static func describe(_ isWanted: (Program) -> Bool) throws(BPFError) -> [String] {
        let programs = try all().filter(isWanted)
        let links = try links(of: Set(programs.map(\.id)))
        return programs.map { program in
            let running = links.filter { $0.programID == program.id }.map { ", attached by link \($0.id)" }
            return "program: \(program.name) (number \(program.id))\(running.joined())"
        }
    }

    /// The numbers of the programs of ours that work on maps which no node of this machine has pinned.
    ///
    /// Such a program is what an uninstalled node has left, or belongs to a start or a self-test of this moment.
    static func orphans() throws(BPFError) -> Set<UInt32> {
        // The programs first: what a node pins between the two looks counts as pinned.
        let programs = try all()
        let roots = try BPFError.telling { () throws(SystemError) in try Mounts.current().bpffs }
        var pinned: Set<UInt32> = []
        for root in Set(roots) { pinned.formUnion(try pinnedMaps(below: root)) }
        return Set(programs.filter { !$0.mapIDs.isEmpty && pinned.isDisjoint(with: $0.mapIDs) }.map(\.id))
    }

    /// The maps that are pinned as `mesh_*` below `directory`.
    static func pinnedMaps(below directory: String) throws(BPFError) -> Set<UInt32> {
        var ids: Set<UInt32> = []
        for path in try PinTree.everything(below: directory) where path.contains("/mesh_") {
            // EINVAL: a program or a link of that name.
            do throws(BPFError) {
                ids.insert(try MapHandle(pinned: path).id)
            } catch  where error.errnoCode == ENOENT || error.errnoCode == EINVAL {}
        }
        return ids
    }

    /// Nil instead of ENOENT: what is listed can go before it is opened.
    private static func present<Value: ~Copyable>(
        _ open: () throws(BPFError) -> Value
    ) throws(BPFError) -> Value? {
        do throws(BPFError) {
            return try open()
        } catch {
            if error.errnoCode == ENOENT { return nil }
            throw error
        }
    }

    private static func forEachID(
        _ what: String, _ next: (UInt32, UnsafeMutablePointer<UInt32>?) -> CInt,
        _ body: (UInt32) throws(BPFError) -> Void
    ) throws(BPFError) {
        var id: UInt32 = 0
        while true {
            let status = next(id, &id)
            if status == -ENOENT { return }
            guard status == 0 else { throw BPFError(.query, "loaded \(what)", errnoCode: status) }
            try body(id)
        }
    }
}
