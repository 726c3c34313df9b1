// SPDX-License-Identifier: Apache-2.0

/// Everything about a peer that some policy in force can distinguish.
///
/// Peers with equal keys get equal verdicts from every policy set, so they share one ``IdentityNumber``.
public struct IdentityKey: Hashable, Sendable {
    public enum Kind: String, Hashable, Sendable {
        /// An address that no pod has.
        case address
        /// The node's own addresses.
        case host
        case pod
    }

    public struct Label: Hashable, Sendable {
        public let key: String
        public let value: String
    }

    public struct NamedPort: Hashable, Sendable {
        public let name: String
        public let transport: TransportProtocol
        public let port: UInt16
    }

    public let kind: Kind
    /// Empty unless the kind is `pod`, like the fields below, but for `cidrs`.
    public let trustDomain: String
    public let namespace: String
    public let serviceAccount: String
    /// The labels whose keys some peer selector in force uses, by key.
    public let labels: [Label]
    /// The container ports whose names some egress rule in force uses, by name, protocol and port.
    public let namedPorts: [NamedPort]
    /// Whether the peer is proved: a pod enrolled on this node by the kernel, one of another node by the certificate
    /// that came with its tunnel. Others are known by their address only.
    public let isAuthenticated: Bool
    /// Whether it is reached through tunnels only: the address of an enrolled pod of another node, or of one of this node
    /// that wants it so.
    public let takesTunnels: Bool
    /// The prefixes named by policies in force that contain the peer's address (of one family), ascending.
    public let cidrs: [CIDR]

    /// The key of addresses that no pod has.
    init(cidrs: [CIDR], isHost: Bool = false) {
        self.kind = isHost ? .host : .address
        self.trustDomain = ""
        self.namespace = ""
        self.serviceAccount = ""
        self.labels = []
        self.namedPorts = []
        self.isAuthenticated = false
        self.takesTunnels = false
        self.cidrs = cidrs
    }

    /// The key of a pod; the lists must be sorted and without repetition.
    init(
        trustDomain: String, namespace: String, serviceAccount: String, labels: [Label], namedPorts: [NamedPort],
        isAuthenticated: Bool, takesTunnels: Bool = false, cidrs: [CIDR]
    ) {
        self.kind = .pod
        self.trustDomain = trustDomain
        self.namespace = namespace
        self.serviceAccount = serviceAccount
        self.labels = labels
        self.namedPorts = namedPorts
        self.isAuthenticated = isAuthenticated
        self.takesTunnels = takesTunnels
        self.cidrs = cidrs
    }

    /// An address that no policy names.
    static let world = IdentityKey(cidrs: [])

    /// The SPIFFE ID without its scheme, if the peer is proved.
    public var principal: String? {
        isAuthenticated ? "\(trustDomain)/ns/\(namespace)/sa/\(serviceAccount)" : nil
    }
}

extension IdentityKey: CustomStringConvertible {
    /// One line that differs for different keys; the registry persists numbers under it.
    public var description: String {
        let cidrs = cidrs.map(\.description).joined(separator: ",")
        guard kind == .pod else { return "\(kind.rawValue) cidrs=\(cidrs)" }
        let labels = labels.map { "\($0.key.escaped)=\($0.value.escaped)" }.joined(separator: ",")
        let ports = namedPorts.map { "\($0.name.escaped):\($0.transport.rawValue)=\($0.port)" }.joined(separator: ",")
        return "pod trust=\(trustDomain.escaped) ns=\(namespace.escaped) sa=\(serviceAccount.escaped) labels=\(labels) "
            + "ports=\(ports) cidrs=\(cidrs) \(isAuthenticated ? "authenticated" : "by-address")"
            + (takesTunnels ? " tunnelled" : "")
    }
}

extension String {
    /// With every byte that could be taken for a separator as `%XX`, although valid names have none.
    fileprivate var escaped: String {
        let isPlain = { (byte: UInt8) in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"),
                UInt8(ascii: "/"):
                true
            default: false
            }
        }
        if utf8.allSatisfy(isPlain) { return self }
        return utf8.map { byte in
            isPlain(byte)
                ? String(UnicodeScalar(byte))
                : "%" + String(byte >> 4, radix: 16, uppercase: true) + String(byte & 15, radix: 16, uppercase: true)
        }.joined()
    }
}
