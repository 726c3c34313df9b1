// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// An AuthorizationPolicy that decides about requests to some pods: those whose ``DestinationRecord`` names it.
public struct AuthorizationRecord: Hashable, Sendable {
    public var policy: AuthorizationPolicy

    public init(_ policy: AuthorizationPolicy) { self.policy = policy }

    /// What ``DestinationRecord/policies`` has: `security.istio.io/v1 shop/web`. Groups are apart.
    public static func name(of policy: AuthorizationPolicy) -> String {
        "\(policy.apiVersion) \(policy.metadata.namespacedName)"
    }

    public var key: RecordKey { RecordKey(.authorizationPolicy, Self.name(of: policy)) }
}

/// An enrolled pod of this node about whose requests policies decide, whoever sends them.
///
/// A pod without a record takes every request; one with a record takes what ``policies`` allow together.
public struct DestinationRecord: Hashable, Sendable {
    public var pod: NamespacedName
    public var addresses: [IPAddress]
    /// Keys of ``AuthorizationRecord``: all that select the pod, dry runs among them, ascending.
    public var policies: [String]

    public init(pod: NamespacedName, addresses: [IPAddress], policies: [String]) {
        self.pod = pod
        self.addresses = addresses
        self.policies = policies
    }

    public var key: RecordKey { RecordKey(.destination, "\(pod)") }
}

/// What is the same for everything on the node. There is one, or none before the agent knows.
public struct NodeRecord: Hashable, Sendable {
    public var name: String
    public var zone: String?
    /// Of the SPIFFE IDs of this node's pods.
    public var trustDomain: String

    public init(name: String, zone: String? = nil, trustDomain: String) {
        self.name = name
        self.zone = zone
        self.trustDomain = trustDomain
    }

    public var key: RecordKey { RecordKey(.node, "") }
}

extension AuthorizationRecord: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(policy) }
    public init(from reader: inout ByteReader) throws(WireError) { self.init(try reader.read()) }
}

extension DestinationRecord: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(pod, addresses, policies) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(pod: try reader.read(), addresses: try reader.read(), policies: try reader.read())
    }
}

extension NodeRecord: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(name, zone, trustDomain) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(name: try reader.read(), zone: try reader.read(), trustDomain: try reader.read())
    }
}
