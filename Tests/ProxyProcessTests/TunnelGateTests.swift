// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import MeshModel
import ProxyProtocol
import Synchronization
import Testing

@testable import L7Proxy
@testable import ProxyProcess

/// What becomes of connections while the newest configuration is not taken, and how tunnels are counted.
@Suite struct TunnelGateTests {
    private static let network: UInt64 = 4711
    private static let own = IPAddress("10.0.0.1")!
    private static let far = IPAddress("10.0.9.1")!
    private static let elsewhere = IPAddress("192.0.2.1")!

    private static func name(_ name: String) -> NamespacedName { NamespacedName(namespace: "shop", name: name) }

    /// Pod `web` is here; a pod of another node has an address.
    private static func plan(far pod: String = "far") throws -> TunnelPlan {
        let number = PerFamily(both: IdentityNumber(rawValue: 300))
        let table = PortTable(segments: [.init(firstPort: 0, portClass: 0, verdict: .allow)], exceptions: [[]])
        let records: [ProxyRecord] = [
            .node(NodeRecord(name: "here", trustDomain: "mesh.test")),
            .workload(WorkloadRecord(netns: network, pod: name("web"), serviceAccount: "web", addresses: [own])),
            .remotePod(
                RemotePodRecord(
                    pod: name(pod), serviceAccount: pod, addresses: [far], identity: number, proven: number)),
            .verdicts(VerdictRecord(set: 7, egress: table, ingress: table)),
            .verdictUse(VerdictUseRecord(pod: name("web"), set: 7)),
        ]
        let configuration = try ProxyConfiguration(ConfigurationState(generation: 1, records))
        var builder = SnapshotBuilder()
        return TunnelPlan(configuration, try builder.build(configuration))
    }

    /// Takes lines, each in a second of its own.
    private final class Lines: Sendable {
        private let lines = Mutex<[String]>([])
        private let time = Mutex<UInt64>(1)

        var last: String { lines.withLock { $0.last ?? "" } }

        func complaints() -> Complaints {
            Complaints(
                clock: {
                    self.time.withLock {
                        $0 += 2 * Complaints.interval
                        return $0
                    }
                }, write: { line in self.lines.withLock { $0.append(line) } })
        }
    }

    private static func take(_ gate: TunnelGate, _ destination: IPAddress) throws -> Bool {
        let (near, far) = try StreamSocket.pair()
        defer { close(far) }
        let taken = gate.take(
            AcceptedSocket(descriptor: near, listener: 1, client: own, clientPort: 9),
            ConnectionOrigin(
                destination: destination, destinationPort: 80, client: own, clientPort: 9, sourceNetwork: network,
                network: network))
        if !taken { close(near) }
        return taken
    }

    @Test func nothingNewIsOpenedUntilAConfigurationIsTaken() throws {
        let lines = Lines()
        let gate = TunnelGate(lines.complaints(), TunnelFailures())
        gate.use(try Self.plan())
        #expect(try Self.take(gate, Self.far))
        #expect(lines.last.hasSuffix("reset: it must go through a tunnel, and no certificates have come yet"))
        gate.close("refused: a reason")
        #expect(gate.closed == "refused: a reason")
        #expect(try Self.take(gate, Self.far))
        #expect(lines.last == "connection from 10.0.0.1:9 to 10.0.9.1:80 reset: refused: a reason")
        // Pods of this node are the kernel's and the workers' affair.
        #expect(try !Self.take(gate, Self.own))
        gate.use(try Self.plan())
        #expect(gate.closed == nil)
        #expect(try Self.take(gate, Self.far))
        #expect(lines.last.hasSuffix("no certificates have come yet"))
    }

