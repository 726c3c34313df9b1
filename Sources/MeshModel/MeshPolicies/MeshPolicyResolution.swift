// SPDX-License-Identifier: Apache-2.0

/// What holds for requests to one destination, from all policies: each field from the nearest target that sets it, Pod
/// before a Service's port before Service before namespace before mesh, and of equals from the oldest policy.
public struct MeshPolicyResolution: Equatable, Sendable {
    /// Where requests go.
    public struct Subject: Hashable, Sendable {
        public var namespace: String
        /// The Service that they were sent to; `nil`: to a pod's own address.
        public var service: String?
        /// The name of the Service's port.
        public var port: String?
        /// Of the pod; `nil`: it is not chosen yet.
        public var labels: Labels?

        public init(namespace: String, service: String? = nil, port: String? = nil, labels: Labels? = nil) {
            self.namespace = namespace
            self.service = service
            self.port = port
            self.labels = labels
        }
    }

    /// How near a target is. The smaller wins.
    public enum Level: Int, Comparable, Sendable {
        case pod
        case servicePort
        case service
        case namespace
        case mesh

        public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
    }

    /// A field that a policy sets and another one of the same level has set before.
    public struct Conflict: Hashable, Sendable {
        public let field: MeshPolicyField
        public let winner: ObjectReference
    }

    public private(set) var settings = MeshPolicySettings()
    /// The policy that each field comes from.
    public private(set) var sources: [MeshPolicyField: ObjectReference] = [:]
    /// What each policy has lost here to an older one of its own level; losing to a nearer one is no conflict. The rest of
    /// the policy holds, and its status is Accepted=False with the reason Conflicted.
    public private(set) var conflicts: [ObjectReference: Set<Conflict>] = [:]

    /// - Parameters:
    ///   - policies: no two of one name; in any order.
    ///   - rootNamespace: whose policies for their namespace are for the mesh.
    public init(_ policies: [MeshPolicy], for subject: Subject, rootNamespace: String) {
        var applicable: [(level: Level, age: ObjectAge, policy: MeshPolicy)] = []
        for policy in policies {
            let levels = policy.targets.compactMap {
                Self.level(of: $0, in: policy.metadata.namespace, for: subject, rootNamespace)
            }
            // Of several targets of one policy the nearest counts.
            guard let level = levels.min() else { continue }
            applicable.append((level, ObjectAge(policy.metadata, kind: "MeshPolicy"), policy))
        }
        applicable.sort { $0.level == $1.level ? $0.age < $1.age : $0.level < $1.level }
        for field in MeshPolicyField.allCases {
            var winners: [Level: ObjectReference] = [:]
            for (level, _, policy) in applicable where field.isSet(in: policy.settings) {
                if sources[field] == nil, field.copy(from: policy.settings, to: &settings) {
                    sources[field] = policy.reference
                }
                if let winner = winners[level] {
                    conflicts[policy.reference, default: []].insert(Conflict(field: field, winner: winner))
                } else {
                    winners[level] = policy.reference
                }
            }
        }
    }

    /// What is said of a port of the Service by its number, which goes before what is said of all; and where.
    func detection(
        ofPort port: UInt16
    ) -> (detection: MeshPolicySettings.Detection, field: MeshPolicyField)? {
        if let own = settings.protocolOverrides?[port] { return (own, .protocolOverrides) }
        return settings.detect.map { ($0, .detect) }
    }

    /// How near a target is to a subject; `nil`: it is about something else.
    static func level(
        of target: MeshPolicy.Target, in namespace: String, for subject: Subject, _ rootNamespace: String
    ) -> Level? {
        let isHere = namespace == subject.namespace
        switch target {
        case .pods(let selector):
            guard isHere, let labels = subject.labels, selector.matches(labels) else { return nil }
            return .pod
        case .service(let name, let port):
            guard isHere, name == subject.service else { return nil }
            guard let port else { return .service }
            return port == subject.port ? .servicePort : nil
        case .namespace:
            if namespace == rootNamespace { return .mesh }
            return isHere ? .namespace : nil
        }
    }
}
