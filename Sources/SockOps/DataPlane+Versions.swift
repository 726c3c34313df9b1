// SPDX-License-Identifier: Apache-2.0

/// Taking over from an agent of another map layout, whose programs run beside this one's until they are retired.
extension DataPlane {
    /// Directories of other layouts that are pinned for this node.
    public func otherVersions() throws(BPFError) -> [String] {
        try configuration.versionDirectories().filter { $0 != configuration.versionDirectory }
    }

    /// Detaches the programs of other layouts; call it once this layout's maps hold the policy in force.
    ///
    /// Until then both layouts judge each connection and either can refuse it, so there is no gap. Connections
    /// that the others redirect go to TCP with their next message. Their maps stay pinned, because what is
    /// queued unread for a member of their sockhash would be lost with it.
    public func detachOtherVersions() throws(BPFError) {
        for directory in try otherVersions() {
            try Uninstaller.killSwitch(directory)
            try Uninstaller.detachLinks(of: directory)
        }
    }

    /// Removes the maps of other layouts; call it when no redirected bytes wait unread in them any more.
    public func removeOtherVersions() throws(BPFError) {
        for directory in try otherVersions() { try Uninstaller.removeVersion(directory) }
    }
}
