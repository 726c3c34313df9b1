// SPDX-License-Identifier: Apache-2.0

extension MeshCompiler {
    /// Answers from the same program as the kernel's maps are made of.
    ///
    /// - Throws: ``UnknownPodError``.
    public func explain(_ question: PolicyQuestion) throws(UnknownPodError) -> PolicyExplanation {
        let isIPv4 = family(of: question)
        let mayBeProved = question.transport == .tcp && !question.isInClear
        let source = try end(question.source, isIPv4: isIPv4, mayBeProved: mayBeProved)
        let destination = try end(question.destination, isIPv4: isIPv4, mayBeProved: false)
        if let pod = source.workload, pod == destination.workload {
            return explainSelf(source, destination)
        }
        let egress = side(.egress, of: source, peer: destination, question, isDryRun: false)
        let ingress = side(.ingress, of: destination, peer: source, question, isDryRun: false)
        let verdict = Self.together(egress.verdict, ingress.verdict)
        let dryRun = Self.together(
            side(.egress, of: source, peer: destination, question, isDryRun: true).verdict,
            side(.ingress, of: destination, peer: source, question, isDryRun: true).verdict)
        return PolicyExplanation(
            verdict: verdict, sourceIdentity: source.number, destinationIdentity: destination.number, egress: egress,
            ingress: ingress, dryRunVerdict: dryRun == verdict ? nil : dryRun)
    }

    private static func together(_ egress: PolicyVerdict, _ ingress: PolicyVerdict) -> PolicyVerdict {
        if egress == .deny || ingress == .deny { return .deny }
        return egress == .needsProxy || ingress == .needsProxy ? .needsProxy : .allow
    }

    /// Whether the connection is one of IPv4.
    private func family(of question: PolicyQuestion) -> Bool {
        func families(_ peer: PolicyPeer) -> [Bool] {
            switch peer {
            case .pod(let name): pods[name]?.podIPs.map(\.isIPv4) ?? []
            case .address(let address): [address.isIPv4]
            }
        }
        let own = families(question.source)
        let possible = families(question.destination)
        return question.isIPv4 ?? possible.first(where: own.contains) ?? possible.first ?? own.first ?? true
    }

    /// One end, as the kernel sees it.
    private struct End {
        let name: String
        let workload: NamespacedName?
        /// `nil`: unknown.
        let slot: Int?
        let number: IdentityNumber
        /// By a certificate.
        let isProved: Bool
    }

    private func end(_ peer: PolicyPeer, isIPv4: Bool, mayBeProved: Bool) throws(UnknownPodError) -> End {
        var workload: NamespacedName?
        var isProved = false
        var slot: Int?
        switch peer {
        case .pod(let name):
            guard let pod = pods[name] else { throw UnknownPodError(pod: name) }
            workload = pod.hasIdentity ? name : nil
            // On the network of a node, or gone: nothing but its address is known.
            let proven = mayBeProved ? provenSlots[name] : nil
            isProved = proven != nil
            slot =
                (proven ?? podSlots[name]).map { isIPv4 ? $0.ipv4 : $0.ipv6 }
                ?? (pod.podIPs.first { $0.isIPv4 == isIPv4 } ?? pod.podIPs.first).flatMap { self.slot(of: $0) }
        case .address(let address):
            workload = nodeAddresses.contains(address) ? nil : owner(of: address)
            slot = self.slot(of: address)
        }
        let number = slot.map { index.number(at: $0) } ?? .unknown
        return End(
            name: peer.description, workload: workload, slot: number == .unknown ? nil : slot, number: number,
            isProved: isProved)
    }

    private func explainSelf(_ source: End, _ destination: End) -> PolicyExplanation {
        let side = { (direction: PolicyDirection) in
            PolicyExplanation.Side(
                direction: direction, verdict: .allow, isEnforced: true, stage: nil, policies: [], rule: nil,
                sentence: "a pod may always talk to itself")
        }
        return PolicyExplanation(
            verdict: .allow, sourceIdentity: source.number, destinationIdentity: destination.number,
            egress: side(.egress), ingress: side(.ingress), dryRunVerdict: nil)
    }

