// SPDX-License-Identifier: Apache-2.0

extension CompiledMesh {
    /// Every key, as if all of them had changed: for a reader that begins anew.
    public var allKeys: CompiledChanges {
        var keys = CompiledChanges()
        keys.workloads = Set(workloads.keys)
        keys.addresses = Set(addresses.keys)
        keys.cidrs = Set(cidrs.keys)
        keys.services = Set(services.keys)
        keys.servicePorts = Set(servicePorts.keys)
        keys.policySets = Set(policySets.keys)
        keys.identities = Set(identities.keys)
        return keys
    }
}
