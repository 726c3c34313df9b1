// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO

/// The pinned links of a node's cgroup programs: adopted where they are there, made where they are not.
struct CgroupLinks {
    let configuration: DataPlaneConfiguration

    /// What became of one link.
    enum Outcome: Equatable {
        case attached
        /// It was there and runs the new program now.
        case updated
        /// It was there but its cgroup was gone, or another one: attached anew.
        case replaced
    }

    /// Makes `program` run on its cgroup, without a moment in which neither the old nor the new one does.
    func install(_ program: MeshProgram, loaded: borrowing BPFProgram) throws(BPFError) -> Outcome? {
        guard let cgroup = configuration.target(of: program), let point = program.point else {
            // No longer wanted, for example without a root cgroup.
            try Self.remove(configuration.linkPath(program))
            return nil
        }
        let path = configuration.linkPath(program)
        var outcome = Outcome.attached
        if PinTree.exists(path) {
            let link = try BPFLink(pinned: path)
            let state = try link.state()
            if state.target == (try Self.id(of: cgroup)), state.attachType == point.rawValue,
                try link.update(to: loaded)
            {
                return .updated
            }
            outcome = .replaced
            try Self.remove(path)
        }
        let directory = try Self.open(cgroup)
        let link = try BPFLink(
            attaching: loaded, to: directory.rawValue, at: point, targetName: cgroup.path)
        try link.pin(path)
        return outcome
    }

    /// Programs that run under the links of this node, those of other layouts among them.
    func programIDs() throws(BPFError) -> Set<UInt32> {
        var ids: Set<UInt32> = []
        for directory in try configuration.versionDirectories() {
            for name in try PinTree.names("\(directory)/links") {
                ids.insert(try BPFLink(pinned: "\(directory)/links/\(name)").state().programID)
            }
        }
        return ids
    }

    /// Detaches and unpins links of programs that this build does not have.
    func sweep() throws(BPFError) {
        let known = Set(MeshProgram.ofCgroups.map(\.name))
        for name in try PinTree.names(configuration.linkDirectory)
        where !known.contains(name) && DataPlaneConfiguration.lookupCookie(inPinName: name) == nil {
            try Self.remove("\(configuration.linkDirectory)/\(name)")
        }
    }

    /// Detaches and unpins; absent is fine.
    static func remove(_ path: String) throws(BPFError) {
        guard PinTree.exists(path) else { return }
        // Detached first: should the process die in between, a dead pin is left and no hidden attachment.
        try BPFLink(pinned: path).detach()
        try PinTree.unpin(path)
    }

    private static func id(of cgroup: Cgroup) throws(BPFError) -> UInt64 {
        try BPFError.telling { () throws(SystemError) in try cgroup.id() }
    }

    private static func open(_ cgroup: Cgroup) throws(BPFError) -> OwnedDescriptor {
        try BPFError.telling { () throws(SystemError) in try cgroup.open() }
    }
}
