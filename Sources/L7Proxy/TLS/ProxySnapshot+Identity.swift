// SPDX-License-Identifier: Apache-2.0

public import Identity
import MeshModel

extension ProxySnapshot {
    /// Whose certificate is shown for the pod in a network namespace: of an origin of tunnels, and of a source.
    ///
    /// - Returns: `nil` if no enrolled pod is there, or none whose names a SPIFFE ID can have; it then has no certificate
    ///   either.
    public func identity(ofNetwork network: UInt64) -> SPIFFEID? {
        guard let workload = workloads[network], let domain = try? TrustDomain(trustDomain) else { return nil }
        return try? SPIFFEID(
            domain, namespace: workload.name.namespace, serviceAccount: workload.serviceAccount)
    }
}
