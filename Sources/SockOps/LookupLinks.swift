// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO

/// The pinned sk_lookup links of enrolled pods, by netns cookie.
///
/// A link does not keep its namespace alive. A cookie is not used again before the next
/// boot, and a bpf file system does not outlive a boot: a pin can be dead, but never another pod's.
struct LookupLinks {
    let configuration: DataPlaneConfiguration

    /// The cookies that have a pin.
    func cookies() throws(BPFError) -> [UInt64] {
        try PinTree.names(configuration.linkDirectory).compactMap(DataPlaneConfiguration.lookupCookie).sorted()
    }

    /// Lets every link that an earlier agent left run `program`, and unpins those whose namespace is gone.
    ///
    /// - Returns: the cookies of the live ones.
    func adopt(_ program: borrowing BPFProgram) throws(BPFError) -> [UInt64] {
        var live: [UInt64] = []
        for cookie in try cookies() {
            if try update(cookie, to: program) {
                live.append(cookie)
            } else {
                try PinTree.unpin(configuration.lookupPath(cookie))
            }
        }
        return live
    }

    /// Attaches `program` to a namespace and pins the link; one that is there already is kept.
    ///
    /// - Returns: whether it was not there before.
    func attach(
        _ program: borrowing BPFProgram, to namespace: borrowing NetworkNamespace, cookie: UInt64
    ) throws(BPFError) -> Bool {
        let path = configuration.lookupPath(cookie)
        if PinTree.exists(path) {
            if try update(cookie, to: program) { return false }
            try PinTree.unpin(path)
        }
        try Neighbours(own: programIDs(cookie)).requireAlone(namespace)
        let link = try BPFLink(
            attaching: program, to: namespace.rawDescriptor, at: .socketLookup, targetName: namespace.path)
        try link.pin(path)
        return true
    }

    /// Detaches and unpins; absent is fine.
    func detach(_ cookie: UInt64) throws(BPFError) {
        try CgroupLinks.remove(configuration.lookupPath(cookie))
    }

    /// Programs that run in a namespace under the links of this node, those of other layouts among them.
    func programIDs(_ cookie: UInt64) throws(BPFError) -> Set<UInt32> {
        var ids: Set<UInt32> = []
        for directory in try configuration.versionDirectories() {
            let path = configuration.lookupPath(cookie, in: directory)
            if PinTree.exists(path) { ids.insert(try BPFLink(pinned: path).state().programID) }
        }
        return ids
    }

    /// Inode of the namespace file, 0 if the namespace is gone; nil if nothing is pinned or it cannot be read.
    func namespaceInode(_ cookie: UInt64) -> UInt64? {
        let path = configuration.lookupPath(cookie)
        guard PinTree.exists(path) else { return nil }
        do throws(BPFError) { return try BPFLink(pinned: path).state().target } catch { return nil }
    }

    /// False if the namespace is gone.
    private func update(_ cookie: UInt64, to program: borrowing BPFProgram) throws(BPFError) -> Bool {
        let link = try BPFLink(pinned: configuration.lookupPath(cookie))
        guard try link.state().target != 0 else { return false }
        return try link.update(to: program)
    }
}
