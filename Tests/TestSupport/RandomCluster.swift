// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// A small cluster made by chance, from few names, so that policies often meet what they select.
///
/// The same seed makes the same cluster.
public struct RandomCluster: Sendable {
    public static let nodeName = "node-a"
    public static let rootNamespace = "sockmesh-system"

    public private(set) var random: SplitMix64
    public private(set) var pods: [Pod] = []
    public private(set) var namespaces: [Namespace] = []
    public private(set) var policies: [MeshObject] = []
    /// Pods of ``nodeName`` that are enrolled.
    public private(set) var enrolled: Set<NamespacedName> = []
    public let nodeAddresses: [IPAddress]

    static let namespaceNames = ["shop", "bank", "ops", rootNamespace]

    /// - Parameters:
    ///   - pods: How many.
    ///   - policies: How many at most.
    public init(seed: UInt64, pods count: Int = 16, policies: Int = 8) {
        random = SplitMix64(seed: seed)
        nodeAddresses = [Self.address("192.168.0.1")] + (random.chance(50) ? [Self.address("fd00:168::1")] : [])
        for name in Self.namespaceNames where random.chance(80) {
            namespaces.append(Namespace(metadata: ObjectMetadata(name: name, labels: labels())))
        }
        for index in 0..<count { addPod(index) }
        var generator = PolicyGenerator(random: random)
        for index in 0..<Int.random(in: 0...policies, using: &random) {
            self.policies.append(generator.policy(named: "p\(index)"))
        }
        random = generator.random
    }

    /// Everything, nodes included.
    public var objects: [MeshObject] {
        namespaces.map { .namespace($0) } + pods.map { .pod($0) } + policies
            + [.node(Node(metadata: ObjectMetadata(name: Self.nodeName), addresses: nodeAddresses))]
    }

    public var oracle: PolicyOracle {
        PolicyOracle(objects, enrolled: enrolled, nodeAddresses: nodeAddresses)
    }

    public static var configuration: MeshCompiler.Configuration {
        .init(nodeName: nodeName, rootNamespace: rootNamespace)
    }

    static func address(_ text: String) -> IPAddress {
        guard let address = IPAddress(text) else { preconditionFailure("\(text) is no address") }
        return address
    }

    // MARK: Objects

    private mutating func labels() -> Labels {
        var labels: Labels = [:]
        for key in ["app", "tier", "env"] where random.chance(60) { labels[key] = random.pick(["a", "b", "c"]) }
        return labels
    }

    private mutating func addPod(_ index: Int) {
        let name = "pod-\(index)"
        let namespace = random.pick(Self.namespaceNames)
        let isLocal = random.chance(60)
        let isHostNetwork = random.chance(6)
        // Few prefixes of several lengths, so that blocks and exceptions cut between pods.
        var addresses = [Self.address("10.\(random.pick([0, 1])).\(random.pick([0, 128])).\(index + 1)")]
        if random.chance(40) { addresses.append(Self.address("fd00:\(random.pick([1, 2]))::\(index + 1)")) }
        if isHostNetwork { addresses = isLocal ? nodeAddresses : [Self.address("192.168.0.2")] }
        var pod = Pod(
            metadata: ObjectMetadata(name: name, namespace: namespace, labels: labels()),
            serviceAccountName: random.pick(["default", "web", "db"]), nodeName: isLocal ? Self.nodeName : "node-b",
            podIPs: addresses, hostNetwork: isHostNetwork)
        pod.containers = random.list(atMost: 2) { random in
            Pod.Container(
                name: "c",
                ports: random.list(atMost: 3) { random in
                    Pod.ContainerPort(
                        name: random.pick([nil, "http", "metrics", "dns"]), port: random.pick(PolicyGenerator.ports),
                        transport: random.pick([.tcp, .tcp, .udp]))
                },
                probes: random.chance(40)
                    ? [random.pick([.number(8080), .name("http"), .number(80), .name("missing")])] : [])
        }
        if random.chance(5) { pod.phase = .succeeded }
        pods.append(pod)
        enrolled.remove(pod.namespacedName)
        if isLocal, !isHostNetwork, random.chance(80) { enrolled.insert(pod.namespacedName) }
    }

    // MARK: Flows

