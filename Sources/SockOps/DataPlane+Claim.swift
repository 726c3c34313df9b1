// SPDX-License-Identifier: Apache-2.0

public import LinuxIO

extension DataPlane {
    /// Whether ``attachLookup(_:cookie:)`` would find the namespace free, or this node's already.
    ///
    /// - Throws: ``BPFError`` with `.attach` and EBUSY, naming the program, if another node has enrolled the pod.
    public func requireUnclaimed(_ namespace: borrowing NetworkNamespace, cookie: UInt64) throws(BPFError) {
        if PinTree.exists(configuration.lookupPath(cookie)) { return }
        try Neighbours(own: []).requireAlone(namespace)
    }
}
