// SPDX-License-Identifier: Apache-2.0

import Foundation
import Identity
import L7Proxy
import LinuxIO
import MeshModel
import Synchronization
import TLSEngine

struct ProbeError: Error {
    let text: String
}

/// What commands change and the worker's thread asks.
final class ProbeState: Sendable {
    struct Values {
        var identity: SPIFFEID?
        var denial: String?
        var closed: String?
        var outbound: HBONEOutbound?
        /// Dials are never answered, as if a firewall swallowed them.
        var swallows = false
        /// Sockets come later, from another thread.
        var defers = false
    }

    let values = Mutex(Values())
    let worker = Mutex<HBONEWorker?>(nil)
}

/// One worker, in both roles.
final class TunnelProbe {
    static let loopback = IPAddress("127.0.0.1")!

    private let state = ProbeState()
    private var worker: HBONEWorker? { state.worker.withLock { $0 } }
    private var bundles: (text: [[String: String]], value: TrustBundles)?

    static func tell(_ event: [String: Any]) {
        let data = (try? JSONSerialization.data(withJSONObject: event)) ?? Data()
        FileHandle.standardOutput.write(data + Data("\n".utf8))
    }

    func perform(_ command: [String: Any]) throws {
        switch command["do"] as? String {
        case "start": try start(command)
        case "publish": try publish(command)
        case "policy":
            state.values.withLock {
                $0.denial = command["deny"] as? String
                $0.closed = command["closed"] as? String
            }
            worker?.policyChanged()
        case "dials": state.values.withLock { $0.swallows = command["swallow"] as? Bool ?? false }
        case "open":
            // As a connection of a pod that was accepted elsewhere.
            let port = UInt16(command["port"] as? Int ?? 0)
            let descriptor = StreamSocket.connect(to: .loopback(port: port))
            guard descriptor >= 0, var outbound = state.values.withLock({ $0.outbound }) else {
                throw ProbeError(text: "nothing to open")
            }
            outbound.sourcePort = StreamSocket.localEndpoint(CInt(descriptor))?.port ?? 0
            worker?.open(outbound, OwnedDescriptor(adopting: CInt(descriptor)))
        case "drain":
            worker?.drain(milliseconds: UInt64(command["milliseconds"] as? Int ?? 1000)) {
                Self.tell(["event": "drained"])
            }
        case "counters":
            worker?.counters { counters in
                Self.tell([
                    "event": "counters", "connections": counters.connections, "tunnels": counters.openTunnels,
                    "all": counters.tunnels, "dialled": counters.dialled, "handshakes": counters.handshakes,
                    "accepted": counters.accepted, "refused": counters.refusedConnections,
                    "buffers": counters.buffers, "pools": counters.pools, "checked": counters.checkedPeers,
                ])
            }
        case let other: throw ProbeError(text: "no such command: \(other ?? "nil")")
        }
    }

    // MARK: - Start

    private func start(_ command: [String: Any]) throws {
        var configuration = HBONEConfiguration()
        for (name, value) in command["limits"] as? [String: Int] ?? [:] { try set(name, value, &configuration) }
        let identity = try (command["identity"] as? String).map { try SPIFFEID($0) }
        let outbound = try (command["outbound"] as? [String: Any]).map(Self.outbound)
        let defers = command["defers"] as? Bool ?? false
        state.values.withLock {
            $0.identity = identity
            $0.outbound = outbound
            $0.defers = defers
        }
        let state = state
        var composition = HBONEComposition(
            origin: { socket in
                guard let identity = state.values.withLock({ $0.identity }) else { return nil }
                return HBONEOrigin(
                    local: Self.loopback, network: 1, identity: identity, client: socket.client,
                    clientPort: socket.clientPort)
            },
            authorize: { inbound in
                state.values.withLock { $0.denial }.map { .deny(reason: $0) } ?? .allow(identity: 7)
            },
            legs: { request in Self.leg(request, state) })
        composition.outbound = { socket in
            var outbound = state.values.withLock { $0.outbound }
            outbound?.source = socket.client
            outbound?.sourcePort = socket.clientPort
            // Of one pod: all share a pool.
            return outbound
        }
        composition.closed = { state.values.withLock { $0.closed } }
        composition.resolve = { host, port, _ in
            let text = String(decoding: host, as: UTF8.self)
            guard text == "web.shop.svc.cluster.local" else { return .failure(.unknownService) }
            return .success(port)
        }
        let worker = try HBONEWorker(configuration: configuration, composition: composition) { ProbeSink() }
        state.worker.withLock { $0 = worker }
        let (peers, pods) = (try Self.listener(), try Self.listener())
        let ports = [peers, pods].map { StreamSocket.localEndpoint($0)?.port ?? 0 }
        worker.addPeerListener(OwnedDescriptor(adopting: peers), tag: 1)
        worker.addPodListener(OwnedDescriptor(adopting: pods), tag: 2)
        try worker.start { Self.tell(["event": "error", "text": String(describing: $0)]) }
        Self.tell(["event": "started", "peers": ports[0], "pods": ports[1]])
    }

    private static func listener() throws -> CInt {
        let listener = try StreamSocket.listen(at: .loopback(port: 0))
        return listener.relinquish()
    }

