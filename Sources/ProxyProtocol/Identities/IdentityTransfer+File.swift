// SPDX-License-Identifier: Apache-2.0

public import LinuxIO

extension IdentityTransfer {
    /// Lends the key of an identity, by its index, to `take`.
    public typealias LendKey = (
        _ index: Int, _ take: (UnsafeRawBufferPointer) throws(SystemError) -> Void
    ) throws(SystemError) -> Void

    /// Writes the value and the keys to an empty file in memory, the keys without a copy on the way.
    ///
    /// - Precondition: each key has as many bytes as its identity says.
    public func write(to file: SharedDescriptor, _ lendKey: LendKey) throws(SystemError) {
        try MemoryFile.write(wire, to: file)
        for (index, identity) in identities.enumerated() {
            try lendKey(index) { (key) throws(SystemError) in
                precondition(key.count == Int(identity.keyBytes), "a key of another length")
                try MemoryFile.append(key, to: file)
            }
        }
    }
}
