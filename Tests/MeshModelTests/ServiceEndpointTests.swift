// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

/// Which endpoints a service lists, whether or not a new connection would be led there.
@Suite struct ServiceEndpointTests {
    typealias Fixture = PolicyFixture

    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let objects: [MeshObject]
        let expected: [String]
    }

    static let service = MeshObject.service(ServiceTests.service())

    static let cases: [Case] = [
        Case(
            testDescription: "a slice's endpoints in every state",
            objects: [
                service,
                ServiceTests.slice([
                    ServiceTests.endpoint("10.0.0.4"), ServiceTests.endpoint("10.0.0.1") { $0.ready = false },
                    ServiceTests.endpoint("10.0.0.2") {
                        $0.ready = false
                        $0.terminating = true
                        $0.serving = true
                    },
                    ServiceTests.endpoint("10.0.0.3") {
                        $0.ready = false
                        $0.terminating = true
                        $0.serving = false
                    },
                ]),
            ],
            expected: ["10.0.0.1:9000", "10.0.0.2:9000", "10.0.0.3:9000", "10.0.0.4:9000"]),
        Case(
            testDescription: "of all slices, each once, though a pod has the other address",
            objects: [
                service, .pod(ServiceTests.pod("a", ["10.0.0.9"])),
                ServiceTests.slice([ServiceTests.endpoint("10.0.0.1"), ServiceTests.endpoint("203.0.113.7")]),
                ServiceTests.slice([ServiceTests.endpoint("10.0.0.1") { $0.ready = false }], name: "s-2"),
                ServiceTests.slice([ServiceTests.endpoint("fd00::1")], name: "s-3", type: .ipv6),
            ],
            expected: ["10.0.0.1:9000", "203.0.113.7:9000"]),
        Case(
            testDescription: "weight 0",
            objects: [
                service, ServiceTests.slice([ServiceTests.endpoint("10.0.0.1")], weight: 0),
                ServiceTests.slice([ServiceTests.endpoint("10.0.0.2")], name: "s-2"),
            ],
            expected: ["10.0.0.1:9000", "10.0.0.2:9000"]),
        Case(
            testDescription: "on another node of a service whose traffic stays on the node",
            objects: [
                .service(ServiceTests.service { $0.internalTrafficPolicy = .local }),
                .pod(ServiceTests.pod("a", ["10.0.0.1"])), .pod(ServiceTests.pod("b", ["10.0.0.2"], node: "far")),
            ],
            expected: ["10.0.0.1:8080", "10.0.0.2:8080"]),
        Case(
            testDescription: "pods by selector: unready and terminating ones, not finished or other ones",
            objects: [
                service, .pod(ServiceTests.pod("a", ["10.0.0.1"]) { $0.ready = false }),
                .pod(ServiceTests.pod("b", ["10.0.0.2"]) { $0.isTerminating = true }),
                .pod(ServiceTests.pod("c", ["10.0.0.3"]) { $0.phase = .succeeded }), .pod(Fixture.db),
            ],
            expected: ["10.0.0.1:8080", "10.0.0.2:8080"]),
        Case(testDescription: "none", objects: [service], expected: []),
    ]

    @Test(arguments: cases) func lists(testCase: Case) throws {
        let service = try #require(ServiceTests.compile(testCase.objects).mesh.services[ServiceTests.key()])
        #expect(service.endpoints.map { "\($0.address):\($0.port)" } == testCase.expected)
        #expect(service.endpoints.allSatisfy(service.lists))
    }

    @Test func beyondTheSlotsToo() throws {
        let endpoints = (0..<5000).map { ServiceTests.endpoint("10.\(1 + $0 / 250).0.\($0 % 250)") }
        let service = try #require(
            ServiceTests.compile([Self.service, ServiceTests.slice(endpoints)]).mesh.services[ServiceTests.key()])
        #expect(service.endpoints.count == 5000)
        #expect(
            endpoints.allSatisfy { service.lists(ServiceEndpoint(address: $0.addresses[0], port: 9000)) })
        #expect(!service.lists(ServiceEndpoint(address: endpoints[7].addresses[0], port: 9001)))
        for absent in ["1.2.3.4", "10.5.0.250", "99.0.0.1", "fd00::1"] {
            #expect(!service.lists(ServiceEndpoint(address: Fixture.address(absent), port: 9000)))
        }
    }

    /// Nothing that a client would use differs, yet somebody's connection has to go.
    @Test func anUnusedEndpointThatGoesIsAChange() throws {
        let ready = ServiceTests.endpoint("10.0.0.1")
        let unready = ServiceTests.endpoint("10.0.0.2") { $0.ready = false }
        let terminating = ServiceTests.endpoint("10.0.0.2") {
            $0.ready = false
            $0.terminating = true
        }
        var compiler = ServiceTests.compile([Self.service, ServiceTests.slice([ready, unready])])
        let before = try #require(compiler.mesh.services[ServiceTests.key()])
        #expect(
            compiler.update(MeshChange(changed: [ServiceTests.slice([terminating, ready])])).isEmpty,
            "neither state nor order is a change")
        let changes = compiler.update(MeshChange(changed: [ServiceTests.slice([ready])]))
        #expect(changes.services == [ServiceTests.key()])
        let after = try #require(compiler.mesh.services[ServiceTests.key()])
        #expect(after.backends == before.backends)
        #expect(after.number == before.number)
        #expect(after.endpoints == [ServiceEndpoint(address: Fixture.address("10.0.0.1"), port: 9000)])
    }

    @Test func aPodThatIsNoLongerSelectedIsListedNoMore() throws {
        var compiler = ServiceTests.compile([
            Self.service, .pod(ServiceTests.pod("a", ["10.0.0.1"])), .pod(ServiceTests.pod("b", ["10.0.0.2"])),
        ])
        let endpoint = ServiceEndpoint(address: Fixture.address("10.0.0.1"), port: 8080)
        #expect(compiler.mesh.services[ServiceTests.key()]?.lists(endpoint) == true)
        let changes = compiler.update(
            MeshChange(changed: [.pod(ServiceTests.pod("a", ["10.0.0.1"]) { $0.metadata.labels = [:] })]))
        #expect(changes.services == [ServiceTests.key()])
        #expect(compiler.mesh.services[ServiceTests.key()]?.lists(endpoint) == false)
        #expect(compiler.mesh.addresses[endpoint.address]?.workload != nil, "its pod still has the address")
    }
}
