// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import LinuxIO
import MeshModel
import Testing

@testable import MeshAgent

/// Connections through a service whose endpoints change: `a` asks `web`, whose pods `b` and `c` may be.
@Suite struct ConnectionSweeperTests {
    static let netns: [String: NetnsCookie] = ["a": 101, "b": 102, "c": 103]

    /// IPv4 and IPv6 alike.
    struct Family: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let type: EndpointSlice.AddressType
        let virtual: IPAddress
        let pods: [String: IPAddress]
        let external: IPAddress

        func address(_ name: String) -> IPAddress { pods[name] ?? external }
    }

    static let families: [Family] = [
        Family(
            testDescription: "IPv4", type: .ipv4, virtual: address("10.96.0.1"),
            pods: ["a": address("10.0.0.1"), "b": address("10.0.0.2"), "c": address("10.0.0.3")],
            external: address("203.0.113.7")),
        Family(
            testDescription: "IPv6", type: .ipv6, virtual: address("fd96::1"),
            pods: ["a": address("fd00::1"), "b": address("fd00::2"), "c": address("fd00::3")],
            external: address("2001:db8::7")),
    ]

    static func address(_ text: String) -> IPAddress {
        guard let address = IPAddress(text) else { preconditionFailure("\(text) is no address") }
        return address
    }

    /// The state of the endpoint in the slice; `nil`: not listed.
    enum State: CaseIterable, Sendable {
        case ready, unready, terminating, serving

        func apply(to endpoint: inout EndpointSlice.Endpoint) {
            endpoint.ready = self == .ready
            endpoint.serving = self == .ready || self == .serving
            endpoint.terminating = self == .terminating || self == .serving
        }
    }

    /// What the sweeper looks at: nobody's policy denies anything, unless `denied` is a pod that lets nobody in.
    static func sweeper(
        _ family: Family, _ endpoints: [String: State], hasService: Bool = true, denied: String? = nil
    ) -> ConnectionSweeper {
        var compiler = MeshCompiler(configuration: .init(nodeName: "here"))
        var objects: [MeshObject] = endpoints.sorted { $0.key < $1.key }.map { name, state in
            var endpoint = EndpointSlice.Endpoint(addresses: [family.address(name)])
            state.apply(to: &endpoint)
            return .endpointSlice(
                EndpointSlice(
                    metadata: ObjectMetadata(
                        name: "web-\(name)", namespace: "test", labels: [EndpointSlice.serviceNameLabel: "web"]),
                    addressType: family.type, endpoints: [endpoint],
                    ports: [
                        .init(name: "http", port: 8080), .init(name: "dns", port: 5300, transport: .udp),
                    ], weight: nil))
        }
        if hasService {
            objects.append(
                .service(
                    Service(
                        metadata: ObjectMetadata(name: "web", namespace: "test"), clusterIPs: [family.virtual],
                        ports: [
                            .init(name: "http", port: 80), .init(name: "dns", port: 53, transport: .udp),
                        ])))
        }
        _ = compiler.update(MeshChange(changed: objects))
        var tables = KernelTables()
        tables.generation = 2
        for (name, netns) in netns {
            let identity = Slots(even: IdentityNumber(rawValue: 256), odd: IdentityNumber(rawValue: 256))
            // Set 1 is not in the tables, which denies; set 0 allows.
            let set: UInt32 = name == denied ? 1 : 0
            tables.workloads[netns] = KernelTables.Workload(
                identity: Slots(even: PerFamily(both: identity.even), odd: PerFamily(both: identity.odd)),
                policySet: Slots(even: set, odd: set), dryRunSet: Slots(even: 0, odd: 0),
                flags: MESH_WL_READY.rawValue)
            tables.addresses[family.address(name)] = KernelTables.Address(
                identity: identity, flags: 0, netns: Slots(even: netns, odd: netns))
        }
        let mesh = compiler.mesh
        return ConnectionSweeper(tables) { mesh.services[$0] }
    }

    /// One end of a TCP connection of pod a with `destination`.
    static func end(
        _ family: Family, to destination: String, isClient: Bool = true, byService: Bool = true,
        flags: mesh_end_flags? = nil, port: UInt16 = 8080
    ) -> ConnectionEnd {
        let client = mesh_ip(family.address("a"))
        let server = mesh_ip(family.address(destination))
        let own = netns["a"] ?? 0
        let peer = netns[destination] ?? 0
        var end = mesh_end()
        end.role = UInt8((isClient ? MESH_ROLE_CLIENT : MESH_ROLE_SERVER).rawValue)
        end.netns = isClient ? own : peer
        end.peer_netns = isClient ? peer : own
        end.flags = UInt16(flags?.rawValue ?? MESH_END_ESTABLISHED.rawValue)
        if byService {
            end.service_address = mesh_ip(family.virtual)
            end.service_port = 80
        }
        return ConnectionEnd(
            key: mesh_flow_key(
                local: isClient ? client : server, remote: isClient ? server : client,
                local_port: isClient ? 40000 : port, remote_port: isClient ? port : 40000, zero: 0,
                netns: destination == "a" ? own : 0), end: end)
    }

    /// A UDP socket of pod a that is connected to `destination`.
    static func socket(_ family: Family, to destination: String, byService: Bool = true) -> ConnectedUDPSocket {
        ConnectedUDPSocket(
            netns: netns["a"] ?? 0,
            tuple: SocketTuple(
                localAddress: family.address("a").wide, localPort: 40000,
                remoteAddress: family.address(destination).wide, remotePort: 5300),
            cookie: 7,
            service: byService ? ServiceKey(address: family.virtual, port: 53, transport: .udp) : nil, wasAsked: false)
    }

    @Test(arguments: families, ["b", "external"])
    func anEndpointThatIsListedNoMoreLosesItsConnections(family: Family, endpoint: String) {
        // That a pod still has the address is of no account.
        let sweeper = Self.sweeper(family, ["c": .ready])
        #expect(sweeper.verdict(on: Self.end(family, to: endpoint)) == MESH_REASON_NO_ENDPOINT)
        #expect(sweeper.verdict(on: Self.socket(family, to: endpoint)) == MESH_REASON_NO_ENDPOINT)
        #expect(
            sweeper.verdict(on: Self.end(family, to: "c", port: 8081)) == MESH_REASON_NO_ENDPOINT,
            "listed, but not with this port")
    }

    @Test(arguments: families, State.allCases)
    func aListedEndpointKeepsThemWhateverItsState(family: Family, state: State) {
        for endpoint in ["b", "external"] {
            let sweeper = Self.sweeper(family, [endpoint: state, "c": .ready])
            #expect(sweeper.verdict(on: Self.end(family, to: endpoint)) == MESH_REASON_NONE)
            #expect(sweeper.verdict(on: Self.socket(family, to: endpoint)) == MESH_REASON_NONE)
        }
    }

    @Test(arguments: families)
    func aServiceWithoutAnyEndpointTakesAll(family: Family) {
        let sweeper = Self.sweeper(family, [:])
        #expect(sweeper.verdict(on: Self.end(family, to: "b")) == MESH_REASON_NO_ENDPOINT)
        #expect(sweeper.verdict(on: Self.socket(family, to: "b")) == MESH_REASON_NO_ENDPOINT)
    }

    @Test(arguments: families)
    func aServiceThatIsGoneTakesNobodys(family: Family) {
        let sweeper = Self.sweeper(family, ["c": .ready], hasService: false)
        #expect(sweeper.verdict(on: Self.end(family, to: "b")) == MESH_REASON_NONE)
        #expect(sweeper.verdict(on: Self.socket(family, to: "b")) == MESH_REASON_NONE)
    }

    @Test(arguments: families)
    func whatDidNotComeByTheServiceIsNotItsOwn(family: Family) {
        let sweeper = Self.sweeper(family, ["c": .ready])
        #expect(sweeper.verdict(on: Self.end(family, to: "b", byService: false)) == MESH_REASON_NONE)
        #expect(sweeper.verdict(on: Self.socket(family, to: "b", byService: false)) == MESH_REASON_NONE)
    }

    @Test(arguments: families)
    func thePodItselfAsAnEndpoint(family: Family) {
        // Policy does not speak of it, the service does.
        let denying = Self.sweeper(family, ["a": .unready], denied: "a")
        let without = Self.sweeper(family, ["c": .ready], denied: "a")
        #expect(denying.verdict(on: Self.end(family, to: "a")) == MESH_REASON_NONE)
        #expect(denying.verdict(on: Self.socket(family, to: "a")) == MESH_REASON_NONE)
        #expect(without.verdict(on: Self.end(family, to: "a")) == MESH_REASON_NO_ENDPOINT)
        #expect(without.verdict(on: Self.socket(family, to: "a")) == MESH_REASON_NO_ENDPOINT)
        #expect(without.verdict(on: Self.end(family, to: "a", byService: false)) == MESH_REASON_NONE)
    }

    @Test(arguments: families)
    func onlyTheInitiatorsEndIsAsked(family: Family) {
        let sweeper = Self.sweeper(family, ["c": .ready])
        #expect(sweeper.verdict(on: Self.end(family, to: "b", isClient: false)) == MESH_REASON_NONE)
        for flag in [MESH_END_HOST, MESH_END_CLOSED] {
            #expect(sweeper.verdict(on: Self.end(family, to: "b", flags: flag)) == MESH_REASON_NONE)
        }
    }

    @Test(arguments: families)
    func policyIsAskedFirst(family: Family) {
        let sweeper = Self.sweeper(family, ["c": .ready], denied: "b")
        for isClient in [true, false] {
            #expect(
                sweeper.verdict(on: Self.end(family, to: "b", isClient: isClient)) == MESH_REASON_POLICY_INGRESS)
        }
        #expect(sweeper.verdict(on: Self.socket(family, to: "b")) == MESH_REASON_POLICY_INGRESS)
    }
}
