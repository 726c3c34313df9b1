// SPDX-License-Identifier: Apache-2.0

/// Names one policy set among those a compiler has made. Equal sets have equal names.
public struct PolicySetID: RawRepresentable, Hashable, Sendable {
    public let rawValue: UInt32

    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// No policy: everything is allowed.
    public static let none = PolicySetID(rawValue: 0)
}

/// All verdicts for one workload, or several with equal policies.
public struct PolicySet: Sendable {
    public let egressTCP: PortTable
    public let egressUDP: PortTable
    public let ingressTCP: PortTable
    public let ingressUDP: PortTable
    /// Computed once, because sets are looked up by content and may be large.
    private let contentHash: Int

    public init(egressTCP: PortTable, egressUDP: PortTable, ingressTCP: PortTable, ingressUDP: PortTable) {
        self.egressTCP = egressTCP
        self.egressUDP = egressUDP
        self.ingressTCP = ingressTCP
        self.ingressUDP = ingressUDP
        var hasher = Hasher()
        hasher.combine(egressTCP)
        hasher.combine(egressUDP)
        hasher.combine(ingressTCP)
        hasher.combine(ingressUDP)
        contentHash = hasher.finalize()
    }

    /// Every peer that is not unknown, which differs from no set at all in what it says of the unknown.
    public static let allowAll = PolicySet(
        egressTCP: .allowAll, egressUDP: .allowAll, ingressTCP: .allowAll, ingressUDP: .allowAll)

    /// The table of a direction; every transport but UDP is answered as TCP.
    public func table(_ direction: PolicyDirection, _ transport: TransportProtocol) -> PortTable {
        switch (direction, transport) {
        case (.egress, .udp): egressUDP
        case (.egress, _): egressTCP
        case (.ingress, .udp): ingressUDP
        case (.ingress, _): ingressTCP
        }
    }

    /// The verdict for one peer, as the kernel gives it.
    ///
    /// - Parameter port: The destination's port, in both directions.
    public func verdict(
        _ direction: PolicyDirection, _ transport: TransportProtocol, peer: IdentityNumber, port: UInt16
    ) -> PolicyVerdict {
        peer == .unknown ? .deny : table(direction, transport).verdict(of: peer, port: port)
    }

    /// Entries that the set needs in the map of exceptions.
    public var exceptionCount: Int {
        [egressTCP, egressUDP, ingressTCP, ingressUDP].reduce(0) { sum, table in
            sum + table.exceptions.reduce(0) { $0 + $1.count }
        }
    }
}

extension PolicySet: Hashable {
    public static func == (left: Self, right: Self) -> Bool {
        left.contentHash == right.contentHash && left.egressTCP == right.egressTCP && left.egressUDP == right.egressUDP
            && left.ingressTCP == right.ingressTCP && left.ingressUDP == right.ingressUDP
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(contentHash)
    }
}
