// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshModel

/// The look-ups of bpf/sockmap/policy.h, done on the copy of the maps.
///
/// For many questions at once (every open connection after a change), where a system call for each would take
/// too long. `mesh_query` answers single ones from the maps themselves.
extension KernelTables {
    /// Who a flow is between.
    struct FlowQuestion: Hashable, Sendable {
        /// The initiator's workload if it is an enrolled pod of this node.
        var sourceNetns: NetnsCookie?
        var source: IPAddress
        /// The destination's workload if it is one; `nil` looks at the address.
        var destinationNetns: NetnsCookie?
        var destination: IPAddress
        /// The destination's, in both directions.
        var port: UInt16
        var transport: PolicyProtocol
    }

    /// One direction of a policy set for one peer and port: three array reads and one hash look-up.
    func verdict(
        ofSet number: UInt32, peer: IdentityNumber, _ direction: PolicyDirection, _ transport: PolicyProtocol,
        port: UInt16
    ) -> PolicyVerdict {
        guard number != 0 else { return .allow }
        guard peer != .unknown, let set = policySets[number],
            let map = portMaps[set.portMap(direction, transport)],
            let page = pages[map.pages[Int(port >> 8)]]
        else { return .deny }
        let entry = page.entries[Int(port & 255)]
        let exception = PolicyException(
            identity: peer, portClass: entry >> 2, direction: direction, transport: transport)
        return set.exceptions[exception] ?? PolicyVerdict(rawValue: UInt8(entry & 3)) ?? .deny
    }

    /// The enrolled pod of this node that has an address in the generation in force.
    func pod(at address: IPAddress) -> NetnsCookie? {
        addresses[address].flatMap { $0.netns[generation] == 0 ? nil : $0.netns[generation] }
    }

    /// The row of an address: its own, else that of the longest prefix.
    func row(of address: IPAddress, _ prefixes: PrefixIndex<Address>) -> Address? {
        addresses[address] ?? prefixes.cover(of: address)
    }

    /// Whether the generation in force lets a flow between two ends be: `conn_redecide` and `conn_decide`.
    ///
    /// - Parameter prefixes: of ``cidrs``; made once for many questions.
    /// - Returns: `enum mesh_reason`, NONE if it is allowed.
    func reason(_ flow: FlowQuestion, _ prefixes: PrefixIndex<Address>) -> mesh_reason {
        if let source = flow.sourceNetns, source == flow.destinationNetns { return MESH_REASON_NONE }
        let source = flow.sourceNetns.flatMap { workloads[$0] }
        let sourceIdentity =
            source?.identity[generation][flow.source] ?? row(of: flow.source, prefixes)?.identity[generation] ?? .world
        let destination = flow.destinationNetns.flatMap { workloads[$0] }
        let destinationIdentity =
            destination?.identity[generation][flow.destination]
            ?? row(of: flow.destination, prefixes)?.identity[generation] ?? .world
        // A denial by one end comes before "needs a proxy" of the other.
        var needsProxy = false
        if let source, let netns = flow.sourceNetns, !skips(netns, source, flow.port, .egress) {
            guard source.flags & MESH_WL_READY.rawValue != 0 else { return MESH_REASON_NOT_READY }
            switch verdict(
                ofSet: source.policySet[generation], peer: destinationIdentity, .egress, flow.transport, port: flow.port
            )
            {
            case .allow: break
            case .deny: return MESH_REASON_POLICY_EGRESS
            case .needsProxy: needsProxy = true
            }
        }
        if let destination, let netns = flow.destinationNetns, !skips(netns, destination, flow.port, .ingress) {
            guard destination.flags & MESH_WL_READY.rawValue != 0 else { return MESH_REASON_NOT_READY }
            switch verdict(
                ofSet: destination.policySet[generation], peer: sourceIdentity, .ingress, flow.transport,
                port: flow.port)
            {
            case .allow: break
            case .deny: return MESH_REASON_POLICY_INGRESS
            case .needsProxy: needsProxy = true
            }
        }
        return needsProxy ? MESH_REASON_NEEDS_PROXY : MESH_REASON_NONE
    }

    private func skips(_ netns: NetnsCookie, _ workload: Workload, _ port: UInt16, _ direction: PolicyDirection) -> Bool
    {
        workload.flags & MESH_WL_SKIP_PORTS.rawValue != 0
            && skipPorts.contains(SkipPortKey(netns: netns, port: port, direction: direction))
    }
}
