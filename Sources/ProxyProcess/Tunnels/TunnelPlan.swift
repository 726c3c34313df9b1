// SPDX-License-Identifier: Apache-2.0

import Identity
import L7Proxy
import MeshModel
import ProxyProtocol

/// Which connections go through tunnels, and who may: of one generation of the configuration.
///
/// Immutable; asked on the threads of workers.
final class TunnelPlan: Sendable {
    /// An end of tunnels: an enrolled pod of another node, or, where one of this node encrypts, any of this node.
    struct RemotePod: Sendable {
        let name: NamespacedName
        /// Whom its certificate names; `nil`: its names make no SPIFFE ID.
        let id: SPIFFEID?
        let identity: PerFamily<IdentityNumber>
        let proven: PerFamily<IdentityNumber>
    }

    /// An enrolled pod of this node.
    private struct LocalPod {
        let workload: ProxyWorkload
        let id: SPIFFEID?
        /// `nil`: not known yet, so that everything is denied.
        let verdicts: VerdictRecord?
    }

    /// A Service's port: its endpoints that are pods of other nodes.
    private struct ServiceTarget {
        let name: NamespacedName
        /// All that may get something, and those of them that do.
        let able: [ServiceRecord.Endpoint]
        let endpoints: [ServiceRecord.Endpoint]
        let weight: UInt64

        /// - Returns: `nil`: there is none.
        init?(_ name: NamespacedName, _ able: [ServiceRecord.Endpoint]) {
            guard !able.isEmpty else { return nil }
            self.name = name
            self.able = able
            // Those that end get something only if there is no other, as kube-proxy has it (KEP-1669).
            let staying = able.filter { !$0.isTerminating }
            endpoints = staying.isEmpty ? able : staying
            weight = endpoints.reduce(0) { $0 + UInt64($1.weight) }
        }
    }

    /// What is to become of a pod's connection.
    enum Outbound {
        /// It goes to nobody behind a tunnel.
        case direct
        case tunnel(HBONEOutbound)
        case refused(String)
    }

    let snapshot: ProxySnapshot
    /// Whether the agent has said anything about tunnels.
    let hasTunnels: Bool
    private let locals: [UInt64: LocalPod]
    private let remotes: [IPAddress: RemotePod]
    /// Whether pods of this node are among them.
    private let hasLocalEnds: Bool
    private let services: [SocketEndpoint: ServiceTarget]

    /// - Parameter snapshot: of the same configuration.
    init(_ configuration: ProxyConfiguration, _ snapshot: ProxySnapshot) {
        self.snapshot = snapshot
        hasTunnels = configuration.hasTunnels
        guard hasTunnels else {
            (locals, remotes, services) = ([:], [:], [:])
            hasLocalEnds = false
            return
        }
        let domain = try? TrustDomain(snapshot.trustDomain)
        func id(_ pod: NamespacedName, _ account: String) -> SPIFFEID? {
            domain.flatMap { try? SPIFFEID($0, namespace: pod.namespace, serviceAccount: account) }
        }
        var remotes: [IPAddress: RemotePod] = [:]
        for record in configuration.remotePods {
            let pod = RemotePod(
                name: record.pod, id: id(record.pod, record.serviceAccount), identity: record.identity,
                proven: record.proven)
            for address in record.addresses { remotes[address] = pod }
        }
        self.remotes = remotes
        let verdicts = configuration.verdictsByPod
        locals = snapshot.workloads.mapValues { workload in
            LocalPod(
                workload: workload, id: id(workload.name, workload.serviceAccount), verdicts: verdicts[workload.name])
        }
        hasLocalEnds = remotes.keys.contains { snapshot.tunnels.network(at: $0) != nil }
        services = Self.services(configuration, remotes)
    }

