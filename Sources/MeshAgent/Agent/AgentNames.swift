// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import MeshAdmin
import MeshModel

/// Names from the mesh as it is in force now.
struct AgentNames: MeshNames {
    private let reconciler: Reconciler
    private let pods: [NetnsCookie: NamespacedName]

    /// For one report: what it says of pods is what is in force when it is made.
    init(_ reconciler: Reconciler) {
        self.reconciler = reconciler
        pods = reconciler.podsByCookie
    }

    func workload(in netns: NetnsCookie) -> NamespacedName? { pods[netns] }

    func workload(at address: IPAddress) -> NamespacedName? {
        reconciler.compiler.mesh.addresses[address]?.workload
    }

    func service(at key: ServiceKey) -> NamespacedName? { reconciler.compiler.mesh.services[key]?.service }

    func identity(_ number: IdentityNumber) -> IdentityReport {
        let name: String
        switch number {
        case .unknown, .world, .host: name = number.description
        default:
            name =
                reconciler.compiler.mesh.identities[number].map { key in
                    key.principal.map { "spiffe://\($0)" } ?? Self.name(of: key)
                } ?? "forgotten"
        }
        return IdentityReport(number: number.rawValue, name: name)
    }

    private static func name(of key: IdentityKey) -> String {
        switch key.kind {
        case .host: "host"
        case .address: key.cidrs.isEmpty ? "world" : key.cidrs.map(\.description).joined(separator: ",")
        case .pod: "\(key.namespace)/\(key.serviceAccount) (by address)"
        }
    }

    func decidingPolicy(_ question: PolicyQuestion, _ direction: PolicyDirection) -> PolicyReference? {
        guard let answer = try? reconciler.compiler.explain(question) else { return nil }
        let side = direction == .egress ? answer.egress : answer.ingress
        return side.policies.first.map { PolicyReference($0) }
    }
}

extension Reconciler: NamespaceOpening {
    /// Checks the cookie: the path of a pod may lead to another namespace by now.
    func openNamespace(_ cookie: NetnsCookie) -> NetworkNamespace? {
        guard let path = enrolment.members.values.first(where: { $0.namespace?.cookie == cookie })?.namespace?.path,
            let namespace = try? NetworkNamespace(path: path), (try? namespace.cookie()) == cookie
        else { return nil }
        return namespace
    }
}
