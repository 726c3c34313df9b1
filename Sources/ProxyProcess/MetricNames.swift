// SPDX-License-Identifier: Apache-2.0

import L7Proxy
import MeshModel

/// What metrics call both ends of a request, by one snapshot.
/// https://istio.io/latest/docs/reference/config/metrics/#labels
struct MetricNames {
    private static let canonicalName = "service.istio.io/canonical-name"
    private static let canonicalRevision = "service.istio.io/canonical-revision"

    private let snapshot: ProxySnapshot
    private let byAddress: [IPAddress: ProxyWorkload]

    init(_ snapshot: ProxySnapshot) {
        self.snapshot = snapshot
        var byAddress: [IPAddress: ProxyWorkload] = [:]
        for workload in snapshot.workloads.values {
            for address in workload.addresses { byAddress[address] = workload }
        }
        self.byAddress = byAddress
    }

    /// Whether the connection to the backend has proved who is there, or would have had to: as it was, if there was one.
    func isProved(_ record: borrowing RequestRecord) -> Bool {
        guard record.origin.direction == .outbound else { return false }
        if record.sentAt > 0 { return record.flags.contains(.tunnelled) }
        let endpoint = record.endpoint
        return snapshot.tunnels.needsTunnel(to: endpoint.address, endpoint.port, from: record.origin.network)
    }

    /// - Parameters:
    ///   - address: where the request went, or was to go.
    ///   - isProved: as ``isProved(_:)``.
    func flow(_ record: RequestRecord, _ address: IPAddress, isProved: Bool) -> MetricFlow {
        let origin = record.origin
        let remote = origin.direction == .outbound ? snapshot.remotePods[address] : nil
        var flow = MetricFlow(
            reporter: origin.direction == .inbound ? .destination : .source,
            source: Self.peer(
                origin.isProved
                    ? snapshot.remotePods[origin.client] ?? byAddress[origin.client]
                    : snapshot.workloads[origin.sourceNetwork],
                provedIn: snapshot.trustDomain),
            destination: Self.peer(
                remote ?? (origin.direction == .inbound ? snapshot.workloads[origin.network] : byAddress[address]),
                provedIn: isProved ? snapshot.trustDomain : nil),
            // Else the bytes stay on the node, or nothing protects them.
            security: origin.isProved || isProved ? .mutualTLS : .none)
        // Of another snapshot the number would be another Service's.
        let own = record.generation == snapshot.generation ? snapshot.serviceName(record.service) : nil
        if let (name, _) = own ?? snapshot.serviceName(at: origin) {
            flow.service = "\(name.name).\(name.namespace).svc.cluster.local"
            flow.serviceName = name.name
            flow.serviceNamespace = name.namespace
        }
        return flow
    }

    static func unknown(_ direction: ConnectionOrigin.Direction) -> MetricFlow {
        MetricFlow(
            reporter: direction == .inbound ? .destination : .source, source: MetricPeer(), destination: MetricPeer(),
            security: .unknown)
    }

    /// - Parameter domain: the trust domain in which the pod has proved who it is; `nil`: it has not.
    static func peer(_ workload: ProxyWorkload?, provedIn domain: String? = nil) -> MetricPeer {
        var peer = MetricPeer()
        guard let workload else { return peer }
        peer.workload = workload.name.name
        peer.namespace = workload.name.namespace
        if let domain {
            peer.principal = "spiffe://\(domain)/ns/\(workload.name.namespace)/sa/\(workload.serviceAccount)"
        }
        let labels = workload.labels
        peer.app = labels["app"] ?? ""
        peer.version = labels["version"] ?? ""
        peer.canonicalService =
            labels[canonicalName] ?? labels["app.kubernetes.io/name"] ?? labels["app"] ?? workload.name.name
        peer.canonicalRevision =
            labels[canonicalRevision] ?? labels["app.kubernetes.io/version"] ?? labels["version"] ?? "latest"
        return peer
    }
}