    public struct Flow: Hashable, Sendable {
        public let source: IPAddress
        public let destination: IPAddress
        public let port: UInt16
        public let transport: TransportProtocol

        public init(source: IPAddress, destination: IPAddress, port: UInt16, transport: TransportProtocol) {
            self.source = source
            self.destination = destination
            self.port = port
            self.transport = transport
        }
    }

    /// A connection that may well meet a policy: mostly between pods, on ports that policies name or their neighbours.
    public mutating func flow() -> Flow {
        let meshed = pods.filter { enrolled.contains($0.namespacedName) }
        let end = { (random: inout SplitMix64, pods: [Pod], nodeAddresses: [IPAddress]) -> IPAddress in
            switch Int.random(in: 0..<10, using: &random) {
            case 0: return random.pick(nodeAddresses)
            case 1:
                return Self.address(
                    random.pick(["8.8.8.8", "10.0.0.200", "10.1.128.200", "fd00:1::99", "2001:db8::1"]))
            case 2..<6 where !meshed.isEmpty: return random.pick(meshed.flatMap { $0.podIPs })
            default: return random.pick(pods.flatMap { $0.podIPs })
            }
        }
        let port = random.pick(PolicyGenerator.ports)
        let step = UInt16(random.pick([0, 0, 0, 1, 65535]))
        let source = end(&random, pods, nodeAddresses)
        var destination = end(&random, pods, nodeAddresses)
        while destination.isIPv4 != source.isIPv4 { destination = end(&random, pods, nodeAddresses) }
        return Flow(
            source: source, destination: destination, port: max(1, port &+ step),
            transport: random.pick([.tcp, .tcp, .udp]))
    }

    /// Replaces, removes or adds one object, or enrols or removes one pod.
    public mutating func mutate() -> MeshChange {
        var generator = PolicyGenerator(random: random)
        defer { random = generator.random }
        switch Int.random(in: 0..<12, using: &generator.random) {
        case 10, 11:
            random = generator.random
            addPod(100 + pods.count + Int.random(in: 0..<100, using: &random))
            generator.random = random
            // Another pod may have the number by chance, and with it name or address: it makes room.
            let pod = pods.removeLast()
            let former = pods.filter { $0.metadata.name == pod.metadata.name }
            pods.removeAll { $0.metadata.name == pod.metadata.name }
            pods.append(pod)
            enrolled.formIntersection(pods.map(\.namespacedName))
            return MeshChange(
                changed: [.pod(pod)],
                removed: former.filter { $0.namespacedName != pod.namespacedName }.map { MeshObject.pod($0).reference },
                enrolled: enrolled)
        case 0..<4:
            let policy = generator.policy(named: "p\(Int.random(in: 0..<10, using: &generator.random))")
            policies.removeAll { $0.reference == policy.reference }
            policies.append(policy)
            return MeshChange(changed: [policy])
        case 4..<6:
            guard let victim = policies.indices.randomElement(using: &generator.random) else { return MeshChange() }
            return MeshChange(removed: [policies.remove(at: victim).reference])
        case 6:
            let index = Int.random(in: 0..<pods.count, using: &generator.random)
            pods[index].metadata.labels["app"] = generator.random.pick(["a", "b", nil])
            pods[index].phase = generator.random.pick([nil, nil, nil, .failed])
            return MeshChange(changed: [.pod(pods[index])])
        case 7:
            let pod = generator.random.pick(pods)
            if pod.nodeName != Self.nodeName || pod.hostNetwork { return MeshChange() }
            if enrolled.remove(pod.namespacedName) == nil { enrolled.insert(pod.namespacedName) }
            return MeshChange(enrolled: enrolled)
        case 8:
            let name = generator.random.pick(Self.namespaceNames)
            let namespace = Namespace(
                metadata: ObjectMetadata(name: name, labels: ["env": generator.random.pick(["a", "b"])]))
            namespaces.removeAll { $0.metadata.name == name }
            namespaces.append(namespace)
            return MeshChange(changed: [.namespace(namespace)])
        default:
            guard pods.count > 4 else { return MeshChange() }
            let pod = pods.remove(at: Int.random(in: 0..<pods.count, using: &generator.random))
            enrolled.remove(pod.namespacedName)
            return MeshChange(removed: [MeshObject.pod(pod).reference], enrolled: enrolled)
        }
    }
}
