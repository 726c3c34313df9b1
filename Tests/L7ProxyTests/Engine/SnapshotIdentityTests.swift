// SPDX-License-Identifier: Apache-2.0

import Identity
import L7Proxy
import MeshModel
import Testing

struct SnapshotIdentityTests {
    @Test func aPodHasTheIdentityOfItsServiceAccount() throws {
        func workload(_ account: String) -> ProxyWorkload {
            ProxyWorkload(name: NamespacedName(namespace: "shop", name: "web-1"), serviceAccount: account)
        }
        let snapshot = ProxySnapshot(
            generation: 1, services: [], workloads: [7: workload("web"), 8: workload("a:b")], trustDomain: "mesh.test")
        #expect(try snapshot.identity(ofNetwork: 7) == SPIFFEID("spiffe://mesh.test/ns/shop/sa/web"))
        // No SPIFFE ID can have that name; nobody is there.
        #expect(snapshot.identity(ofNetwork: 8) == nil)
        #expect(snapshot.identity(ofNetwork: 9) == nil)
        let unnamed = ProxySnapshot(generation: 1, services: [], workloads: [7: workload("web")], trustDomain: "A")
        #expect(unnamed.identity(ofNetwork: 7) == nil)
    }
}
