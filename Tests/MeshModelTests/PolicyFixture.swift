// SPDX-License-Identifier: Apache-2.0

import MeshModel
import TestSupport
import Testing

/// A mesh small enough to know by heart.
///
/// Namespace `shop` (labels team=red): `web` 10.0.0.1 (app=web, account web, http 8080/TCP, probes 8086),
/// `db` 10.0.0.2 and fd00::2 (app=db, account db, http 9090/TCP, dns 53/UDP), `job` 10.0.0.3 (not enrolled).
/// Namespace `bank` (no object): `teller` 10.1.0.1 (app=web, account web), `remote` 10.1.0.9 on another node.
/// The node is 192.168.0.1; `agent` is a pod on its network.
struct PolicyFixture {
    static let node = address("192.168.0.1")
    static let web = pod("shop", "web", ["10.0.0.1"], ports: [("http", 8080, .tcp)], probes: [.number(8086)])
    static let db = pod("shop", "db", ["10.0.0.2", "fd00::2"], ports: [("http", 9090, .tcp), ("dns", 53, .udp)])
    static let job = pod("shop", "job", ["10.0.0.3"])
    static let teller = pod("bank", "teller", ["10.1.0.1"], app: "web", account: "web")
    static let remote = pod("bank", "remote", ["10.1.0.9"], node: "far", ports: [("http", 7070, .tcp)])
    static let agent = pod("shop", "agent", ["192.168.0.1"], hostNetwork: true)
    static let everyone = [web, db, job, teller, remote, agent]

    var compiler = MeshCompiler(
        configuration: .init(nodeName: "here", nodeAddresses: [PolicyFixture.node], rootNamespace: "root"))
    var objects: [MeshObject]
    let enrolled = Set([web, db, teller].map(\.namespacedName))

    init(_ policies: [MeshObject], extra: [MeshObject] = []) {
        let namespace = Namespace(metadata: ObjectMetadata(name: "shop", labels: ["team": "red"]))
        objects = Self.everyone.map { .pod($0) } + [.namespace(namespace)] + extra + policies
        _ = compiler.update(MeshChange(changed: objects, enrolled: enrolled))
    }

    /// The verdict, on which the maps, the explanation and the oracle must agree.
    func allows(
        _ source: String, _ destination: String, _ port: UInt16, _ transport: TransportProtocol = .tcp,
        withDryRun: Bool = false, sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Bool {
        let source = Self.address(named: source)
        let destination = Self.address(named: destination)
        let kernel = KernelLookup(compiler.mesh).allows(
            from: source, to: destination, port: port, transport: transport, withDryRun: withDryRun)
        var oracle = PolicyOracle(objects, enrolled: enrolled, nodeAddresses: [Self.node])
        oracle.rootNamespace = "root"
        let expected = oracle.allows(
            from: source, to: destination, port: port, transport: transport, withDryRun: withDryRun)
        let explanation = try explain(source, destination, port, transport)
        let explained = withDryRun ? explanation.dryRunVerdict ?? explanation.verdict : explanation.verdict
        #expect(kernel == expected, "the maps and the oracle differ", sourceLocation: sourceLocation)
        #expect((explained == .allow) == expected, "\(explanation)", sourceLocation: sourceLocation)
        return kernel
    }

    func explain(
        _ source: IPAddress, _ destination: IPAddress, _ port: UInt16, _ transport: TransportProtocol = .tcp
    ) throws -> PolicyExplanation {
        try compiler.explain(
            PolicyQuestion(
                source: .address(source), destination: .address(destination), port: port, transport: transport))
    }

    /// `web`, `host`, or an address.
    static func address(named name: String) -> IPAddress {
        if name == "host" { return node }
        return everyone.first { $0.metadata.name == name }?.podIPs.first ?? address(name)
    }

    static func address(_ text: String) -> IPAddress {
        guard let address = IPAddress(text) else { preconditionFailure("\(text) is no address") }
        return address
    }

    static func cidr(_ text: String) -> CIDR {
        guard let cidr = CIDR(text) else { preconditionFailure("\(text) is no prefix") }
        return cidr
    }

    static func pod(
        _ namespace: String, _ name: String, _ addresses: [String], app: String? = nil, account: String? = nil,
        node: String = "here", hostNetwork: Bool = false, ports: [(String, UInt16, TransportProtocol)] = [],
        probes: [PortReference] = []
    ) -> Pod {
        Pod(
            metadata: ObjectMetadata(name: name, namespace: namespace, labels: ["app": app ?? name]),
            serviceAccountName: account ?? name, nodeName: node, podIPs: addresses.map { address($0) },
            hostNetwork: hostNetwork,
            containers: [
                Pod.Container(
                    name: "main",
                    ports: ports.map { Pod.ContainerPort(name: $0.0, port: $0.1, transport: $0.2) }, probes: probes)
            ])
    }

    // MARK: Policies

    static func app(_ value: String) -> LabelSelector { LabelSelector(matchLabels: ["app": value]) }

    static func network(
        _ name: String = "np", namespace: String = "shop", on selector: LabelSelector = LabelSelector(),
        types: [NetworkPolicy.PolicyType] = [], ingress: [NetworkPolicy.Rule] = [], egress: [NetworkPolicy.Rule] = [],
        isDryRun: Bool = false
    ) -> MeshObject {
        .networkPolicy(
            NetworkPolicy(
                metadata: ObjectMetadata(name: name, namespace: namespace), podSelector: selector, policyTypes: types,
                ingress: ingress, egress: egress, isDryRun: isDryRun))
    }

    static func authorization(
        _ action: AuthorizationPolicy.Action, _ rules: [AuthorizationPolicy.Rule], name: String = "ap",
        namespace: String = "shop", on selector: LabelSelector? = nil, isDryRun: Bool = false
    ) -> MeshObject {
        .authorizationPolicy(
            AuthorizationPolicy(
                metadata: ObjectMetadata(name: name, namespace: namespace), selector: selector, action: action,
                rules: rules, isDryRun: isDryRun))
    }

    static func peerAuthentication(
        _ mode: PeerAuthentication.Mode, name: String = "pa", namespace: String = "shop",
        on selector: LabelSelector? = nil, ports: [UInt16: PeerAuthentication.Mode] = [:], created: String? = nil
    ) -> MeshObject {
        .peerAuthentication(
            PeerAuthentication(
                metadata: ObjectMetadata(name: name, namespace: namespace, creationTimestamp: created),
                selector: selector, mode: mode, portLevelMtls: ports))
    }

    static func source(_ set: (inout AuthorizationPolicy.Source) -> Void) -> AuthorizationPolicy.Source {
        var source = AuthorizationPolicy.Source()
        set(&source)
        return source
    }

    static func operation(_ set: (inout AuthorizationPolicy.Operation) -> Void) -> AuthorizationPolicy.Operation {
        var operation = AuthorizationPolicy.Operation()
        set(&operation)
        return operation
    }
}
