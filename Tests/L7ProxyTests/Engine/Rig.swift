// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel
import Synchronization

@testable import L7Proxy

/// Records of requests, in the order in which they ended.
final class Recorder: Sendable {
    private let records = Mutex<[RequestRecord]>([])

    var all: [RequestRecord] { records.withLock { $0 } }

    func append(_ record: RequestRecord) { records.withLock { $0.append(record) } }

    /// Waits until there are so many.
    func wait(for count: Int) -> [RequestRecord] {
        _ = Poll.until { all.count >= count }
        return all
    }

    final class Sink: RequestSink {
        let recorder: Recorder
        init(_ recorder: Recorder) { self.recorder = recorder }
        override func record(_ record: borrowing RequestRecord, _ text: borrowing RequestText) {
            recorder.append(copy record)
        }
    }
}

/// A worker between a test's client and its backends, on loopback.
///
/// Clients connect to Service `shop/web` at 10.96.0.1:80 as far as the worker is told.
final class Rig: Sendable {
    static let address = IPAddress("10.96.0.1")!
    static let service = NamespacedName(namespace: "shop", name: "web")
    /// The client's network namespace, in which is `shop/client`.
    static let network: UInt64 = 7

    let worker: ProxyWorker
    let port: UInt16
    let recorder = Recorder()
    private let generation = Mutex<UInt64>(1)
    private let appProtocol: String?

    /// - Parameters:
    ///   - backends: Ports on loopback of the endpoints of `shop/web`; of further Services by name.
    ///   - appProtocol: Of all Services' ports; `nil`: nobody says what they speak.
    ///   - legs: Instead of plain sockets.
    init(
        _ backends: [UInt16], others: [String: [UInt16]] = [:], rules: [HTTPRoute.Rule]? = nil,
        appProtocol: String? = "http", policies: Policies = Policies(), destination: StreamEndpoint? = nil,
        policyGeneration: UInt32 = 0,
        configure: (inout EngineConfiguration) -> Void = { _ in },
        legs: LegSource? = nil
    ) throws {
        var configuration = EngineConfiguration()
        configuration.connections = 256
        configuration.exchanges = 256
        configuration.upstreams = 256
        configuration.pools = 64
        configuration.buffers = 256
        configuration.addsForwardedFor = false
        configure(&configuration)
        let recorder = recorder
        self.appProtocol = appProtocol
        worker = try ProxyWorker(
            configuration: configuration,
            origins: { socket in
                ConnectionOrigin(
                    destination: destination.map { IPAddress(high: $0.high, low: $0.low) } ?? Self.address,
                    destinationPort: destination?.port ?? 80, client: socket.client, clientPort: socket.clientPort,
                    sourceIdentity: 42, sourceNetwork: Self.network, network: Self.network,
                    policyGeneration: policyGeneration)
            },
            legs: legs ?? { Self.connect($0) }, makeSink: { Recorder.Sink(recorder) })
        let listener = try StreamSocket.listen(at: .loopback(port: 0))
        port = StreamSocket.localEndpoint(listener.rawValue)?.port ?? 0
        give(backends, others: others, rules: rules, policies: policies)
        worker.addListener(listener, tag: 1)
        try worker.start { _ in }
    }

    deinit { worker.stop() }

    static func connect(_ request: LegRequest) -> LegAnswer {
        let descriptor = StreamSocket.connect(
            to: StreamEndpoint(high: request.address.high, low: request.address.low, port: request.port))
        return descriptor < 0 ? .refused : .descriptor(CInt(descriptor))
    }

    /// What decides about requests beside routes.
    struct Policies {
        /// Of every Service.
        var service = ServicePolicy()
        /// Of who listens on loopback.
        var authorization: [AuthorizationPolicy] = []
        /// Addresses of enrolled pods of other nodes.
        var remote: [IPAddress] = []
        /// Of the client's pod to another one of this node, which has the address of loopback; `nil`: none has.
        var local: PolicyVerdict?

