// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// An enrolled pod of another node: TCP to it goes through tunnels and never in clear.
public struct RemotePodRecord: Hashable, Sendable {
    public var pod: NamespacedName
    /// Its certificate names it.
    public var serviceAccount: String
    /// Those that metrics show.
    public var labels: [String: String]
    /// Those that nobody else claims.
    public var addresses: [IPAddress]
    /// Numbers in the egress verdicts of this node's pods: by IPv4 and by IPv6.
    public var identity: PerFamily<IdentityNumber>
    /// Numbers in their ingress verdicts, once its certificate has proved it.
    public var proven: PerFamily<IdentityNumber>

    public init(
        pod: NamespacedName, serviceAccount: String, labels: [String: String] = [:], addresses: [IPAddress],
        identity: PerFamily<IdentityNumber>, proven: PerFamily<IdentityNumber>
    ) {
        self.pod = pod
        self.serviceAccount = serviceAccount
        self.labels = labels
        self.addresses = addresses
        self.identity = identity
        self.proven = proven
    }

    public var key: RecordKey { RecordKey(.remotePod, "\(pod)") }
}

/// The policy of some pods of this node about TCP, as the kernel has it: for tunnels, of which the kernel sees neither
/// the port that they are for nor who has proved to be behind them.
public struct VerdictRecord: Hashable, Sendable {
    /// Number of the policy set; a set does not change.
    public var set: UInt32
    public var egress: PortTable
    public var ingress: PortTable

    public init(set: UInt32, egress: PortTable, ingress: PortTable) {
        self.set = set
        self.egress = egress
        self.ingress = ingress
    }

    public var key: RecordKey { RecordKey(.verdicts, String(set)) }
}

/// Which ``VerdictRecord`` is an enrolled pod's of this node. A pod without one takes no tunnel and opens none.
public struct VerdictUseRecord: Hashable, Sendable {
    public var pod: NamespacedName
    public var set: UInt32

    public init(pod: NamespacedName, set: UInt32) {
        self.pod = pod
        self.set = set
    }

    public var key: RecordKey { RecordKey(.verdictUse, "\(pod)") }
}

extension RemotePodRecord: WireValue {
    public func encode(to writer: inout ByteWriter) {
        writer.write(pod, serviceAccount, labels, addresses, identity.ipv4, identity.ipv6, proven.ipv4, proven.ipv6)
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(
            pod: try reader.read(), serviceAccount: try reader.read(), labels: try reader.read(),
            addresses: try reader.read(),
            identity: PerFamily(ipv4: try reader.read(), ipv6: try reader.read()),
            proven: PerFamily(ipv4: try reader.read(), ipv6: try reader.read()))
    }
}

extension VerdictRecord: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(set, egress, ingress) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(set: try reader.read(), egress: try reader.read(), ingress: try reader.read())
    }
}

extension VerdictUseRecord: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(pod, set) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(pod: try reader.read(), set: try reader.read())
    }
}
