// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@Suite struct ServiceTests {
    typealias Fixture = PolicyFixture

    static func service(_ name: String = "s", _ change: (inout Service) -> Void = { _ in }) -> Service {
        var service = Service(
            metadata: ObjectMetadata(name: name, namespace: "shop"), clusterIPs: [Fixture.address("10.96.0.1")],
            ports: [Service.Port(name: "http", port: 80, targetPort: .number(8080))], selector: ["app": "web"])
        change(&service)
        return service
    }

    static func pod(
        _ name: String, _ addresses: [String], node: String = "here", _ change: (inout Pod) -> Void = { _ in }
    ) -> Pod {
        var pod = Fixture.pod("shop", name, addresses, app: "web", node: node)
        change(&pod)
        return pod
    }

    static func slice(
        _ endpoints: [EndpointSlice.Endpoint], name: String = "s-1", port: UInt16? = 9000, weight: UInt32? = nil,
        type: EndpointSlice.AddressType = .ipv4
    ) -> MeshObject {
        .endpointSlice(
            EndpointSlice(
                metadata: ObjectMetadata(name: name, namespace: "shop", labels: [EndpointSlice.serviceNameLabel: "s"]),
                addressType: type, endpoints: endpoints, ports: [.init(name: "http", port: port)], weight: weight))
    }

    static func endpoint(
        _ address: String, _ change: (inout EndpointSlice.Endpoint) -> Void = { _ in }
    ) -> EndpointSlice.Endpoint {
        var endpoint = EndpointSlice.Endpoint(addresses: [Fixture.address(address)])
        change(&endpoint)
        return endpoint
    }

    static func compile(_ objects: [MeshObject], zone: String? = nil) -> MeshCompiler {
        var compiler = MeshCompiler(configuration: .init(nodeName: "here", nodeAddresses: [Fixture.node]))
        let labels = zone.map { [Node.zoneLabel: $0] } ?? [:]
        let nodes = [
            Node(metadata: ObjectMetadata(name: "here", labels: labels)),
            Node(metadata: ObjectMetadata(name: "far", labels: [Node.zoneLabel: "z2"])),
        ]
        _ = compiler.update(MeshChange(changed: nodes.map { .node($0) } + objects))
        return compiler
    }

    static func key(
        _ address: String = "10.96.0.1", _ port: UInt16 = 80, _ transport: TransportProtocol = .tcp
    ) -> ServiceKey {
        ServiceKey(address: Fixture.address(address), port: port, transport: transport)
    }

    /// `address:port` or, where the weight is not 1, `address:port*weight`; `nil` if there is no such key.
    static func backends(_ objects: [MeshObject], zone: String? = nil, at key: ServiceKey = key()) -> [String]? {
        compile(objects, zone: zone).mesh.services[key]?.backends.map {
            "\($0.address):\($0.port)" + ($0.weight == 1 ? "" : "*\($0.weight)")
        }
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let objects: [MeshObject]
        var zone: String?
        let expected: [String]
    }

    static let derived: [Case] = [
        Case(
            testDescription: "no pod: no endpoint, but a key that refuses", objects: [.service(service())], expected: []
        ),
        Case(
            testDescription: "by selector",
            objects: [.service(service()), .pod(pod("a", ["10.0.0.1"])), .pod(Fixture.db)], expected: ["10.0.0.1:8080"]),
        Case(
            testDescription: "a named target port is each pod's own, pods without it are left out",
            objects: [
                .service(service { $0.ports[0].targetPort = .name("http") }),
                .pod(pod("a", ["10.0.0.1"]) { $0.containers[0].ports = [.init(name: "http", port: 1)] }),
                .pod(pod("b", ["10.0.0.2"]) { $0.containers[0].ports = [.init(name: "http", port: 2)] }),
                .pod(
                    pod("c", ["10.0.0.3"]) { $0.containers[0].ports = [.init(name: "http", port: 3, transport: .udp)] }),
            ],
            expected: ["10.0.0.1:1", "10.0.0.2:2"]),
        Case(
            testDescription: "without a target port the service's own",
            objects: [.service(service { $0.ports[0].targetPort = nil }), .pod(pod("a", ["10.0.0.1"]))],
            expected: ["10.0.0.1:80"]),
        Case(
            testDescription: "not ready, finished: not used",
            objects: [
                .service(service()), .pod(pod("a", ["10.0.0.1"]) { $0.ready = false }),
                .pod(pod("b", ["10.0.0.2"]) { $0.phase = .succeeded }),
                .pod(pod("c", ["10.0.0.3"]) { $0.ready = true }),
            ],
            expected: ["10.0.0.3:8080"]),
        Case(
            testDescription: "publishNotReadyAddresses",
            objects: [
                .service(service { $0.publishNotReadyAddresses = true }),
                .pod(pod("a", ["10.0.0.1"]) { $0.ready = false }),
            ],
            expected: ["10.0.0.1:8080"]),
        Case(
            testDescription: "terminating: not beside a ready one",
            objects: [
                .service(service()), .pod(pod("a", ["10.0.0.1"]) { $0.isTerminating = true }),
                .pod(pod("b", ["10.0.0.2"])),
            ],
            expected: ["10.0.0.2:8080"]),
        Case(
            testDescription: "terminating and serving: if no ready one is left",
            objects: [
                .service(service()), .pod(pod("a", ["10.0.0.1"]) { $0.isTerminating = true }),
                .pod(
                    pod("b", ["10.0.0.2"]) {
                        $0.isTerminating = true
                        $0.ready = false
                    }),
            ],
            expected: ["10.0.0.1:8080"]),
        Case(
            testDescription: "weights of pods; 0 takes nothing",
            objects: [
                .service(service()), .pod(pod("a", ["10.0.0.1"]) { $0.mesh.weight = 9 }),
                .pod(pod("b", ["10.0.0.2"]) { $0.mesh.weight = 0 }), .pod(pod("c", ["10.0.0.3"])),
            ],
            expected: ["10.0.0.1:8080*9", "10.0.0.3:8080"]),
        Case(
            testDescription: "pods on the node's network are endpoints too",
            objects: [.service(service()), .pod(pod("a", ["192.168.0.1"]) { $0.hostNetwork = true })],
            expected: ["192.168.0.1:8080"]),
        Case(
            testDescription: "an empty selector derives nothing",
            objects: [.service(service { $0.selector = [:] }), .pod(pod("a", ["10.0.0.1"]))], expected: []),
    ]

    static let sliced: [Case] = [
        Case(
            testDescription: "a slice that names the service replaces the selector",
            objects: [.service(service()), .pod(pod("a", ["10.0.0.1"])), slice([endpoint("10.0.0.7")])],
            expected: ["10.0.0.7:9000"]),
        Case(
            testDescription: "conditions",
            objects: [
                .service(service()),
                slice([
                    endpoint("10.0.0.1") { $0.ready = false }, endpoint("10.0.0.2") { $0.ready = true },
                    endpoint("10.0.0.3") {
                        $0.ready = false
                        $0.serving = true
                        $0.terminating = true
                    },
                ]),
            ],
            expected: ["10.0.0.2:9000"]),
        Case(
            testDescription: "only terminating ones",
            objects: [
                .service(service()),
                slice([
                    endpoint("10.0.0.1") {
                        $0.ready = false
                        $0.terminating = true
                    },
                    endpoint("10.0.0.3") {
                        $0.ready = false
                        $0.serving = true
                        $0.terminating = true
                    },
                ]),
            ],
            expected: ["10.0.0.3:9000"]),
        Case(
            testDescription: "several slices, one address twice: the ready one",
            objects: [
                .service(service()), slice([endpoint("10.0.0.1") { $0.ready = false }]),
                slice([endpoint("10.0.0.1"), endpoint("10.0.0.2")], name: "s-2"),
            ],
            expected: ["10.0.0.1:9000", "10.0.0.2:9000"]),
        Case(
            testDescription: "another family, a port without a number, another port name: nothing",
            objects: [
                .service(service()), slice([endpoint("fd00::1")], type: .ipv6),
                slice([endpoint("10.0.0.1")], name: "x", port: nil),
                .endpointSlice(
                    EndpointSlice(
                        metadata: ObjectMetadata(
                            name: "y", namespace: "shop", labels: [EndpointSlice.serviceNameLabel: "s"]),
                        addressType: .ipv4, endpoints: [endpoint("10.0.0.2")], ports: [.init(name: "other", port: 1)])),
            ],
            expected: []),
        Case(
            testDescription: "weight of the slice, the pod's own is more specific",
            objects: [
                .service(service()), .pod(pod("a", ["10.0.0.1"]) { $0.mesh.weight = 7 }),
                slice(
                    [
                        endpoint("10.0.0.1") { $0.targetPod = NamespacedName(namespace: "shop", name: "a") },
                        endpoint("10.0.0.2"),
                    ],
                    weight: 3),
            ],
            expected: ["10.0.0.1:9000*7", "10.0.0.2:9000*3"]),
    ]

    private static func near(_ hints: (inout EndpointSlice.Endpoint) -> Void = { _ in }) -> MeshObject {
        slice([
            endpoint("10.0.0.1") {
                $0.nodeName = "here"
                $0.zone = "z1"
            },
            endpoint("10.0.0.2") {
                $0.nodeName = "near"
                $0.zone = "z1"
                hints(&$0)
            },
            endpoint("10.0.0.3") {
                $0.nodeName = "far"
                $0.zone = "z2"
            },
        ])
    }

    static let locality: [Case] = [
        Case(
            testDescription: "no preference", objects: [.service(service()), near()], zone: "z1",
            expected: ["10.0.0.1:9000", "10.0.0.2:9000", "10.0.0.3:9000"]),
        Case(
            testDescription: "the same zone",
            objects: [.service(service { $0.trafficDistribution = .preferClose }), near()],
            zone: "z1", expected: ["10.0.0.1:9000", "10.0.0.2:9000"]),
        Case(
            testDescription: "a zone without endpoints: all",
            objects: [.service(service { $0.trafficDistribution = .preferSameZone }), near()], zone: "z3",
            expected: ["10.0.0.1:9000", "10.0.0.2:9000", "10.0.0.3:9000"]),
        Case(
            testDescription: "no zone known: all",
            objects: [.service(service { $0.trafficDistribution = .preferSameZone }), near()],
            expected: ["10.0.0.1:9000", "10.0.0.2:9000", "10.0.0.3:9000"]),
        Case(
            testDescription: "the same node",
            objects: [.service(service { $0.trafficDistribution = .preferSameNode }), near()],
            zone: "z1", expected: ["10.0.0.1:9000"]),
        Case(
            testDescription: "a hint on some endpoints only is no hint",
            objects: [.service(service()), near { $0.hintedZones = ["z1"] }], zone: "z1",
            expected: ["10.0.0.1:9000", "10.0.0.2:9000", "10.0.0.3:9000"]),
        Case(
            testDescription: "hints on all endpoints are followed",
            objects: [
                .service(service()),
                slice([
                    endpoint("10.0.0.1") { $0.hintedZones = ["z2"] },
                    endpoint("10.0.0.2") { $0.hintedZones = ["z1", "z2"] },
                ]),
            ], zone: "z1", expected: ["10.0.0.2:9000"]),
        Case(
            testDescription: "node hints before zone hints",
            objects: [
                .service(service()),
                slice([
                    endpoint("10.0.0.1") {
                        $0.hintedZones = ["z1"]
                        $0.hintedNodes = ["far"]
                    },
                    endpoint("10.0.0.2") {
                        $0.hintedZones = ["z2"]
                        $0.hintedNodes = ["here"]
                    },
                ]),
            ], zone: "z1", expected: ["10.0.0.2:9000"]),
        Case(
            testDescription: "internalTrafficPolicy Local",
            objects: [.service(service { $0.internalTrafficPolicy = .local }), near()], expected: ["10.0.0.1:9000"]),
        Case(
            testDescription: "internalTrafficPolicy Local without a local endpoint refuses",
            objects: [
                .service(service { $0.internalTrafficPolicy = .local }),
                slice([endpoint("10.0.0.3") { $0.nodeName = "far" }]),
            ], expected: []),
        Case(
            testDescription: "derived endpoints are in the zone of their node",
            objects: [
                .service(service { $0.trafficDistribution = .preferClose }), .pod(pod("a", ["10.0.0.1"])),
                .pod(pod("b", ["10.0.0.2"], node: "far")),
            ], zone: "z2", expected: ["10.0.0.1:8080", "10.0.0.2:8080"]),
    ]

    @Test(arguments: derived + sliced + locality)
    func endpoints(_ testCase: Case) {
        #expect(Self.backends(testCase.objects, zone: testCase.zone) == testCase.expected)
    }

    @Test func frontends() throws {
        let service = Self.service {
            $0.kind = .loadBalancer
            $0.clusterIPs.append(Fixture.address("fd00:96::1"))
            $0.ports[0].nodePort = 30080
            $0.externalIPs = [Fixture.address("1.2.3.4")]
            $0.loadBalancerIPs = [Fixture.address("5.6.7.8")]
            $0.affinitySeconds = 60
            $0.internalTrafficPolicy = .local
        }
        let objects: [MeshObject] = [
            .service(service), .pod(Self.pod("a", ["10.0.0.1", "fd00::1"])),
            .pod(Self.pod("b", ["10.0.0.2"], node: "far")),
        ]
        let mesh = Self.compile(objects).mesh
        let origins = mesh.services.mapValues(\.origin)
        #expect(
            origins == [
                Self.key(): .clusterIP, Self.key("fd00:96::1"): .clusterIP, Self.key("192.168.0.1", 30080): .nodePort,
                Self.key("1.2.3.4"): .externalIP, Self.key("5.6.7.8"): .loadBalancer,
            ])
        #expect(mesh.services.values.allSatisfy { $0.affinitySeconds == 60 })
        // The policy is for cluster addresses only, and each family has its own endpoints.
        #expect(mesh.services[Self.key()]?.backends.count == 1)
        #expect(mesh.services[Self.key("1.2.3.4")]?.backends.count == 2)
        #expect(mesh.services[Self.key("fd00:96::1")]?.backends.map(\.address) == [Fixture.address("fd00::1")])
        // Equal numbers, equal backends.
        for group in Dictionary(grouping: mesh.services.values, by: \.number).values {
            #expect(Set(group.map(\.backends)).count == 1)
        }
        #expect(mesh.services[Self.key("1.2.3.4")]?.number == mesh.services[Self.key("192.168.0.1", 30080)]?.number)
        // A service address takes only its ports; others may have a life beside the service.
        #expect(mesh.addresses[Fixture.address("10.96.0.1")]?.isService == true)
        #expect(mesh.addresses[Fixture.address("1.2.3.4")] == nil)
        #expect(mesh.addresses[Fixture.node]?.isService == false)
    }

    @Test func withoutAnAddressThereIsNothing() {
        #expect(
            Self.compile([
                .service(
                    Self.service {
                        $0.isHeadless = true
                        $0.clusterIPs = []
                    })
            ]).mesh.services.isEmpty)
        #expect(Self.compile([.service(Self.service { $0.kind = .externalName })]).mesh.services.isEmpty)
        #expect(Self.compile([.service(Self.service { $0.ports[0].transport = .sctp })]).mesh.services.isEmpty)
    }

    @Test func changesFollowPods() throws {
        var compiler = Self.compile([.service(Self.service()), .pod(Self.pod("a", ["10.0.0.1"]))])
        let number = try #require(compiler.mesh.services[Self.key()]).number
        #expect(compiler.update(MeshChange(changed: [.pod(Self.pod("b", ["10.0.0.2"]))])).services == [Self.key()])
        #expect(compiler.mesh.services[Self.key()]?.backends.count == 2)
        #expect(compiler.update(MeshChange(changed: [.pod(Fixture.db)])).services.isEmpty, "no pod of the service")
        let removed = MeshObject.pod(Self.pod("a", ["10.0.0.1"])).reference
        #expect(compiler.update(MeshChange(removed: [removed])).services == [Self.key()])
        #expect(compiler.mesh.services[Self.key()]?.backends.map(\.address) == [Fixture.address("10.0.0.2")])
        #expect(compiler.mesh.services[Self.key()]?.number == number)
        #expect(
            compiler.update(MeshChange(changed: [Self.slice([Self.endpoint("10.0.0.9")])])).services == [Self.key()])
        let service = MeshObject.service(Self.service()).reference
        #expect(compiler.update(MeshChange(removed: [service])).services == [Self.key()])
        #expect(compiler.mesh.services.isEmpty)
        #expect(compiler.mesh.addresses[Fixture.address("10.96.0.1")] == nil)
    }

    @Test func ofTwoServicesWithOneAddressTheFirstByName() throws {
        var compiler = Self.compile([.service(Self.service("b")), .service(Self.service("a"))])
        #expect(compiler.mesh.services[Self.key()]?.service.name == "a")
        _ = compiler.update(MeshChange(removed: [MeshObject.service(Self.service("a")).reference]))
        #expect(compiler.mesh.services[Self.key()]?.service.name == "b")
        #expect(compiler.mesh.addresses[Fixture.address("10.96.0.1")]?.isService == true)
    }

    @Test func moreEndpointsThanSlotsAreSampled() throws {
        let endpoints = (0..<5000).map { Self.endpoint("10.\(1 + $0 / 250).0.\($0 % 250)") }
        let backends = try #require(
            Self.compile([.service(Self.service()), Self.slice(endpoints)]).mesh.services[Self.key()]
        ).backends
        #expect(backends.count == AliasTable.maximumSlots)
        #expect(Set(backends).count == backends.count)
        #expect(backends.contains { $0.address > Fixture.address("10.20.0.0") }, "not just the first")
    }
}
