// SPDX-License-Identifier: Apache-2.0

public import LinuxIO

extension DataPlane {
    /// Whether ``attachLookup(_:cookie:)`` would find the namespace free, or this node's already.
    ///
    /// - Throws: ``BPFError`` with `.attach` and EBUSY, naming the program, if another node has enrolled the pod.
    public func requireUnclaimed(_ namespace: borrowing NetworkNamespace, cookie: UInt64) throws(BPFError) {
        if PinTree.exists(configuration.lookupPath(cookie)) { return }
        try Neighbours(own: LookupLinks(configuration: configuration).programIDs(cookie)).requireAlone(namespace)
    }

    /// Whether a pod's namespace still exists; nil if that cannot be told: it has no lookup program of this node, or
    /// the kernel cannot be asked.
    ///
    /// The kernel ends the attachment with the namespace, so this needs neither a path nor a process.
    public func namespaceExists(_ cookie: UInt64) -> Bool? {
        LookupLinks(configuration: configuration).namespaceInode(cookie).map { $0 != 0 }
    }

    /// Inode of the namespace file of an enrolled pod; nil if it is gone or that cannot be told.
    public func namespaceInode(_ cookie: UInt64) -> UInt64? {
        LookupLinks(configuration: configuration).namespaceInode(cookie).flatMap { $0 == 0 ? nil : $0 }
    }
}