    private func set(_ name: String, _ value: Int, _ configuration: inout HBONEConfiguration) throws {
        switch name {
        case "handshakes": configuration.handshakes = value
        case "handshakesPerTurn": configuration.handshakesPerTurn = value
        case "handshakeTimeout": configuration.handshakeTimeout = UInt64(value)
        case "dialTimeout": configuration.dialTimeout = UInt64(value)
        case "connectTimeout": configuration.connectTimeout = UInt64(value)
        case "idleTimeout": configuration.idleTimeout = UInt64(value)
        case "pingInterval": configuration.pingInterval = UInt64(value)
        case "pingTimeout": configuration.pingTimeout = UInt64(value)
        case "tunnelsPerSource": configuration.tunnelsPerSource = value
        case "connectionsPerSource": configuration.connectionsPerSource = value
        case "buffers": configuration.buffers = value
        case "streams": configuration.server.concurrentStreams = UInt32(value)
        default: throw ProbeError(text: "no such limit: \(name)")
        }
    }

    private static func outbound(_ values: [String: Any]) throws -> HBONEOutbound {
        var outbound = HBONEOutbound(
            identity: try SPIFFEID(values["identity"] as? String ?? ""), source: loopback, sourcePort: 0, network: 1,
            acceptable: try (values["acceptable"] as? [String] ?? []).map { try SPIFFEID($0) },
            destination: loopback, port: UInt16(values["port"] as? Int ?? 0))
        outbound.gatewayPort = UInt16(values["gateway"] as? Int ?? 0)
        outbound.service = values["service"] as? String ?? ""
        outbound.baggage = HBONEBaggage.text([(.namespace, "shop"), (.service, "client")])
        return outbound
    }

    private static func leg(_ request: LegRequest, _ state: ProbeState) -> LegAnswer {
        let (swallows, defers) = state.values.withLock { ($0.swallows, $0.defers) }
        if request.isToPeer, swallows { return .pending }
        let descriptor = StreamSocket.connect(
            to: StreamEndpoint(high: request.address.high, low: request.address.low, port: request.port))
        guard defers else { return descriptor < 0 ? .refused : .descriptor(CInt(descriptor)) }
        guard let worker = state.worker.withLock({ $0 }) else { return .refused }
        if descriptor < 0 {
            worker.refuse(request)
        } else {
            worker.deliver(OwnedDescriptor(adopting: CInt(descriptor)), to: request)
        }
        return .pending
    }

    // MARK: - Identities

    private func publish(_ command: [String: Any]) throws {
        let svids = try (command["svids"] as? [String] ?? []).map(Self.svid)
        let roots = command["roots"] as? [String: String] ?? [:]
        let revoked = command["revoked"] as? [String: String] ?? [:]
        let trusted: TrustBundles
        // The same bundles are the same object: nothing is checked again for them.
        if let bundles, bundles.text == [roots, revoked] {
            trusted = bundles.value
        } else {
            var all: [TrustDomain: [[UInt8]]] = [:]
            for (domain, text) in roots { all[try TrustDomain(domain)] = try Self.read(text).certificates }
            var lists: [TrustDomain: [[UInt8]]] = [:]
            for (domain, text) in revoked { lists[try TrustDomain(domain)] = try Self.read(text).lists }
            trusted = try TrustBundles(all, revocations: lists)
            bundles = ([roots, revoked], trusted)
        }
        worker?.publish(
            TLSIdentities(serial: UInt64(command["serial"] as? Int ?? 1), svids: svids, bundles: trusted))
        // Commands are carried out in order.
        worker?.counters { _ in Self.tell(["event": "published"]) }
    }

    private static func svid(_ text: String) throws -> X509SVID {
        let read = try read(text)
        guard let bytes = read.key else { throw ProbeError(text: "no key") }
        return try X509SVID(
            chain: read.certificates, key: key(bytes))
    }

    private static func key(_ bytes: [UInt8]) throws -> PrivateKey {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
        defer { memory.deallocate() }
        memory.copyBytes(from: bytes)
        return try PrivateKey(pkcs8: UnsafeRawBufferPointer(memory))
    }

    private static func read(
        _ text: String
    ) throws -> (certificates: [[UInt8]], key: [UInt8]?, lists: [[UInt8]]) {
        var certificates: [[UInt8]] = []
        var lists: [[UInt8]] = []
        var key: [UInt8]?
        try Array(text.utf8).withUnsafeBytes { bytes in
            try PEMReader.read(bytes) { item throws(TLSError) in
                switch consume item {
                case .certificate(let certificate): certificates.append(certificate.der)
                case .privateKey(let read): key = read.withPKCS8 { Array($0) }
                case .revocationList(let list): lists.append(list)
                }
            }
        }
        return (certificates, key, lists)
    }
}

/// Tells everything.
final class ProbeSink: HBONESink {
    override func record(_ record: HBONERecord) {
        TunnelProbe.tell([
            "event": "tunnel", "direction": "\(record.direction)", "reason": "\(record.reason)",
            "text": "\(record.reason.text)", "detail": record.detail ?? "", "peer": record.peer.map { "\($0)" } ?? "",
            "received": record.received, "sent": record.sent, "port": record.port, "service": record.service ?? "",
        ])
    }

    override func failed(_ failure: HBONEFailure) {
        TunnelProbe.tell([
            "event": "failure", "direction": "\(failure.direction)", "reason": "\(failure.reason)",
            "text": "\(failure.reason.text)", "detail": failure.detail ?? "",
            "peer": failure.peer.map { "\($0)" } ?? "",
        ])
    }
}