    private func side(
        _ direction: PolicyDirection, of end: End, peer: End, _ question: PolicyQuestion, isDryRun: Bool
    ) -> PolicyExplanation.Side {
        let isEnforced = end.workload.map(isWorkload) ?? false
        guard isEnforced, let workload = end.workload, let pod = pods[workload] else {
            return .init(
                direction: direction, verdict: .allow, isEnforced: false, stage: nil, policies: [], rule: nil,
                sentence:
                    "\(end.name) is not an enrolled pod of this node, so its \(direction) policy is not decided here")
        }
        let selecting = policies.policies(selecting: workload).filter { isDryRun || !$0.isDryRun }
        guard let slot = peer.slot else {
            // Without any policy nobody asks who the peer is.
            let verdict: PolicyVerdict = mesh.workloads[workload]?.policySet == PolicySetID.none ? .allow : .deny
            return .init(
                direction: direction, verdict: verdict, isEnforced: true, stage: nil, policies: [], rule: nil,
                sentence: "\(peer.name) has no identity: several pods claim its address")
        }
        var cache = RuleCache()
        let program = PolicyProgram(
            direction, policies: selecting, subject: PolicySubject(pod), index: index,
            hasTunnels: configuration.hasTunnels, cache: &cache)
        let decision = program.decide(slot: slot, port: question.port, transport: question.transport)
        return .init(
            direction: direction, verdict: decision.verdict, isEnforced: true, stage: decision.layer?.stage,
            policies: decision.references, rule: decision.rule?.index,
            sentence: decision.sentence(
                direction, workload: end.name, peer: peer.name, port: "\(question.transport.rawValue) \(question.port)")
                + (peer.isProved ? ", through a tunnel with mutual TLS" : "")
        )
    }

    /// Whether a pod has proved by a certificate who it is, when it comes through a tunnel from another node.
    public func provesByTunnel(_ name: NamespacedName) -> Bool { provenSlots[name] != nil }

    /// What an enrolled pod of this node demands of clients at a port; `nil`: it is none.
    public func peerAuthentication(of pod: NamespacedName, port: UInt16) -> PeerAuthenticationDemand? {
        isWorkload(pod) ? peerAuthentication(of: pod).demand(at: port) : nil
    }

    /// By the policies that are enforced.
    func peerAuthentication(of pod: NamespacedName) -> EffectivePeerAuthentication {
        EffectivePeerAuthentication(policies.policies(selecting: pod).filter { !$0.isDryRun })
    }
}

extension PolicyProgram.Decision {
    fileprivate var references: [ObjectReference] {
        if let rule { return rule.policy.map { [$0.reference] } ?? [] }
        return layer?.policies.map(\.reference).sorted() ?? []
    }

    fileprivate func sentence(
        _ direction: PolicyDirection, workload: String, peer: String, port: String
    ) -> String {
        let tunnel = isTunnelled ? ", through a tunnel with mutual TLS" : ""
        return text(direction, workload, peer, port, isTunnelled ? .allow : verdict) + tunnel
    }

    private func text(
        _ direction: PolicyDirection, _ workload: String, _ peer: String, _ port: String, _ verdict: PolicyVerdict
    ) -> String {
        guard let layer else { return "no policy restricts \(direction) of \(workload)" }
        let by = direction == .egress ? "to \(peer) on \(port)" : "from \(peer) on \(port)"
        let names = references.prefix(3).map(\.description).joined(separator: ", ")
        let some = references.count > 3 ? "\(names) and \(references.count - 3) more" : names
        switch (layer.stage, rule, verdict) {
        case (_, let rule?, .needsProxy):
            return "\(some), rules[\(rule.index ?? 0)], decides for each request to \(workload) \(by)"
        case (.networkPolicy, let rule?, _) where rule.policy == nil:
            return "traffic from a pod's own node is always allowed in"
        case (.networkPolicy, let rule?, _):
            return "\(some), \(direction)[\(rule.index ?? 0)], allows \(direction) of \(workload) \(by)"
        case (.networkPolicy, nil, _):
            return "\(some) restricts \(direction) of \(workload), and no rule allows it \(by)"
        case (.peerAuthentication, .some, _):
            return "\(some) demands a proved identity (STRICT) of clients of \(workload) on \(port), and \(peer) "
                + "is known by its address only"
        case (.peerAuthentication, nil, _):
            return "\(some) demands a proved identity (STRICT), and \(peer) has one or is exempt"
        case (.authorizationDeny, let rule?, _):
            return "\(some), rules[\(rule.index ?? 0)], denies \(workload) clients \(by)"
        case (.authorizationDeny, nil, _):
            return "no rule of \(some), which denies, matches \(by)"
        case (.authorizationAllow, let rule?, _):
            return "\(some), rules[\(rule.index ?? 0)], allows clients of \(workload) \(by)"
        case (.authorizationAllow, nil, _):
            return "\(some) allows only what its rules say for \(workload), and none matches \(by)"
        }
    }
}
