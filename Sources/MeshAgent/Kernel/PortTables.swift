// SPDX-License-Identifier: Apache-2.0
import MeshModel

/// `struct mesh_port_page`: verdict and class of each low byte of a port, under one high byte.
///
/// An entry is `class << 2 | verdict`, as MESH_PORT_VERDICT and MESH_PORT_CLASS read it.
struct PortPage: Hashable, Sendable {
    /// 256 of them.
    let entries: [UInt16]

    init(entries: [UInt16]) {
        precondition(entries.count == 256, "a page has an entry for each low byte of a port")
        self.entries = entries
    }
}

/// `struct mesh_port_map`: number of the page of each high byte of a port.
struct PortMap: Hashable, Sendable {
    /// 256 of them.
    let pages: [UInt16]

    init(pages: [UInt16]) {
        precondition(pages.count == 256, "a port map has a page for each high byte of a port")
        self.pages = pages
    }
}

/// A policy set with the numbers of what it is made of: `struct mesh_policy_set` and its entries of `mesh_policy`.
///
/// Immutable once a workload names it: a change of policy makes another set.
struct PolicySetRow: Hashable, Sendable {
    /// Index: `direction * 2 + protocol`. Four of them.
    let portMaps: [UInt32]
    let exceptions: [PolicyException: PolicyVerdict]
    /// Computed once: sets are compared with all others whenever policy changes, and most of them are equal.
    private let hash: Int

    /// Of nothing: all port maps are the one that denies.
    static let empty = PolicySetRow(portMaps: [0, 0, 0, 0], exceptions: [:])

    init(portMaps: [UInt32], exceptions: [PolicyException: PolicyVerdict]) {
        precondition(portMaps.count == 4, "a policy set has a port map for each direction and protocol")
        self.portMaps = portMaps
        self.exceptions = exceptions
        var hasher = Hasher()
        hasher.combine(portMaps)
        hasher.combine(exceptions)
        hash = hasher.finalize()
    }

    func portMap(_ direction: PolicyDirection, _ transport: PolicyProtocol) -> UInt32 {
        portMaps[Int(direction.rawValue) * 2 + Int(transport.rawValue)]
    }

    static func == (left: Self, right: Self) -> Bool {
        left.hash == right.hash && left.portMaps == right.portMaps && left.exceptions == right.exceptions
    }

    func hash(into hasher: inout Hasher) { hasher.combine(hash) }
}
