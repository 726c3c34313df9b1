// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel
import ProxyProtocol
import Testing

@testable import ProxyProcess

/// What the agent is told of what a worker has counted.
@Suite(.serialized, .timeLimit(.minutes(1))) struct MetricsTests {
    private typealias World = EngineWorld

    private static func page(_ world: World) throws -> String {
        let file = try MemoryFile.make("test")
        let before = world.heard.count { $0 == .metrics(3) }
        world.agent?.send(.metricsRequest(3), [file])
        try world.turn { world.heard.count { $0 == .metrics(3) } > before }
        return String(decoding: try MemoryFile.read(file, atMost: 1 << 24), as: UTF8.self)
    }

    private static func series(_ page: String, _ name: String) -> [String] {
        page.split(separator: "\n").filter { $0.hasPrefix("\(name){") }.map { String($0) }
    }

    @Test func requestsAreCountedUnderTheNamesOfBothEnds() throws {
        let backend = try NamedBackend("web")
        let world = try World()
        let client = ProxyRecord.workload(
            WorkloadRecord(
                netns: World.netns, pod: NamespacedName(namespace: "shop", name: "client"), serviceAccount: "cart",
                labels: ["app": "cart", "version": "v2"]))
        let server = ProxyRecord.workload(
            WorkloadRecord(
                netns: 4712, pod: NamespacedName(namespace: "shop", name: "web-1"), addresses: [World.loopback],
                labels: ["service.istio.io/canonical-name": "web"]))
        let node = ProxyRecord.node(NodeRecord(name: "n", trustDomain: "example.org"))
        let web = World.service("web", [backend.port], addresses: [World.address])
        try world.configure([web, client, server, node])
        let connection = world.client()
        for _ in 0..<3 { _ = try world.get(connection) }
        _ = try world.get(connection, "/", "Max-Forwards: 0\r\nContent-Type: application/grpc+proto\r\n")
        let page = try Self.page(world)
        let requests = Self.series(page, "istio_requests_total")
        #expect(requests.count == 2, "\(requests)")
        let http = try #require(requests.first { $0.contains("request_protocol=\"http\"") })
        for label in [
            "reporter=\"source\"", "source_workload=\"client\"", "source_workload_namespace=\"shop\"",
            "source_principal=\"spiffe://example.org/ns/shop/sa/cart\"", "source_app=\"cart\"",
            "source_version=\"v2\"", "source_canonical_service=\"cart\"", "source_canonical_revision=\"v2\"",
            "destination_workload=\"web-1\"", "destination_canonical_service=\"web\"",
            "destination_canonical_revision=\"latest\"", "destination_principal=\"unknown\"",
            "destination_service=\"web.shop.svc.cluster.local\"", "destination_service_name=\"web\"",
            "destination_service_namespace=\"shop\"", "response_code=\"200\"", "response_flags=\"-\"",
            "connection_security_policy=\"none\"",
        ] { #expect(http.contains(label), "\(label) in \(http)") }
        #expect(http.hasSuffix("} 3"))
        #expect(requests.contains { $0.contains("request_protocol=\"grpc\"") && $0.hasSuffix("} 1") })
        #expect(Self.series(page, "istio_request_duration_milliseconds_count").contains { $0.hasSuffix("} 3") })
        #expect(page.contains("\nsockmesh_proxy_connections 1\n"))
    }

    @Test func connectionsThatAreNotHTTPAreCountedWhileTheyAreOpen() throws {
        let backend = try NamedBackend("web")
        let world = try World()
        func web(_ ports: [UInt16]) -> ProxyRecord {
            .service(
                ServiceRecord(
                    service: NamespacedName(namespace: "shop", name: "web"), port: 80, addresses: [World.address],
                    appProtocol: "tcp", endpoints: ports.map { .init(address: World.loopback, port: $0) }))
        }
        func value(_ name: String) throws -> String? {
            let series = Self.series(try Self.page(world), "istio_tcp_\(name)_total")
            return series.first { $0.contains("source_workload=\"client\"") && $0.contains("shop\"") }
                .flatMap { $0.split(separator: " ").last.map { String($0) } }
        }
        try world.configure([web([backend.port]), World.client])
        let client = world.client()
        let response = try world.get(client)
        #expect(response.body.contains("web"))
        #expect(try value("connections_opened") == "1" && value("connections_closed") == "0")
        #expect(
            try value("received_bytes") == "29"
                && value("sent_bytes") == "\(response.head.utf8.count + response.body.utf8.count)")
        #expect(Self.series(try Self.page(world), "istio_requests_total").isEmpty)
        client.close()
        var closed: String?
        try world.turn {
            closed = try? value("connections_closed")
            return closed == "1"
        }
        try world.configure([web([]), World.client])
        let other = world.client()
        try world.turn {
            other.receive()
            return other.end == .reset
        }
        #expect(try value("connections_failed") == "1" && value("connections_opened") == "1")
    }

    @Test func whatIsDeniedIsCountedByItsFlag() throws {
        let backend = try NamedBackend("web")
        let world = try World()
        var operation = AuthorizationPolicy.Operation()
        operation.methods = ["POST"]
        let record = AuthorizationRecord(
            AuthorizationPolicy(
                metadata: ObjectMetadata(name: "p", namespace: "shop"), rules: [.init(to: [operation])]))
        let destination = DestinationRecord(
            pod: NamespacedName(namespace: "shop", name: "web-1"), addresses: [World.loopback],
            policies: [record.key.name])
        let web = World.service("web", [backend.port], addresses: [World.address])
        try world.configure([web, World.client, .authorizationPolicy(record), .destination(destination)])
        #expect(try world.get(world.client()).head.hasPrefix("HTTP/1.1 403 "))
        let requests = Self.series(try Self.page(world), "istio_requests_total")
        #expect(requests.count == 1 && requests[0].contains("response_code=\"403\""))
        #expect(requests.first?.contains("response_flags=\"UAEX\"") == true, "\(requests)")
    }

    /// Several workers are one page.
    @Test func allWorkersAreAdded() throws {
        let backend = try NamedBackend("web")
        let world = try World(HTTPEngine.Options(workers: 3))
        try world.configure([World.service("web", [backend.port], addresses: [World.address]), World.client])
        for _ in 0..<12 { _ = try world.get(world.client()) }
        let requests = Self.series(try Self.page(world), "istio_requests_total")
        #expect(requests.count == 1 && requests[0].hasSuffix("} 12"), "\(requests)")
    }

    /// A pod without the policies that it is said to have would take every request.
    @Test func aDestinationWithoutItsPolicyIsRefused() throws {
        let world = try World()
        let destination = DestinationRecord(
            pod: NamespacedName(namespace: "shop", name: "web-1"), addresses: [World.loopback], policies: ["gone"])
        let generation = world.send([World.client, .destination(destination)])
        let reason = "destination shop/web-1: there is no policy gone"
        try world.turn { world.heard.contains(.reject(generation, reason: reason)) }
    }
}
