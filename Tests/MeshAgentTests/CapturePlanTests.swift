// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshModel
import ProxyProtocol
import Testing

@testable import MeshAgent

/// How services come to be led to the proxy, and how that ends.
@Suite struct CapturePlanTests {
    private struct Node {
        var compiler = MeshCompiler(configuration: .init(nodeName: "here", hasProxy: true))
        var tables = KernelTables()
        var builder = ImageBuilder(adopting: KernelTables())
        var acknowledged: [ServiceKey: ServiceCapture] = [:]
        var records = ProxyRecords()
        /// What the proxy has been told.
        var told = ConfigurationState()

        static let service = Service(
            metadata: ObjectMetadata(name: "web", namespace: "shop"), clusterIPs: [IPAddress(v4: 0x0a60_0001)],
            ports: [.init(port: 80)])
        static let key = ServiceKey(address: IPAddress(v4: 0x0a60_0001), port: 80, transport: .tcp)

        /// Each step of the way keeps what must always hold.
        mutating func update(_ change: MeshChange) throws {
            let changes = compiler.update(change)
            told.apply(ConfigurationChange(of: told, records.update(changes, compiler)))
            try put(changes)
        }

        /// As the agent does when the proxy has said that it is ready.
        mutating func acknowledge() throws {
            acknowledged = compiler.mesh.services.mapValues(\.capture)
            try put(CompiledChanges(services: Set(acknowledged.keys)))
        }

        private mutating func put(_ changes: CompiledChanges) throws {
            let keys = try builder.update(to: compiler.mesh, changes, pods: [:], acknowledged: acknowledged)
            let plan = MapPlan(from: tables, to: builder.image, at: keys)
            #expect(plan.flip == nil || tables.generation == 0, "who is led where is no policy")
            for operation in plan.operations {
                let before = tables
                tables.apply(operation)
                for row in tables.services.values where row.flags & MESH_SVC_CAPTURE_CLASS.rawValue != 0 {
                    let isChange = before.services.values.allSatisfy { $0.flags != row.flags }
                    let wanted = builder.image.routes.filter { $0.service == row.service }
                    if isChange { #expect(tables.routes.isSuperset(of: wanted), "classes come before who asks") }
                }
            }
            #expect(MapPlan(from: tables, to: builder.image).isEmpty)
        }

        var flags: UInt32? { tables.services[Self.key]?.flags }
    }

    private static func route(_ namespace: String) -> MeshObject {
        .route(
            .route(
                .http(
                    HTTPRoute(
                        metadata: ObjectMetadata(name: "r", namespace: namespace),
                        parentRefs: [
                            RouteParentReference(group: "", kind: "Service", namespace: "shop", name: "web", port: 80)
                        ], rules: [.init()]))))
    }

    @Test func nothingIsLedToAProxyThatDoesNotKnowTheRoute() throws {
        var node = Node()
        try node.update(MeshChange(changed: [.service(Node.service), Self.route("shop")]))
        #expect(node.flags == 0 && node.tables.captures.isEmpty)
        try node.acknowledge()
        #expect(node.flags == MESH_SVC_CAPTURE.rawValue && node.tables.captures == [Node.key: .all])
        // It ends with the route, whatever the proxy says.
        try node.update(MeshChange(removed: [Self.route("shop").reference]))
        #expect(node.flags == 0)
    }

    @Test func classesComeAndGo() throws {
        var node = Node()
        try node.update(MeshChange(changed: [.service(Node.service), Self.route("bank")]))
        try node.acknowledge()
        #expect(node.flags == MESH_SVC_CAPTURE_CLASS.rawValue && node.tables.routes.count == 1)
        let bank = node.tables.captures
        // A second class is not led there before the proxy has its route; the first stays.
        try node.update(MeshChange(changed: [Self.route("blog")]))
        #expect(node.tables.captures == bank)
        try node.acknowledge()
        #expect(node.tables.routes.count == 2)
        try node.update(MeshChange(removed: [Self.route("bank").reference]))
        #expect(node.tables.routes.count == 1 && node.tables.captures != bank)
        try node.update(MeshChange(changed: [Self.route("shop")]))
        try node.acknowledge()
        #expect(node.flags == MESH_SVC_CAPTURE.rawValue && node.tables.routes.isEmpty)
        try node.update(
            MeshChange(removed: [MeshObject.service(Node.service).reference, Self.route("blog").reference]))
        #expect(node.tables.services.isEmpty && node.tables.routes.isEmpty)
    }

