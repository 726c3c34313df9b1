// SPDX-License-Identifier: Apache-2.0

import L7Proxy
import MeshModel
import ProxyProtocol

extension TunnelReach {
    init(_ configuration: ProxyConfiguration) {
        guard configuration.hasTunnels else {
            self.init()
            return
        }
        let verdicts = configuration.verdictsByPod
        self.init(
            ends: Dictionary(
                configuration.remotePods.flatMap { pod in pod.addresses.map { ($0, pod.identity) } },
                uniquingKeysWith: { $1 }),
            locals: Dictionary(
                configuration.workloads.map {
                    ($0.netns, LocalPod(addresses: $0.addresses, egress: verdicts[$0.pod]?.egress))
                }, uniquingKeysWith: { $1 }))
    }
}

extension ProxyConfiguration {
    /// Whether the agent has said anything about tunnels.
    var hasTunnels: Bool { !remotePods.isEmpty || !verdictUses.isEmpty }

    /// The policy of each pod of this node; of one that is not here it is not known yet.
    var verdictsByPod: [NamespacedName: VerdictRecord] {
        let sets = Dictionary(verdicts.map { ($0.set, $0) }, uniquingKeysWith: { $1 })
        return Dictionary(
            verdictUses.compactMap { use in sets[use.set].map { (use.pod, $0) } }, uniquingKeysWith: { $1 })
    }
}