    @Test func requestsReachNobodyWhoMightTakeTunnelsMeanwhile() throws {
        let service = TunnelService(Lines().complaints(), log: nil, askForLeg: { _ in }, failed: { _ in })
        service.apply(try Self.plan()) {}
        func outcome(_ address: IPAddress, outsider: UInt32? = nil) -> String {
            let request = L7Proxy.LegRequest(
                ticket: LegTicket(handle: SlabHandle(index: 0, generation: 1)), network: Self.network,
                outsider: outsider, address: address, port: 80)
            return switch service.open(request) {
            case .direct: service.isDirect(request) ? "direct" : "direct, and then not"
            case .tunnel: "tunnel"
            case .refused(let reason): reason
            }
        }
        #expect(outcome(Self.elsewhere) == "direct" && outcome(Self.own) == "direct")
        #expect(outcome(Self.far) == "no certificates have come yet")
        service.close("refused: a reason")
        #expect(outcome(Self.elsewhere) == "refused: a reason" && outcome(Self.far) == "refused: a reason")
        #expect(outcome(Self.own) == "direct" && outcome(Self.own, outsider: 300) == "direct")
        service.apply(try Self.plan()) {}
        #expect(outcome(Self.elsewhere) == "direct")
    }

    /// What a NetworkPolicy of the CNI swallows is named: the port, both pods, what to do.
    @Test func aDialThatNothingAnswersIsNamed() throws {
        let lines = Lines()
        let complaints = lines.complaints()
        let gate = TunnelGate(complaints, TunnelFailures())
        gate.use(try Self.plan())
        let failures = TunnelFailures()
        let sink = TunnelSink(gate, failures, complaints, log: nil)
        sink.failed(
            HBONEFailure(
                direction: .outbound, reason: .dialTimedOut, local: Self.own, address: Self.far, port: tunnelPort))
        #expect(
            lines.last.hasPrefix(
                "connection for tunnels from (shop/web, 10.0.0.1) to (shop/far, 10.0.9.1:15008): nothing answers"))
        #expect(lines.last.contains("NetworkPolicy") && lines.last.contains("allow"))
        #expect(
            failures.text().contains(
                "peer_connections_failed_total{direction=\"outbound\",reason=\"dial_timeout\"} 1\n"))
    }

    // MARK: - What is counted

    private static func record(isHandedOn: Bool = false) -> HBONERecord {
        var record = HBONERecord(
            direction: .outbound, reason: .finished, source: own, sourcePort: 9, destination: far, port: 80)
        record.isHandedOn = isHandedOn
        return record
    }

    /// Lines of the page about TCP, without their HELP.
    private static func page(_ sink: TunnelSink) throws -> [Substring] {
        MetricsExposition([try #require(sink.metrics())]).text().split(separator: "\n")
            .filter { $0.hasPrefix("istio_tcp_") }
    }

    @Test func aTunnelIsClosedUnderTheNamesThatItWasOpenedUnder() throws {
        let complaints = Lines().complaints()
        let gate = TunnelGate(complaints, TunnelFailures())
        let sink = TunnelSink(gate, TunnelFailures(), complaints, log: nil)
        gate.use(try Self.plan(far: "old"))
        var record = Self.record()
        record.flow = sink.opened(record)
        gate.use(try Self.plan(far: "new"))
        (record.wasOpen, record.received, record.sent) = (true, 3, 4)
        sink.record(record)
        let page = try Self.page(sink)
        #expect(page.allSatisfy { $0.contains("destination_workload=\"old\"") })
        for (name, value) in [
            ("connections_opened_total", 1), ("connections_closed_total", 1), ("received_bytes_total", 3),
            ("sent_bytes_total", 4),
        ] {
            let line = page.first { $0.hasPrefix("istio_tcp_\(name){") }
            #expect(line?.hasSuffix(" \(value)") == true, "\(line ?? "no \(name)")")
        }
    }

    /// The worker that reads what a tunnel carries counts it, or it would be two connections.
    @Test func whatIsHandedOnIsCountedOnce() throws {
        let complaints = Lines().complaints()
        let gate = TunnelGate(complaints, TunnelFailures())
        gate.use(try Self.plan())
        let sink = TunnelSink(gate, TunnelFailures(), complaints, log: nil)
        var record = Self.record(isHandedOn: true)
        record.flow = sink.opened(record)
        record.wasOpen = true
        sink.record(record)
        #expect(try Self.page(sink).isEmpty)
    }
}
