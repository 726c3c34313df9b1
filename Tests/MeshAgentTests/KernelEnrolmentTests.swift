// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshModel
import TestSupport
import Testing

@testable import MeshAgent
@testable import SockOps

extension KernelPolicyTests {
    /// Pods that come, go and change places within one change.
    @Suite struct KernelEnrolmentTests {
        private static let policy = NetworkPolicy(
            metadata: ObjectMetadata(name: "closed", namespace: "shop"),
            podSelector: LabelSelector(matchLabels: ["app": "db"]))

        private static func pod(_ name: String, _ address: String, app: String) throws -> Pod {
            Pod(
                metadata: ObjectMetadata(name: name, namespace: "shop", labels: ["app": app]),
                nodeName: RandomCluster.nodeName, podIPs: [try #require(IPAddress(address))])
        }

        private static func isAllowed(
            from client: Pod, to server: Pod, _ mesh: KernelMesh, _ ask: borrowing KernelVerdict
        ) throws -> Bool {
            let flow = RandomCluster.Flow(
                source: client.podIPs[0], destination: server.podIPs[0], port: 80, transport: .tcp)
            return try ask(mesh_query(flow, from: mesh.namespace(of: client.namespacedName))).allowed
        }

        /// Somebody gives the Pod in a file another name; its namespace, and what runs in it, stay.
        @Test(arguments: [("a", "b"), ("b", "a")])
        func aNamespaceGoesToAPodOfAnotherName(names: (old: String, new: String)) throws {
            let node = try KernelNode("rename")
            let writer = try node.writer()
            let ask = try KernelVerdict(of: writer)
            let mesh = try KernelMesh(on: writer)
            let client = try Self.pod("client", "10.0.0.1", app: "web")
            let old = try Self.pod(names.old, "10.0.0.2", app: "db")
            let new = try Self.pod(names.new, "10.0.0.2", app: "db")
            let enforce = { (server: Pod) in
                try mesh.enforce(
                    [.pod(client), .pod(server), .networkPolicy(Self.policy)],
                    enrolled: [client.namespacedName, server.namespacedName])
            }
            try enforce(old)
            #expect(try !Self.isAllowed(from: client, to: old, mesh, ask))
            let cookie = mesh.namespace(of: old.namespacedName)
            mesh.moveNamespace(from: old.namespacedName, to: new.namespacedName)
            try enforce(new)
            #expect(try !Self.isAllowed(from: client, to: new, mesh, ask))
            #expect(mesh.reconciler.inForce[new.namespacedName]?.netns == cookie)
            #expect(writer.tables.workloads[cookie] != nil)
            try enforce(new)
            #expect(try !Self.isAllowed(from: client, to: new, mesh, ask))
        }

        /// A Pod is made anew: its namespace is another one, its address the same.
        @Test func anAddressGoesToAnotherNamespace() throws {
            let node = try KernelNode("address")
            let writer = try node.writer()
            let ask = try KernelVerdict(of: writer)
            let mesh = try KernelMesh(on: writer)
            let client = try Self.pod("client", "10.0.0.1", app: "web")
            for index in 0..<6 {
                // The last ones are open, so that verdicts turn.
                let server = try Self.pod("server-\(index % 3)-\(index)", "10.0.0.2", app: index < 4 ? "db" : "web")
                try mesh.enforce(
                    [.pod(client), .pod(server), .networkPolicy(Self.policy)],
                    enrolled: [client.namespacedName, server.namespacedName])
                #expect(try Self.isAllowed(from: client, to: server, mesh, ask) == (index >= 4))
                #expect(writer.tables.pod(at: server.podIPs[0]) == mesh.namespace(of: server.namespacedName))
            }
            mesh.reconciler.finishGracePeriod()
            #expect(writer.tables.workloads.count == 2)
            #expect(try writer.plane.maps.workloads.entries().count == 2)
        }

        /// What leaves the mesh is refused nothing, and leaves nothing.
        @Test func aPodLeaves() throws {
            let node = try KernelNode("leave")
            let writer = try node.writer()
            let ask = try KernelVerdict(of: writer)
            let mesh = try KernelMesh(on: writer)
            let client = try Self.pod("client", "10.0.0.1", app: "web")
            let server = try Self.pod("server", "10.0.0.2", app: "db")
            let objects: [MeshObject] = [.pod(client), .pod(server), .networkPolicy(Self.policy)]
            for _ in 0..<3 {
                try mesh.enforce(objects, enrolled: [client.namespacedName, server.namespacedName])
                #expect(try !Self.isAllowed(from: client, to: server, mesh, ask))
                try mesh.enforce(objects, enrolled: [client.namespacedName])
                #expect(try Self.isAllowed(from: client, to: server, mesh, ask))
                mesh.reconciler.finishGracePeriod()
                #expect(try Self.isAllowed(from: client, to: server, mesh, ask))
                #expect(writer.tables.addresses[server.podIPs[0]]?.flags == 0)
                #expect(writer.tables.lookups == [mesh.namespace(of: client.namespacedName)])
            }
            try mesh.enforce([], enrolled: [])
            mesh.reconciler.finishGracePeriod()
            #expect(writer.tables.workloads.isEmpty)
            #expect(writer.tables.addresses.isEmpty)
            #expect(try writer.plane.maps.policy.entries().isEmpty)
        }
    }
}
