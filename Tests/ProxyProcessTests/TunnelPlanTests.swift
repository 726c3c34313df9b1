// SPDX-License-Identifier: Apache-2.0

import Identity
import MeshModel
import ProxyProtocol
import Testing

@testable import L7Proxy
@testable import ProxyProcess

/// Which connections go through tunnels, to whom, and who may.
@Suite struct TunnelPlanTests {
    private static let network: UInt64 = 4711
    private static let own = IPAddress("10.0.0.1")!
    private static let far = IPAddress("10.0.9.1")!
    private static let farther = IPAddress("10.0.9.2")!
    private static let vip = IPAddress("10.96.0.1")!
    private static let stranger = IPAddress("192.0.2.1")!
    private static let nobodys = "the address is of no Service and of no pod that is known here"
    private static let byAddress = IdentityNumber(rawValue: 300)
    private static let proven = IdentityNumber(rawValue: 301)

    private static func name(_ name: String) -> NamespacedName { NamespacedName(namespace: "shop", name: name) }

    private static func id(_ account: String) throws -> SPIFFEID {
        try SPIFFEID("spiffe://mesh.test/ns/shop/sa/\(account)")
    }

    /// Ports 80 for everybody who has no exception, 81 for requests of the proved one, 82 for nobody.
    private static let ingress = PortTable(
        segments: [
            .init(firstPort: 0, portClass: 0, verdict: .deny), .init(firstPort: 80, portClass: 1, verdict: .deny),
            .init(firstPort: 81, portClass: 2, verdict: .deny), .init(firstPort: 82, portClass: 0, verdict: .deny),
        ],
        exceptions: [[], [.init(identity: proven, verdict: .allow)], [.init(identity: proven, verdict: .needsProxy)]])
    private static let egress = PortTable(
        segments: [
            .init(firstPort: 0, portClass: 0, verdict: .allow), .init(firstPort: 82, portClass: 1, verdict: .deny),
            .init(firstPort: 83, portClass: 0, verdict: .allow),
        ], exceptions: [[.init(identity: byAddress, verdict: .needsProxy)], []])

    private static func remote(_ name: String, _ address: IPAddress, number: IdentityNumber = byAddress) -> ProxyRecord
    {
        .remotePod(
            RemotePodRecord(
                pod: self.name(name), serviceAccount: name, addresses: [address], identity: PerFamily(both: number),
                proven: PerFamily(both: proven)))
    }

    private static let base: [ProxyRecord] = [
        .node(NodeRecord(name: "here", trustDomain: "mesh.test")),
        .workload(WorkloadRecord(netns: network, pod: name("web"), serviceAccount: "web", addresses: [own])),
        remote("far", far),
        .verdicts(VerdictRecord(set: 7, egress: egress, ingress: ingress)),
        .verdictUse(VerdictUseRecord(pod: name("web"), set: 7)),
    ]

    private static func plan(_ records: [ProxyRecord] = base) throws -> TunnelPlan {
        let configuration = try ProxyConfiguration(ConfigurationState(generation: 1, records))
        var builder = SnapshotBuilder()
        return TunnelPlan(configuration, try builder.build(configuration))
    }

    private static func origin(_ destination: IPAddress, _ port: UInt16 = 80) -> ConnectionOrigin {
        ConnectionOrigin(
            destination: destination, destinationPort: port, client: own, clientPort: 9, sourceNetwork: network,
            network: network)
    }

    private static func outcome(_ plan: TunnelPlan, _ origin: ConnectionOrigin, draw: UInt64 = 0) -> String {
        switch plan.outbound(origin, random: { _ in draw }) {
        case .direct: "direct"
        case .refused(let reason): reason
        case .tunnel(let tunnel): "\(tunnel.destination):\(tunnel.port) \(tunnel.service)"
        }
    }

    @Test func aPodOfAnotherNodeIsReachedThroughATunnel() throws {
        let plan = try Self.plan()
        guard case .tunnel(let tunnel) = plan.outbound(Self.origin(Self.far), random: { _ in 0 }) else {
            Issue.record("no tunnel")
            return
        }
        #expect(try tunnel.identity == Self.id("web") && tunnel.acceptable == [Self.id("far")])
        #expect(tunnel.source == Self.own && tunnel.sourcePort == 9 && tunnel.network == Self.network)
        #expect(tunnel.destination == Self.far && tunnel.port == 80 && tunnel.gateway == nil)
        #expect(plan.denial(tunnel) == nil)
        #expect(Self.outcome(plan, Self.origin(Self.own)) == "direct")
        // A node's port, say: the kernel saw a pod of another node behind it, and nobody here would.
        #expect(Self.outcome(plan, Self.origin(Self.stranger)) == Self.nobodys)
        #expect(Self.outcome(plan, Self.origin(Self.far, 82)) == "egress policy of shop/web denies it")
    }

