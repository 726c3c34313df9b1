// SPDX-License-Identifier: Apache-2.0

import MeshModel
import ProxyProtocol
import Testing

@testable import L7Proxy
@testable import ProxyProcess

struct SnapshotBuilderTests {
    private static func configuration(_ generation: UInt64, _ records: [ProxyRecord]) throws -> ProxyConfiguration {
        try ProxyConfiguration(ConfigurationState(generation: generation, records))
    }

    private static let address = IPAddress("10.96.0.1")!
    private static let origin = ConnectionOrigin(
        destination: address, destinationPort: 80, client: address, clientPort: 1, sourceNetwork: 4711, network: 4711)

    private static func web(_ endpoints: [ServiceRecord.Endpoint], appProtocol: String? = nil) -> ProxyRecord {
        .service(
            ServiceRecord(
                service: NamespacedName(namespace: "shop", name: "web"), port: 80, addresses: [address],
                appProtocol: appProtocol, endpoints: endpoints))
    }

    private static func endpoint(
        _ last: UInt32, weight: UInt32 = 1, isReady: Bool = true, isTerminating: Bool = false
    ) -> ServiceRecord.Endpoint {
        ServiceRecord.Endpoint(
            address: IPAddress(v4: 0x0a00_0000 | last), port: 8080, weight: weight, isReady: isReady,
            isTerminating: isTerminating)
    }

    private static func endpoints(_ records: [ServiceRecord.Endpoint]) throws -> [UInt64] {
        var builder = SnapshotBuilder()
        let snapshot = try builder.build(configuration(1, [web(records)]))
        let plan = try #require(snapshot.binding(origin).service)
        return snapshot.services[Int(plan.pointee.index)].endpoints.filter { $0.state == .ready && $0.weight > 0 }
            .map { $0.identity.address.low & 0xff }
    }

    @Test func onlyWhoCanServeIsAnEndpoint() throws {
        #expect(
            try Self.endpoints([
                Self.endpoint(1), Self.endpoint(2, weight: 0), Self.endpoint(3, isReady: false),
                Self.endpoint(4, isTerminating: true), Self.endpoint(5),
            ]) == [1, 5])
        #expect(
            try Self.endpoints([
                Self.endpoint(1, isReady: false), Self.endpoint(2, isTerminating: true),
                Self.endpoint(3, isReady: false, isTerminating: true),
            ]) == [2])
        #expect(try Self.endpoints([]) == [])
    }

    @Test func whatHasNotChangedIsNotCompiledAgain() throws {
        let route = EngineWorld.route([.init(matches: [HTTPRouteMatch(path: .prefix("/a"))])])
        var builder = SnapshotBuilder()
        func router(_ generation: UInt64, _ records: [ProxyRecord]) throws -> ObjectIdentifier? {
            let snapshot = try builder.build(Self.configuration(generation, records))
            // The snapshot before may be gone, but not the table that holds the router.
            return snapshot.routers.first.map { ObjectIdentifier($0) }
        }
        let first = try router(1, [Self.web([Self.endpoint(1)]), route])
        #expect(first != nil)
        #expect(try router(2, [Self.web([Self.endpoint(2)]), route, EngineWorld.client]) == first)
        #expect(try router(3, [Self.web([Self.endpoint(2)])]) == nil)
        #expect(try router(4, [Self.web([]), route]) != nil)
    }

    static let refused: [(ProxyRecord, String)] = [
        (
            .service(ServiceRecord(service: NamespacedName(namespace: "shop", name: "web"), port: 0)),
            "service shop/web:0: a Service has no port 0"
        ),
        (
            .service(
                ServiceRecord(
                    service: NamespacedName(namespace: "shop", name: "web"), port: 80, addresses: [IPAddress(v4: 0)])),
            "service shop/web:80: 0.0.0.0 is no address of a Service"
        ),
        (
            web([ServiceRecord.Endpoint(address: IPAddress(high: 0, low: 0), port: 1)]),
            "service shop/web:80: nobody can be reached at [::]:1"
        ),
        (
            .workload(WorkloadRecord(netns: 0, pod: NamespacedName(namespace: "shop", name: "client"))),
            "workload 0: pod shop/client has no network namespace"
        ),
    ]

    @Test(arguments: refused) func whatCannotBeServedIsNamed(_ record: ProxyRecord, _ text: String) throws {
        var builder = SnapshotBuilder()
        #expect(throws: EngineRefusal(text)) { _ = try builder.build(Self.configuration(1, [record])) }
    }
}
