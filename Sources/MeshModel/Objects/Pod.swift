// SPDX-License-Identifier: Apache-2.0

/// A core/v1 Pod, as far as the data plane needs it.
public struct Pod: Hashable, Sendable {
    public enum Phase: String, Hashable, Sendable {
        case pending = "Pending"
        case running = "Running"
        case succeeded = "Succeeded"
        case failed = "Failed"
        case unknown = "Unknown"
    }

    /// A container, or an init container that keeps running (restartPolicy: Always).
    public struct Container: Hashable, Sendable {
        public var name: String
        public var ports: [ContainerPort]
        /// Ports of the liveness, readiness and startup probes of kind httpGet, tcpSocket and grpc. TCP.
        public var probes: [PortReference]

        public init(name: String, ports: [ContainerPort] = [], probes: [PortReference] = []) {
            self.name = name
            self.ports = ports
            self.probes = probes
        }
    }

    public struct ContainerPort: Hashable, Sendable {
        public var name: String?
        public var port: UInt16
        public var transport: TransportProtocol

        public init(name: String? = nil, port: UInt16, transport: TransportProtocol = .tcp) {
            self.name = name
            self.port = port
            self.transport = transport
        }
    }

    public var metadata: ObjectMetadata
    public var serviceAccountName: String
    /// `nil` while no node has been chosen.
    public var nodeName: String?
    /// All addresses, the primary one first.
    public var podIPs: [IPAddress]
    public var hostNetwork: Bool
    public var containers: [Container]
    public var phase: Phase?
    /// Whether the pod has a deletionTimestamp.
    public var isTerminating: Bool
    /// Condition `Ready`; `nil` if the object does not say, which counts as ready (no kubelet wrote it).
    public var ready: Bool?
    public var mesh: PodMeshSettings

    public init(
        metadata: ObjectMetadata, serviceAccountName: String = "default", nodeName: String? = nil,
        podIPs: [IPAddress] = [], hostNetwork: Bool = false, containers: [Container] = [], phase: Phase? = nil,
        isTerminating: Bool = false, ready: Bool? = nil, mesh: PodMeshSettings = PodMeshSettings()
    ) {
        self.metadata = metadata
        self.serviceAccountName = serviceAccountName
        self.nodeName = nodeName
        self.podIPs = podIPs
        self.hostNetwork = hostNetwork
        self.containers = containers
        self.phase = phase
        self.isTerminating = isTerminating
        self.ready = ready
        self.mesh = mesh
    }
}

extension Pod {
    public var namespacedName: NamespacedName { metadata.namespacedName }

    /// Whether all containers have ended: the addresses may already belong to another pod.
    public var isFinished: Bool { phase == .succeeded || phase == .failed }

    /// Whether the pod has asked to be meshed, itself or by its namespace, and can be.
    public func wantsMesh(in namespace: Namespace?) -> Bool {
        !hostNetwork && !isFinished && (mesh.membership ?? namespace?.mesh) == .enabled
    }

    /// Ports that `name` means, in any container. Several containers may use one name.
    public func ports(named name: String, transport: TransportProtocol) -> Set<UInt16> {
        var ports: Set<UInt16> = []
        for container in containers {
            for port in container.ports where port.name == name && port.transport == transport {
                ports.insert(port.port)
            }
        }
        return ports
    }

    /// TCP ports that the kubelet probes; a named one is of the container that has the probe.
    public var probePorts: Set<UInt16> {
        var ports: Set<UInt16> = []
        for container in containers {
            for probe in container.probes {
                switch probe {
                case .number(let number):
                    ports.insert(number)
                case .name(let name):
                    ports.formUnion(
                        container.ports.lazy.filter { $0.name == name && $0.transport == .tcp }.map(\.port))
                }
            }
        }
        return ports
    }
}
