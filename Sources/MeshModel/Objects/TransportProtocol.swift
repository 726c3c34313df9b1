// SPDX-License-Identifier: Apache-2.0

/// A transport that Kubernetes objects can name.
public enum TransportProtocol: String, Hashable, Sendable, CaseIterable {
    case tcp = "TCP"
    case udp = "UDP"
    /// Accepted in objects, enforced nowhere: the mesh reports it as a ``Finding``.
    case sctp = "SCTP"

    /// The number of the IANA registry of assigned internet protocol numbers.
    public var number: UInt8 {
        switch self {
        case .tcp: 6
        case .udp: 17
        case .sctp: 132
        }
    }

    public init?(number: UInt8) {
        guard let match = Self.allCases.first(where: { $0.number == number }) else { return nil }
        self = match
    }
}

/// A port as an object names it: by number, or by the name of a container's port.
public enum PortReference: Hashable, Sendable {
    case number(UInt16)
    case name(String)
}

extension PortReference: CustomStringConvertible {
    public var description: String {
        switch self {
        case .number(let number): String(number)
        case .name(let name): name
        }
    }
}
