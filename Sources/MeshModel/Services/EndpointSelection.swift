// SPDX-License-Identifier: Apache-2.0

/// Where one endpoint of a service port is, and whether it may be used.
struct ResolvedEndpoint: Hashable, Sendable {
    let address: IPAddress
    let port: UInt16
    let isReady: Bool
    let isServing: Bool
    let isTerminating: Bool
    let nodeName: String?
    let zone: String?
    let hintedZones: [String]
    let hintedNodes: [String]
    let weight: UInt32
    /// `nil`: it is not known which pod it is.
    var pod: NamespacedName?
}

/// Chooses the endpoints of a service port that clients on this node use, as kube-proxy does.
///
/// https://github.com/kubernetes/kubernetes/blob/v1.34.0/pkg/proxy/topology.go
struct EndpointSelection: Sendable {
    let nodeName: String
    let zone: String?
    let isLocalOnly: Bool
    let distribution: Service.TrafficDistribution?

    func backends(_ endpoints: [ResolvedEndpoint]) -> [Backend] {
        let reachable = isLocalOnly ? endpoints.filter { $0.nodeName == nodeName } : endpoints
        let ready = reachable.filter(\.isReady)
        var chosen = isLocalOnly ? ready : near(ready)
        if ready.isEmpty { chosen = reachable.filter { $0.isServing && $0.isTerminating } }
        return Self.limited(
            chosen.filter { $0.weight > 0 }.map { Backend(address: $0.address, port: $0.port, weight: $0.weight) },
            seed: nodeName)
    }

    private func near(_ ready: [ResolvedEndpoint]) -> [ResolvedEndpoint] {
        // Hints are followed only if every endpoint has one, or traffic would starve those without.
        if !ready.isEmpty, ready.allSatisfy({ !$0.hintedNodes.isEmpty }) {
            let hinted = ready.filter { $0.hintedNodes.contains(nodeName) }
            if !hinted.isEmpty { return hinted }
        }
        if let zone, !ready.isEmpty, ready.allSatisfy({ !$0.hintedZones.isEmpty }) {
            let hinted = ready.filter { $0.hintedZones.contains(zone) }
            return hinted.isEmpty ? ready : hinted
        }
        // Slices without hints: what the controller would have written into them.
        if distribution == .preferSameNode {
            let sameNode = ready.filter { $0.nodeName == nodeName }
            if !sameNode.isEmpty { return sameNode }
        }
        if distribution != nil, let zone {
            let sameZone = ready.filter { $0.zone == zone }
            if !sameZone.isEmpty { return sameZone }
        }
        return ready
    }

    /// At most as many as a backend set has slots, by rendezvous hashing, so that every node leaves out others.
    static func limited(_ backends: [Backend], seed: String) -> [Backend] {
        let chosen =
            backends.count <= AliasTable.maximumSlots
            ? backends
            : Array(
                backends.map { ($0.score(seed: seed), $0) }
                    .sorted { ($0.0, $0.1.address, $0.1.port) < ($1.0, $1.1.address, $1.1.port) }
                    .prefix(AliasTable.maximumSlots).map(\.1))
        return chosen.sorted { ($0.address, $0.port) < ($1.address, $1.port) }
    }
}

extension Backend {
    /// FNV-1a, which unlike `Hasher` is the same in every process.
    fileprivate func score(seed: String) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in Array(seed.utf8) + address.bytes + [UInt8(port >> 8), UInt8(truncatingIfNeeded: port)] {
            hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3
        }
        return hash
    }
}
