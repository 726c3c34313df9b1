// SPDX-License-Identifier: Apache-2.0

extension MeshCompiler {
    /// What the policies and routes select or say that this node does not enforce, sorted.
    ///
    /// Pods of other nodes are no finding: their nodes enforce. Costs as much as there are policies times pods
    /// of this node; ask about single policies where it matters.
    ///
    /// - Parameter references: The policies and routes to examine; `nil` for all.
    public func findings(for references: Set<ObjectReference>? = nil) -> [Finding] {
        let local = pods.pods.values.filter(isOfThisNode)
        var findings: [Finding] = []
        for reference in references ?? Set(policyObjects.keys).union(meshPolicies.keys) {
            if let policy = meshPolicies[reference] { findings += meshPolicyFindings(policy) }
            guard let object = policyObjects[reference] else { continue }
            findings += object.policyFindings(configuration.l7, hasTunnels: configuration.hasTunnels)
            if let policy = policies.lowered(reference) {
                for pod in local where policy.selects(namespace: pod.metadata.namespace, labels: pod.metadata.labels) {
                    findings += self.findings(of: policy, selecting: pod)
                }
                findings += danglingEgressPorts(of: policy)
            }
        }
        return (findings + routeFindings(references)).sorted()
    }

    private func isOfThisNode(_ pod: Pod) -> Bool {
        // Manifests without a cluster need not name a node: a namespace to bind to says as much.
        !pod.isFinished
            && (pod.nodeName.map { $0 == configuration.nodeName } ?? (pod.mesh.netnsPath != nil || pod.mesh.pid != nil)
                || enrolled.contains(pod.namespacedName))
    }

    private func findings(of policy: LoweredPolicy, selecting pod: Pod) -> [Finding] {
        let name = pod.namespacedName
        let finding = { (reason: Finding.Reason, path: String?, message: String) in
            Finding(policy: policy.reference, pod: name, path: path, reason: reason, message: message)
        }
        if pod.hostNetwork {
            return [
                finding(.hostNetwork, nil, "selects pod \(name), which uses the node's network and cannot be meshed")
            ]
        }
        if !enrolled.contains(name) {
            let advice = "annotate it or its namespace with \(MeshAnnotation.mesh.rawValue): enabled"
            return [finding(.notEnrolled, nil, "selects pod \(name), which is not enrolled (\(advice))")]
        }
        var findings: [Finding] = []
        var skipped: [UInt16] = []
        switch policy.body {
        case .network(let ingress, let egress):
            if ingress != nil { skipped += pod.mesh.skipInboundPorts }
            if egress != nil { skipped += pod.mesh.skipOutboundPorts }
            if egress != nil, pod.mesh.allowRawSockets {
                findings.append(
                    finding(.rawSockets, nil, "restricts egress of pod \(name), which may bypass it with raw sockets"))
            }
            for rule in ingress ?? [] {
                for port in rule.portNames where pod.ports(named: port.name, transport: port.transport).isEmpty {
                    findings.append(
                        finding(
                            .danglingPort, "spec.ingress[\(rule.index)].ports",
                            "pod \(name) has no \(port.transport.rawValue) port named \(port.name), so the rule opens none"
                        ))
                }
            }
        case .authorization:
            skipped += pod.mesh.skipInboundPorts
        case .peerAuthentication(let value):
            skipped += pod.mesh.skipInboundPorts
            if !policy.isDryRun, let older = self.older(than: policy, value, on: name) {
                findings.append(
                    finding(.conflicted, nil, "has no effect on pod \(name): \(older) of the same scope is older"))
            }
        }
        if !skipped.isEmpty {
            let ports = Set(skipped).sorted().map { String($0) }.joined(separator: ", ")
            findings.append(finding(.skippedPorts, nil, "pod \(name) has ports that the mesh leaves alone: \(ports)"))
        }
        return findings
    }

    /// The PeerAuthentication that counts in the place of another one of its level, on a pod.
    private func older(
        than policy: LoweredPolicy, _ value: LoweredPeerAuthentication, on pod: NamespacedName
    ) -> ObjectReference? {
        let levels = peerAuthentication(of: pod).levels
        guard !levels.contains(where: { $0 === policy }) else { return nil }
        return levels.first {
            guard case .peerAuthentication(let other) = $0.body else { return false }
            return other.hasSelector == value.hasSelector && (value.hasSelector || $0.scope == policy.scope)
        }?.reference
    }

    private func danglingEgressPorts(of policy: LoweredPolicy) -> [Finding] {
        guard case .network(_, let egress?) = policy.body else { return [] }
        return egress.flatMap { rule in
            rule.portNames.filter { !pods.hasPort(named: $0) }.map { name in
                Finding(
                    policy: policy.reference, pod: nil, path: "spec.egress[\(rule.index)].ports", reason: .danglingPort,
                    message: "no pod has a \(name.transport.rawValue) port named \(name.name), so the rule opens none")
            }
        }
    }
}