    private static func services(
        _ configuration: ProxyConfiguration, _ remotes: [IPAddress: RemotePod]
    ) -> [SocketEndpoint: ServiceTarget] {
        guard !remotes.isEmpty else { return [:] }
        var targets: [SocketEndpoint: ServiceTarget] = [:]
        for record in configuration.services {
            let able = record.endpoints.filter { $0.isReady && $0.weight > 0 && remotes[$0.address] != nil }
            guard let target = ServiceTarget(record.service, able) else { continue }
            for address in record.addresses { targets[SocketEndpoint(address, record.port)] = target }
        }
        return targets
    }

    // MARK: - From pods of this node

    /// Where a connection goes that the kernel has led to the proxy.
    ///
    /// - Parameter random: for the choice of a Service's endpoint.
    func outbound(_ origin: ConnectionOrigin, random: (UInt64) -> UInt64) -> Outbound {
        if hasTunnels, origin.destinationPort == tunnelPort, snapshot.serviceName(at: origin) == nil {
            return .refused(Self.ownPort)
        }
        if snapshot.tunnels.needsTunnel(
            to: origin.destination, origin.destinationPort, from: origin.sourceNetwork)
        {
            return tunnel(origin, to: origin.destination, port: origin.destinationPort, service: "")
        }
        // An address that is nobody's here, a node's port or a Service that is told of later, would lead in clear to
        // where only the kernel has looked.
        if hasTunnels, !isHere(origin.destination), snapshot.serviceName(at: origin) == nil {
            return .refused("the address is of no Service and of no pod that is known here")
        }
        // The kernel has drawn by weight among all endpoints, and has met one of another node: which one is drawn
        // again, of these alone, so that the shares stay what the weights say.
        guard let all = services[SocketEndpoint(origin.destination, origin.destinationPort)],
            !snapshot.decidesRequests(of: origin), let target = target(all, for: origin.sourceNetwork)
        else { return .direct }
        var draw = random(target.weight)
        for endpoint in target.endpoints {
            if draw < UInt64(endpoint.weight) {
                return tunnel(
                    origin, to: endpoint.address, port: endpoint.port,
                    service: "\(target.name.name).\(target.name.namespace).svc.cluster.local")
            }
            draw -= UInt64(endpoint.weight)
        }
        return .direct
    }

    /// Of a Service's endpoints those that the pod reaches through tunnels.
    private func target(_ all: ServiceTarget, for network: UInt64) -> ServiceTarget? {
        guard hasLocalEnds else { return all }
        return ServiceTarget(
            all.name, all.able.filter { snapshot.tunnels.needsTunnel(to: $0.address, $0.port, from: network) })
    }

    private func tunnel(_ origin: ConnectionOrigin, to address: IPAddress, port: UInt16, service: String) -> Outbound {
        guard let pod = remotes[address] else { return .direct }
        // Of a Service's endpoint.
        guard port != tunnelPort else { return .refused(Self.ownPort) }
        guard let source = locals[origin.sourceNetwork], let id = source.id else {
            return .refused("the pod that it comes from has no identity here")
        }
        guard let peer = pod.id else { return .refused("\(pod.name) can have no identity") }
        // An address of the same family, which the socket to the peer is made from.
        guard let own = source.workload.addresses.first(where: { $0.isIPv4 == address.isIPv4 }) else {
            return .refused("\(source.workload.name) has no address of the family of \(address)")
        }
        var outbound = HBONEOutbound(
            identity: id, source: own, sourcePort: origin.clientPort, network: origin.sourceNetwork,
            acceptable: [peer], destination: address, port: port)
        outbound.service = service
        if let denial = denial(outbound) { return .refused(denial) }
        return .tunnel(outbound)
    }

