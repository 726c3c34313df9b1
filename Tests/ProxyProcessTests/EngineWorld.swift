// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import MeshModel
import ProxyProtocol
import Synchronization
import Testing

@testable import ProxyProcess

/// A proxy's host with its engine, between a client and backends on loopback, and an agent that the test plays.
///
/// The agent's sockets for legs are plain ones. Clients ask for Service `shop/web` at 10.96.0.1:80, as far as the engine
/// is told, from the pod `shop/client` in namespace 4711.
final class EngineWorld {
    static let netns: UInt64 = 4711
    static let key = ListenerKey(netns: netns, direction: .outbound, family: .ipv4)
    static let address = IPAddress("10.96.0.1")!
    static let loopback = IPAddress("127.0.0.1")!

    let loop: EventLoop
    let port: UInt16
    private(set) var host: ProxyHost?
    private(set) var agent: Link<ProxyMessage, AgentMessage>?
    private(set) var heard: [ProxyMessage] = []
    private(set) var legs: [LegRequest] = []
    private(set) var log: [String] = []
    /// What the agent says instead of giving a socket.
    var refusal: SocketRefusal?
    /// Whether requests for sockets wait for ``answerLegs()``.
    var holdsLegs = false
    private let listener: SharedDescriptor
    private var state = ConfigurationState()
    private var answered = 0

    static func origin(
        from source: UInt64? = netns, _ direction: KernelOrigin.Direction = .outbound, in pod: UInt64 = netns
    ) -> KernelOrigin {
        KernelOrigin(
            destination: address, port: 80, client: loopback, clientPort: 1, netns: pod, sourceNetns: source,
            direction: direction)
    }

    /// From outside the mesh to a port of the pod.
    static func origin(fromOutside identity: UInt32, to port: UInt16) -> KernelOrigin {
        KernelOrigin(
            destination: loopback, port: port, client: loopback, clientPort: 1, netns: netns, sourceNetns: nil,
            sourceIdentity: identity, direction: .inbound)
    }

    init(
        _ options: HTTPEngine.Options = HTTPEngine.Options(),
        origins: @escaping OriginReader = { (_) throws(SystemError) in EngineWorld.origin() }
    ) throws {
        loop = try EventLoop()
        listener = try InetSocket.make(isIPv4: true)
        try InetSocket.bind(listener, to: Self.loopback.bytes, isIPv4: true)
        try InetSocket.listen(listener, backlog: 64)
        port = try InetSocket.port(of: listener)
        host = try ProxyHost(
            on: loop, .init(program: "1", agentSocket: nil), log: { [unowned self] in log.append($0) },
            makeEngine: { [unowned self] (loop, legs) throws(SystemError) in
                try HTTPEngine(
                    on: loop, legs: legs, options, log: { [unowned self] in log.append($0) }, origins: origins)
            })
        let (near, far) = try PacketSocket.pair()
        agent = try Link(on: loop, PacketSocket(near), as: Hello(.agent, program: "1"), expecting: .proxy) {
            [unowned self] event in
            if case .message(let message, _) = event { hear(message) }
        }
        try host?.start(PacketSocket(far))
        agent?.send(.listener(Listener(Self.key, port: port)), [listener])
    }

    private func hear(_ message: ProxyMessage) {
        heard.append(message)
        guard case .legRequest(let request) = message else { return }
        legs.append(request)
        if !holdsLegs { answer(request) }
    }

    /// Answers all that wait.
    func answerLegs() {
        holdsLegs = false
        for request in legs[answered...] { answer(request) }
    }

    private func answer(_ request: LegRequest) {
        answered += 1
        if let refusal {
            agent?.send(.legRefused(request: request.number, refusal))
        } else if let socket = try? InetSocket.make(isIPv4: true) {
            agent?.send(.leg(request: request.number), [socket])
        }
    }

    /// - Parameter done: not asked again when it has said yes.
    func turn(until done: () -> Bool) throws {
        let start = ContinuousClock.now
        while !done() {
            try #require(start.duration(to: .now) < .seconds(20), "\(log) \(heard)")
            try loop.turn(waitingAtMost: .milliseconds(2))
        }
    }

    // MARK: - Configuration

    static func service(_ name: String, _ ports: [UInt16], addresses: [IPAddress] = []) -> ProxyRecord {
        .service(
            ServiceRecord(
                service: NamespacedName(namespace: "shop", name: name), port: 80, addresses: addresses,
                endpoints: ports.map { ServiceRecord.Endpoint(address: loopback, port: $0) }))
    }

    static let client = ProxyRecord.workload(
        WorkloadRecord(netns: netns, pod: NamespacedName(namespace: "shop", name: "client")))

    static func route(_ rules: [HTTPRoute.Rule]) -> ProxyRecord {
        .route(
            .http(
                HTTPRoute(
                    metadata: ObjectMetadata(name: "web", namespace: "shop"), parentRefs: [.init(name: "web")],
                    rules: rules)))
    }

    /// Sends a generation with these records alone.
    func send(_ records: [ProxyRecord]) -> UInt64 {
        let new = ConfigurationState(generation: state.generation + 1, records)
        for message in ConfigurationChange(from: state, to: new).messages { agent?.send(message) }
        state = new
        return new.generation
    }

    /// The same, and waits until it is in force.
    func configure(_ records: [ProxyRecord]) throws {
        let generation = send(records)
        try turn { heard.contains(.acknowledge(generation)) }
    }

    func send(_ message: AgentMessage) { agent?.send(message) }

    // MARK: - Requests

    func client() -> Client { Client(port: port) }

    func get(_ client: Client, _ path: String = "/", _ fields: String = "") throws -> (head: String, body: String) {
        client.send("GET \(path) HTTP/1.1\r\nHost: web\r\n\(fields)\r\n")
        var response: (head: String, body: String)?
        try turn {
            response = client.takeResponse()
            return response != nil || client.end != nil
        }
        return response ?? ("\(client.end as Any)", "")
    }

    /// What the proxy answers when all its threads have: other messages may come before.
    func status() throws -> ProxyStatus {
        let before = heard.count
        agent?.send(.statusRequest(1))
        var answer: ProxyStatus?
        try turn {
            for case .status(let status) in heard.dropFirst(before) { answer = status }
            return answer != nil
        }
        return try #require(answer)
    }
}