        var tunnels: TunnelReach {
            let number = IdentityNumber(rawValue: 300)
            let ends = local == nil ? remote : remote + [IPAddress("127.0.0.1")!]
            var locals: [UInt64: TunnelReach.LocalPod] = [:]
            if let local {
                let table = PortTable(
                    segments: [.init(firstPort: 0, portClass: 0, verdict: .allow)],
                    exceptions: [[.init(identity: number, verdict: local)]])
                locals[Rig.network] = .init(addresses: [IPAddress("10.0.0.7")!], egress: table)
                locals[Rig.network + 1] = .init(addresses: [IPAddress("127.0.0.1")!], egress: nil)
            }
            return TunnelReach(
                ends: Dictionary(ends.map { ($0, PerFamily(both: number)) }, uniquingKeysWith: { $1 }), locals: locals)
        }
    }

    /// Returns when the worker has it: it may be reading a request that is sent after this already.
    func publish(
        _ backends: [UInt16], others: [String: [UInt16]] = [:], rules: [HTTPRoute.Rule]? = nil,
        policies: Policies = Policies()
    ) {
        give(backends, others: others, rules: rules, policies: policies)
        _ = counters()
    }

    private func give(
        _ backends: [UInt16], others: [String: [UInt16]], rules: [HTTPRoute.Rule]?, policies: Policies
    ) {
        let number = generation.withLock { generation in
            generation += 1
            return generation
        }
        worker.publish(
            Self.snapshot(
                backends, others: others, rules: rules, policies: policies, appProtocol: appProtocol,
                generation: number))
    }

    static func snapshot(
        _ backends: [UInt16], others: [String: [UInt16]], rules: [HTTPRoute.Rule]?, policies: Policies = Policies(),
        appProtocol: String? = nil,
        generation: UInt64
    ) -> ProxySnapshot {
        func endpoints(_ ports: [UInt16]) -> [ClusterEndpoint] {
            ports.map { ClusterEndpoint(IPAddress("127.0.0.1")!, port: $0) }
        }
        var services = [
            ProxyService(
                name: service, port: 80, addresses: [address], endpoints: endpoints(backends), policy: policies.service,
                appProtocol: appProtocol)
        ]
        var objects = [Service(metadata: ObjectMetadata(name: "web", namespace: "shop"), ports: [.init(port: 80)])]
        for (name, ports) in others.sorted(by: { $0.key < $1.key }) {
            services.append(
                ProxyService(
                    name: NamespacedName(namespace: "shop", name: name), port: 80, addresses: [],
                    endpoints: endpoints(ports), policy: policies.service, appProtocol: appProtocol))
            objects.append(Service(metadata: ObjectMetadata(name: name, namespace: "shop"), ports: [.init(port: 80)]))
        }
        let table = rules.map { rules in
            RouteTable(
                RouteObjects(
                    routes: [
                        .http(
                            HTTPRoute(
                                metadata: ObjectMetadata(name: "web", namespace: "shop"),
                                parentRefs: [.init(name: "web")], rules: rules))
                    ], services: objects))
        }
        return ProxySnapshot(
            generation: generation, services: services, routes: table,
            workloads: [
                network: ProxyWorkload(
                    name: NamespacedName(namespace: "shop", name: "client"), serviceAccount: "default")
            ],
            remotePods: Dictionary(
                uniqueKeysWithValues: policies.remote.map {
                    ($0, ProxyWorkload(name: NamespacedName(namespace: "shop", name: "far"), serviceAccount: "far"))
                }), tunnels: policies.tunnels,
            destinations: policies.authorization.isEmpty
                ? []
                : [
                    ProxyDestination(
                        addresses: [IPAddress("127.0.0.1")!], authorizer: RequestAuthorizer(policies.authorization))
                ])
    }

    func client() -> TestConnection { TestConnection(port: port) }

    /// Counters of the worker, asked for now.
    func counters() -> WorkerCounters {
        let box = Box()
        worker.counters { counters in box.value.withLock { $0 = counters } }
        _ = Poll.until { box.value.withLock { $0 != nil } }
        return box.value.withLock { $0 } ?? WorkerCounters()
    }

    private final class Box: Sendable {
        let value = Mutex<WorkerCounters?>(nil)
    }
}
