// SPDX-License-Identifier: Apache-2.0

import CMeshABI

/// Taking over from an agent of another map layout, whose programs run beside this one's until they are retired.
extension DataPlane {
    /// Directories of other layouts that are pinned for this node.
    public func otherVersions() throws(BPFError) -> [String] {
        try configuration.versionDirectories().filter { $0 != configuration.versionDirectory }
    }

    /// Cookies of the namespaces that live and have the lookup program of another layout.
    public func otherVersionLookups() throws(BPFError) -> Set<UInt64> {
        var live: Set<UInt64> = []
        for directory in try otherVersions() {
            for name in try PinTree.names("\(directory)/links") {
                guard let cookie = DataPlaneConfiguration.lookupCookie(inPinName: name) else { continue }
                if try BPFLink(pinned: "\(directory)/links/\(name)").state().target != 0 { live.insert(cookie) }
            }
        }
        return live
    }

    /// Detaches the programs of other layouts; call it once this layout's maps hold the policy in force for every pod
    /// of ``otherVersionLookups()``, and again if it throws.
    ///
    /// Until then both layouts judge each connection and either can refuse it, so there is no gap. Connections
    /// that the others redirect go to TCP with their next message. Their maps stay pinned, because what is
    /// queued unread for a member of their sockhash would be lost with it.
    public func detachOtherVersions() throws(BPFError) {
        for directory in try otherVersions() {
            try Uninstaller.killSwitch(directory)
            try Self.retire(directory)
            try Uninstaller.detachLinks(of: directory)
        }
    }

    /// Socket cookies of the sockets that are in a sockhash of another layout: they leave it when they are closed.
    public func otherVersionMembers() throws(BPFError) -> Set<UInt64> {
        var members: Set<UInt64> = []
        for directory in try otherVersions() {
            let path = "\(directory)/maps/mesh_sockets"
            guard PinTree.exists(path) else { continue }
            members.formUnion(try SocketHash(MapHandle(pinned: path)).keys())
        }
        return members
    }

    /// Removes the maps of other layouts; call it when no redirected bytes wait unread in them any more.
    public func removeOtherVersions() throws(BPFError) {
        for directory in try otherVersions() { try Uninstaller.removeVersion(directory) }
    }

    /// Tells the programs of a layout that the stamps of its lookup programs end: a connection that is being made while
    /// the one is detached and the other is not yet must not be cut for the lack of one.
    private static func retire(_ directory: String) throws(BPFError) {
        let path = "\(directory)/maps/mesh_control"
        guard PinTree.exists(path) else { return }
        let head = try MappedValue<mesh_control_head>(beginningOf: MapHandle(pinned: path))
        head.publish(head.load(\.flags) | MESH_CTL_RETIRED.rawValue, to: \.flags)
    }
}
