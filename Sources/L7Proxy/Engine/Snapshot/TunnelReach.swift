// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// Whom pods of this node reach through tunnels only, of one generation of the configuration.
public struct TunnelReach: Sendable {
    /// An enrolled pod of this node.
    public struct LocalPod: Sendable {
        let addresses: [IPAddress]
        let egress: PortTable?

        /// - Parameter egress: its policy about what it sends by TCP; `nil`: not known yet, so that everything is denied.
        public init(addresses: [IPAddress], egress: PortTable?) {
            self.addresses = addresses
            self.egress = egress
        }
    }

    private let ends: [IPAddress: PerFamily<IdentityNumber>]
    private let locals: [UInt64: LocalPod]
    private let networks: [IPAddress: UInt64]

    /// - Parameters:
    ///   - ends: The numbers, for egress policy, of whoever takes tunnels: enrolled pods of other nodes and, where one of
    ///     this node encrypts, all of this node.
    ///   - locals: By the cookie of their network namespace.
    public init(ends: [IPAddress: PerFamily<IdentityNumber>] = [:], locals: [UInt64: LocalPod] = [:]) {
        self.ends = ends
        self.locals = locals
        networks = Dictionary(
            locals.flatMap { network, pod in pod.addresses.map { ($0, network) } }, uniquingKeysWith: { $1 })
    }

    /// Nobody takes a tunnel.
    var isEmpty: Bool { ends.isEmpty }

    /// The network namespace of this node's pod that has an address; `nil`: none of them has.
    public func network(at address: IPAddress) -> UInt64? { networks[address] }

    /// Whether a pod reaches an address through tunnels only: all pods of other nodes, and those of this node of which
    /// one of the two encrypts, as the pod's own egress policy says.
    public func needsTunnel(to address: IPAddress, _ port: UInt16, from network: UInt64) -> Bool {
        guard let end = ends[address] else { return false }
        guard let own = networks[address] else { return true }
        guard own != network, let source = locals[network] else { return false }
        guard let egress = source.egress else { return true }
        // What is denied is refused as what goes through a tunnel is, and never goes in clear.
        return Self.verdict(egress, of: end[address], port: port) != .allow
    }

    /// What a table says of a peer; of one whose number is not known, that it is denied.
    public static func verdict(_ table: PortTable, of peer: IdentityNumber, port: UInt16) -> PolicyVerdict {
        peer == .unknown ? .deny : table.verdict(of: peer, port: port)
    }
}
