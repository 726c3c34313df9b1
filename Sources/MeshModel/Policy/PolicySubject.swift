// SPDX-License-Identifier: Apache-2.0

/// The workload whose policy is evaluated.
struct PolicySubject: Sendable {
    let namespace: String
    let labels: Labels
    /// What the workload's containers mean by a port's name.
    let namedPorts: [IdentityIndex.PortName: Set<UInt16>]
    /// TCP ports that the kubelet probes.
    let probePorts: Set<UInt16>
    let addresses: [IPAddress]
    /// It reaches other pods of this node through tunnels too.
    let encrypts: Bool

    init(_ pod: Pod) {
        namespace = pod.metadata.namespace
        labels = pod.metadata.labels
        probePorts = pod.probePorts
        addresses = pod.podIPs
        encrypts = pod.mesh.encrypts
        var namedPorts: [IdentityIndex.PortName: Set<UInt16>] = [:]
        for container in pod.containers {
            for port in container.ports {
                guard let name = port.name else { continue }
                namedPorts[IdentityIndex.PortName(name: name, transport: port.transport), default: []].insert(port.port)
            }
        }
        self.namedPorts = namedPorts
    }
}

/// Ports of the two transports that the mesh enforces.
struct TransportPorts: Hashable, Sendable {
    var tcp: PortSet
    var udp: PortSet

    static let all = TransportPorts(tcp: .all, udp: .all)
    static let none = TransportPorts(tcp: .none, udp: .none)

    var isEmpty: Bool { tcp.isEmpty && udp.isEmpty }

    /// No port for SCTP, which the mesh does not enforce.
    subscript(transport: TransportProtocol) -> PortSet {
        get {
            switch transport {
            case .tcp: tcp
            case .udp: udp
            case .sctp: .none
            }
        }
        set {
            switch transport {
            case .tcp: tcp = newValue
            case .udp: udp = newValue
            case .sctp: break
            }
        }
    }

    func intersection(_ ports: PortSet) -> TransportPorts {
        TransportPorts(tcp: tcp.intersection(ports), udp: udp.intersection(ports))
    }
}