    @Test func recordsFollowChangeByChange() throws {
        var node = Node()
        let steps: [MeshChange] = [
            MeshChange(changed: [.service(Node.service), Self.route("shop"), Self.route("bank")]),
            MeshChange(removed: [Self.route("bank").reference]), MeshChange(changed: [Self.route("blog")]),
            MeshChange(removed: [MeshObject.service(Node.service).reference]),
        ]
        for (index, step) in steps.enumerated() {
            try node.update(step)
            var fresh = ProxyRecords()
            let change = ConfigurationChange(of: ConfigurationState(), fresh.start(node.compiler))
            // Of the node, which has not changed since the start.
            let records = change.records.filter { $0.key.kind != .node }
            #expect(records == node.told.records.mapValues { $0 }, "step \(index)")
        }
        let read = try ProxyConfiguration(node.told)
        #expect(read.routes.map(\.metadata.namespace).sorted() == ["blog", "shop"] && read.services.isEmpty)
    }

    @Test func workloadsAreRecords() throws {
        var records = ProxyRecords()
        var told = ConfigurationState()
        let first = WorkloadRecord(netns: 7, pod: .init(namespace: "shop", name: "a"), addresses: [IPAddress(v4: 1)])
        let second = WorkloadRecord(netns: 8, pod: .init(namespace: "shop", name: "b"))
        let steps = [[first, second], [second, first], [first]]
        let differences = steps.map { step in
            let change = records.setWorkloads(step)
            told.apply(ConfigurationChange(of: told, change))
            return change.count
        }
        #expect(differences == [2, 0, 1])
        #expect(try ProxyConfiguration(told).workloads == [first])
    }

    /// However much there is, what is told is what has changed.
    @Test func aChangeIsOneRecord() throws {
        var node = Node()
        func service(_ number: Int, port: UInt16) -> MeshObject {
            .service(
                Service(
                    metadata: ObjectMetadata(name: "s\(number)", namespace: "shop"),
                    clusterIPs: [IPAddress(v4: 0x0a60_0100 + UInt32(number))], ports: [.init(port: port)]))
        }
        func route(_ number: Int, to name: String) -> MeshObject {
            .route(
                .route(
                    .http(
                        HTTPRoute(
                            metadata: ObjectMetadata(name: "r\(number)", namespace: "shop"),
                            parentRefs: [RouteParentReference(group: "", kind: "Service", name: name)],
                            rules: [.init()]))))
        }
        let services = (0..<100).map { service($0, port: 80) }
        let routes = (0..<300).map { route($0, to: "s\($0 % 100)") }
        let all = node.records.update(node.compiler.update(MeshChange(changed: services + routes)), node.compiler)
        #expect(all.count == 400)
        func told(_ change: MeshChange) -> [String] {
            node.records.update(node.compiler.update(change), node.compiler).map { key, value in
                "\(key)\(value == nil ? " goes" : "")"
            }.sorted()
        }
        #expect(told(MeshChange(changed: [route(7, to: "s8")])) == ["route HTTPRoute shop/r7"])
        #expect(told(MeshChange(removed: [route(7, to: "s8").reference])) == ["route HTTPRoute shop/r7 goes"])
        #expect(told(MeshChange(changed: [service(3, port: 81)])) == ["service shop/s3:80 goes", "service shop/s3:81"])
        #expect(told(MeshChange(removed: [service(3, port: 81).reference])) == ["service shop/s3:81 goes"])
    }
}