    /// The tunnel for a connection that a worker of requests wants to an endpoint.
    func outbound(_ request: L7Proxy.LegRequest) -> Outbound {
        if hasTunnels, !request.isToPeer, request.port == tunnelPort {
            return .refused(Self.ownPort)
        }
        guard request.outsider == nil, !request.isToPeer,
            snapshot.tunnels.needsTunnel(to: request.address, request.port, from: request.network)
        else { return .direct }
        let origin = ConnectionOrigin(
            destination: request.address, destinationPort: request.port, client: request.address,
            clientPort: request.client?.port ?? 0, sourceNetwork: request.network, network: request.network)
        return tunnel(origin, to: request.address, port: request.port, service: "")
    }

    private static let ownPort = "port \(tunnelPort) of a pod is the mesh's own"

    /// Whether it is known of the address that nothing behind it takes tunnels: it is a pod's of this node.
    func isHere(_ address: IPAddress) -> Bool { snapshot.tunnels.network(at: address) != nil }

    /// Why the pod's own policy does not allow a tunnel; `nil`: it does.
    func denial(_ outbound: HBONEOutbound) -> String? {
        guard let source = locals[outbound.network], let verdicts = source.verdicts else {
            return "the policy of the pod is not known here"
        }
        guard let pod = remotes[outbound.destination] else {
            return "\(outbound.destination) is no enrolled pod of another node any more"
        }
        let verdict = TunnelReach.verdict(
            verdicts.egress, of: pod.identity[outbound.destination], port: outbound.port)
        return verdict == .deny ? "egress policy of \(source.workload.name) denies it" : nil
    }

    // MARK: - To pods of this node

    /// Whose pod a connection to the port of tunnels came to.
    func origin(of connection: ConnectionOrigin) -> HBONEOrigin? {
        guard let pod = locals[connection.network], let id = pod.id else { return nil }
        return HBONEOrigin(
            local: connection.destination, network: connection.network, identity: id, client: connection.client,
            clientPort: connection.clientPort)
    }

    /// Whether the pod that a connection came to still has that address.
    func serves(_ origin: HBONEOrigin) -> Bool {
        snapshot.tunnels.network(at: origin.local) == origin.network
    }

    /// Whether a tunnel that a peer asks for may be: the pod whose address it comes from, whose certificate it must be,
    /// and then what policy says of that pod with its identity proved. The kernel decides once more.
    func authorize(_ inbound: HBONEInbound) -> HBONEVerdict {
        let origin = inbound.origin
        guard let pod = locals[origin.network], let verdicts = pod.verdicts else {
            return .deny(reason: "the policy of the pod is not known here")
        }
        guard let source = remotes[origin.client] else {
            return .deny(reason: "\(origin.client) is no enrolled pod of another node")
        }
        guard source.id == inbound.peer else {
            return .deny(reason: "the certificate is not of \(source.name), which has the address")
        }
        let number = source.proven[origin.local]
        switch TunnelReach.verdict(verdicts.ingress, of: number, port: inbound.port) {
        case .allow: return .allow(identity: number.rawValue)
        case .deny: return .deny(reason: "ingress policy of \(pod.workload.name) denies it")
        case .needsProxy: return .requests(identity: number.rawValue)
        }
    }

    /// The end of a connection for tunnels that is in a pod of this node, as is the one that asks; `nil`: it is elsewhere.
    func localPeer(_ request: L7Proxy.LegRequest) -> HBONEOrigin? {
        guard request.isToPeer, let network = snapshot.tunnels.network(at: request.address), let pod = locals[network],
            let id = pod.id, let source = locals[request.network],
            let client = source.workload.addresses.first(where: { $0.isIPv4 == request.address.isIPv4 })
        else { return nil }
        // A pair has no ports, and without one the application would not be shown the client's address.
        return HBONEOrigin(
            local: request.address, network: network, identity: id, client: client, clientPort: tunnelPort)
    }

    // MARK: - Names

    /// The pod that has an address, on whatever node.
    func workload(at address: IPAddress) -> ProxyWorkload? {
        snapshot.remotePods[address] ?? snapshot.tunnels.network(at: address).flatMap { locals[$0]?.workload }
    }
}