    @Test func whatIsNotKnownIsRefused() throws {
        let noVerdicts = try Self.plan(Array(Self.base.dropLast()))
        #expect(Self.outcome(noVerdicts, Self.origin(Self.far)) == "the policy of the pod is not known here")
        var origin = Self.origin(Self.far)
        origin.sourceNetwork = 1
        #expect(Self.outcome(try Self.plan(), origin) == "the pod that it comes from has no identity here")
        let unknown = try Self.plan(Self.base + [Self.remote("far", Self.far, number: .unknown)])
        #expect(Self.outcome(unknown, Self.origin(Self.far)) == "egress policy of shop/web denies it")
        let other = try Self.plan(Self.base + [Self.remote("far", IPAddress("fd00::9")!)])
        #expect(
            Self.outcome(other, Self.origin(IPAddress("fd00::9")!))
                == "shop/web has no address of the family of fd00::9")
    }

    /// Of a Service's endpoints one of another node is taken, by weight: the others are the kernel's.
    @Test func aServiceIsReachedAtItsEndpointsElsewhere() throws {
        let endpoints: [ServiceRecord.Endpoint] = [
            .init(address: Self.own, port: 8080, weight: 5), .init(address: Self.far, port: 8081, weight: 2),
            .init(address: Self.farther, port: 8082, weight: 1),
            .init(address: Self.farther, port: 8083, weight: 9, isTerminating: true),
        ]
        let records =
            Self.base + [
                Self.remote("farther", Self.farther),
                .service(
                    ServiceRecord(
                        service: Self.name("db"), port: 5432, addresses: [Self.vip], endpoints: endpoints)),
            ]
        let plan = try Self.plan(records)
        let service = "db.shop.svc.cluster.local"
        for (draw, expected): (UInt64, String) in [
            (0, "10.0.9.1:8081 \(service)"), (1, "10.0.9.1:8081 \(service)"), (2, "10.0.9.2:8082 \(service)"),
        ] {
            #expect(Self.outcome(plan, Self.origin(Self.vip, 5432), draw: draw) == expected)
        }
        var bound: UInt64 = 0
        _ = plan.outbound(Self.origin(Self.vip, 5432)) { limit in
            bound = limit
            return 0
        }
        #expect(bound == 3)
        #expect(Self.outcome(plan, Self.origin(Self.vip, 81)) == Self.nobodys)
        // Routes ask for its requests.
        let route = ProxyRecord.route(
            .http(
                HTTPRoute(
                    metadata: ObjectMetadata(name: "db", namespace: "shop"), parentRefs: [.init(name: "db")], rules: [])
            )
        )
        #expect(Self.outcome(try Self.plan(records + [route]), Self.origin(Self.vip, 5432)) == "direct")
    }

    private static func leg(
        _ address: IPAddress, _ port: UInt16, outsider: UInt32? = nil, client: ProxyEndpoint? = nil
    ) -> L7Proxy.LegRequest {
        L7Proxy.LegRequest(
            ticket: LegTicket(handle: SlabHandle(index: 0, generation: 0)), network: network, outsider: outsider,
            address: address, port: port, client: client)
    }

    /// Whoever asks for it, and by whatever name.
    @Test func thePortOfTunnelsLeadsNowhere() throws {
        let ownPort = "port 15008 of a pod is the mesh's own"
        func service(_ port: UInt16, target: UInt16) -> ProxyRecord {
            .service(
                ServiceRecord(
                    service: Self.name("s\(port)"), port: port, addresses: [Self.vip],
                    endpoints: [.init(address: Self.far, port: target, weight: 1)]))
        }
        let plan = try Self.plan(Self.base + [service(5432, target: 15008), service(15008, target: 8081)])
        #expect(Self.outcome(plan, Self.origin(Self.far, 15008)) == ownPort)
        #expect(Self.outcome(plan, Self.origin(Self.own, 15008)) == ownPort)
        #expect(Self.outcome(plan, Self.origin(Self.vip, 5432)) == ownPort)
        // A Service's port is only a number.
        #expect(Self.outcome(plan, Self.origin(Self.vip, 15008)).hasPrefix("10.0.9.1:8081 "))
        func outcome(_ plan: TunnelPlan, _ request: L7Proxy.LegRequest) -> String {
            switch plan.outbound(request) {
            case .direct: "direct"
            case .refused(let reason): reason
            case .tunnel(let tunnel): "\(tunnel.destination):\(tunnel.port)"
            }
        }
        #expect(outcome(plan, Self.leg(Self.far, 15008)) == ownPort)
        #expect(outcome(plan, Self.leg(Self.own, 15008)) == ownPort)
        #expect(outcome(plan, Self.leg(Self.far, 8081)) == "10.0.9.1:8081")
        var toPeer = Self.leg(Self.far, 15008)
        toPeer.isToPeer = true
        #expect(outcome(plan, toPeer) == "direct")
        // Where there are no tunnels it is a port as any.
        let none = try Self.plan(Array(Self.base.prefix(2)))
        #expect(Self.outcome(none, Self.origin(Self.own, 15008)) == "direct")
        #expect(outcome(none, Self.leg(Self.own, 15008)) == "direct")
    }

    /// Without one of its halves it would be a request of nobody, or of the pod itself: it is refused.
    @Test func aLegForRequestsNeedsWholeItComesFrom() throws {
        let client = ProxyEndpoint(address: Self.far, port: 7)
        #expect(Self.leg(Self.own, 80).originOfRequests == nil)
        #expect(Self.leg(Self.own, 80, client: client).originOfRequests == nil)
        #expect(Self.leg(Self.own, 80, outsider: 301).originOfRequests == nil)
        let origin = try #require(Self.leg(Self.own, 80, outsider: 301, client: client).originOfRequests)
        #expect(origin.isProved && origin.sourceIdentity == 301 && origin.sourceNetwork == 0)
        #expect(origin.direction == .inbound && origin.network == Self.network)
        #expect(origin.client == Self.far && origin.clientPort == 7 && origin.destination == Self.own)
    }

    /// Of pods of this node, those that the pod's egress set leads to the proxy.
    @Test func aPodOfThisNodeThatEncryptsIsReachedThroughATunnel() throws {
        let (near, other) = (IPAddress("10.0.0.2")!, IPAddress("10.0.0.3")!)
        let open = IdentityNumber(rawValue: 302)
        let table = PortTable(
            segments: [.init(firstPort: 0, portClass: 0, verdict: .allow)],
            exceptions: [[.init(identity: Self.byAddress, verdict: .needsProxy)]])
        let endpoints: [ServiceRecord.Endpoint] = [
            .init(address: other, port: 1, weight: 5), .init(address: near, port: 2, weight: 1),
        ]
        var records: [ProxyRecord] = Array(Self.base.prefix(2))
        records += [
            .workload(WorkloadRecord(netns: 2, pod: Self.name("near"), serviceAccount: "near", addresses: [near])),
            .workload(WorkloadRecord(netns: 3, pod: Self.name("other"), serviceAccount: "other", addresses: [other])),
            Self.remote("near", near), Self.remote("other", other, number: open),
            Self.remote("web", Self.own, number: open),
            .verdicts(VerdictRecord(set: 7, egress: table, ingress: Self.ingress)),
            .verdictUse(VerdictUseRecord(pod: Self.name("web"), set: 7)),
            .service(ServiceRecord(service: Self.name("db"), port: 5432, addresses: [Self.vip], endpoints: endpoints)),
        ]
        let plan = try Self.plan(records)
        #expect(Self.outcome(plan, Self.origin(near)) == "10.0.0.2:80 ")
        for plain in [other, Self.own] { #expect(Self.outcome(plan, Self.origin(plain)) == "direct") }
        // Only what it reaches so is drawn among.
        #expect(Self.outcome(plan, Self.origin(Self.vip, 5432)) == "10.0.0.2:2 db.shop.svc.cluster.local")
        func request(_ address: IPAddress, isToPeer: Bool) -> L7Proxy.LegRequest {
            var request = L7Proxy.LegRequest(
                ticket: LegTicket(handle: SlabHandle(index: 0, generation: 1)), network: Self.network, outsider: nil,
                address: address, port: 80)
            request.isToPeer = isToPeer
            return request
        }
        for (address, isTunnel) in [(near, true), (other, false)] {
            if case .tunnel = plan.outbound(request(address, isToPeer: false)) {
                #expect(isTunnel)
            } else {
                #expect(!isTunnel)
            }
        }
        let peer = try #require(plan.localPeer(request(near, isToPeer: true)))
        #expect(peer.local == near && peer.network == 2 && peer.client == Self.own)
        #expect(try peer.identity == Self.id("near"))
        #expect(plan.localPeer(request(Self.far, isToPeer: true)) == nil)
        #expect(plan.localPeer(request(near, isToPeer: false)) == nil)
        #expect(plan.snapshot.remotePods.isEmpty, "no pod of another node")
        #expect(Self.text(try Self.ask(plan, "near", from: near)) == "allow 301")
    }

    /// As the connection was; if there was none, as it would have had to be.
    @Test func metricsSayWhichRequestsWereEncrypted() throws {
        let near = IPAddress("10.0.0.2")!
        func policies(_ records: [ProxyRecord], _ change: (inout RequestRecord) -> Void) throws -> [String] {
            let sink = MetricsSink(log: nil)
            sink.published(try Self.plan(records).snapshot)
            var record = RequestRecord(origin: Self.origin(near))
            record.generation = 1
            change(&record)
            withUnsafeTemporaryAllocation(of: Field.self, capacity: 0) { none in
                sink.record(record, RequestText(message: nil, head: RequestHead(), fields: UnsafeBufferPointer(none)))
            }
            let page = MetricsExposition([try #require(sink.metrics())]).text()
            func value(_ label: String, in line: Substring) -> String {
                guard let start = line.firstRange(of: "\(label)=\"") else { return "" }
                return String(line[start.upperBound...].prefix { $0 != "\"" })
            }
            let lines = page.split(separator: "\n").filter { $0.hasPrefix("istio_requests_total{") }
            return lines.map { line in
                value("connection_security_policy", in: line) + " " + value("destination_principal", in: line)
            }
        }
        let encrypting: [ProxyRecord] =
            Array(Self.base.prefix(2)) + [
                .workload(WorkloadRecord(netns: 2, pod: Self.name("near"), serviceAccount: "near", addresses: [near])),
                Self.remote("near", near), Self.base[3], Self.base[4],
            ]
        let (none, proved) = ("none unknown", "mutual_tls spiffe://mesh.test/ns/shop/sa/near")
        #expect(try policies(encrypting) { ($0.sentAt, $0.flags) = (1, .tunnelled) } == [proved])
        #expect(try policies(encrypting) { $0.sentAt = 1 } == [none], "it was under way")
        #expect(try policies(encrypting) { _ in } == [proved])
        let plain = encrypting.filter { $0.key.kind != .remotePod }
        #expect(try policies(plain) { _ in } == [none])
    }

    private static func ask(
        _ plan: TunnelPlan, _ peer: String, from client: IPAddress = far, _ port: UInt16 = 80
    ) throws -> HBONEVerdict {
        var origin = Self.origin(Self.own, 15008)
        origin.client = client
        origin.direction = .inbound
        let place = try #require(plan.origin(of: origin))
        #expect(try place.identity == Self.id("web") && place.local == Self.own)
        return plan.authorize(HBONEInbound(peer: try Self.id(peer), origin: place, port: port))
    }

    private static func text(_ verdict: HBONEVerdict) -> String {
        switch verdict {
        case .allow(let identity): "allow \(identity)"
        case .requests(let identity): "requests of \(identity)"
        case .deny(let reason): reason
        }
    }

    @Test func whoComesInIsWhoeverHasTheAddressAndTheCertificate() throws {
        let plan = try Self.plan()
        #expect(Self.text(try Self.ask(plan, "far")) == "allow 301")
        #expect(Self.text(try Self.ask(plan, "far", 81)) == "requests of 301")
        #expect(Self.text(try Self.ask(plan, "far", 82)) == "ingress policy of shop/web denies it")
        #expect(
            Self.text(try Self.ask(plan, "web")) == "the certificate is not of shop/far, which has the address")
        #expect(
            Self.text(try Self.ask(plan, "far", from: Self.stranger))
                == "192.0.2.1 is no enrolled pod of another node")
        let noVerdicts = try Self.plan(Array(Self.base.dropLast()))
        #expect(Self.text(try Self.ask(noVerdicts, "far")) == "the policy of the pod is not known here")
        var elsewhere = Self.origin(Self.own, 15008)
        elsewhere.network = 1
        #expect(plan.origin(of: elsewhere) == nil)
        var place = try #require(plan.origin(of: Self.origin(Self.own, 15008)))
        #expect(plan.serves(place))
        place.network = 1
        #expect(!plan.serves(place), "the address is another pod's")
    }
}
