// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import Logging
import MeshAdmin
import MeshManifests
import MeshModel
import SockOps

/// Makes the answer to `meshctl policy explain`: the verdict from the live maps, the reason from the evaluator.
struct Explainer {
    let node: Node
    private let names: AgentNames

    var compiler: MeshCompiler { node.state.reconciler.compiler }

    init(_ node: Node) {
        self.node = node
        names = AgentNames(node.state.reconciler)
    }

    /// One end of the question.
    struct End {
        var peer: PolicyPeer
        var address: IPAddress
        var port: UInt16
    }

    /// A Service that the question is about.
    struct Target {
        var key: ServiceKey
        var service: CompiledService
    }

    func explain(_ request: ExplainRequest) throws(AdminError) -> ExplainReport {
        guard let transport = TransportProtocol(rawValue: request.protocol), transport != .sctp else {
            throw AdminError(.invalidRequest, "'\(request.protocol)' is no protocol of the mesh", hint: "TCP or UDP")
        }
        let source = try podOrAddress(request.source, port: 0)
        let (target, destinations) = try destinations(request.destination, request.port, transport)
        var answers: [ExplainReport.Answer] = []
        var generation = node.writer.tables.generation
        var findings: [MeshAdmin.Finding] = []
        for destination in destinations {
            let kernel = try ask(source, destination, transport)
            generation = kernel.generation
            answers.append(try answer(source, destination, transport, kernel, &findings))
        }
        let verdicts = Set(answers.map(\.verdict))
        let together: ExplainReport.Verdict =
            verdicts.count > 1 ? .mixed : verdicts.first ?? .deny
        if destinations.isEmpty {
            findings.append(
                MeshAdmin.Finding(.warning, "the service has no ready endpoint: connections are refused (no-endpoint)"))
        }
        return ExplainReport(
            source: names.end(source.address, 0, netns: cookie(source.peer), identity: number(source.address)),
            service: target.map(report), port: request.port, protocol: transport.rawValue, verdict: together,
            answers: answers, generation: generation, findings: findings + limits(source, destinations),
            request: try request.request.map { question throws(AdminError) in
                try self.request(question, request, source, target, destinations, answers, transport)
            })
    }

    // MARK: - Ends

    private func podOrAddress(_ text: String, port: UInt16) throws(AdminError) -> End {
        if let address = IPAddress(text) {
            let owner = compiler.mesh.addresses[address]?.workload
            return End(peer: owner.map(PolicyPeer.pod) ?? .address(address), address: address, port: port)
        }
        let name = text.hasPrefix("pod/") ? String(text.dropFirst(4)) : text
        guard let name = NamespacedName(name), let pod = pod(name), let address = pod.podIPs.first else {
            throw AdminError(
                .notFound, "'\(text)' is neither an address nor a pod with one that is known here",
                hint: "write NAMESPACE/NAME; meshctl workloads --all lists the pods")
        }
        return End(peer: .pod(name), address: address, port: port)
    }

    /// What a name, or an address, stands for: one end, or the backends of a service.
    private func destinations(
        _ text: String, _ port: UInt16, _ transport: TransportProtocol
    ) throws(AdminError) -> (Target?, [End]) {
        if let address = IPAddress(text) {
            let key = ServiceKey(address: address, port: port, transport: transport)
            guard let service = compiler.mesh.services[key] else {
                return (nil, [try podOrAddress(text, port: port)])
            }
            return (Target(key: key, service: service), backends(service))
        }
        let isService = text.hasPrefix("service/")
        let name = NamespacedName(isService ? String(text.dropFirst(8)) : text)
        let object = name.flatMap(service)
        if let name, object != nil, !isService, pod(name) != nil {
            throw AdminError(
                .invalidRequest, "'\(text)' is a pod and a service", hint: "write pod/\(text) or service/\(text)")
        }
        guard let name, let object else {
            if isService {
                throw AdminError(.notFound, "there is no service '\(text.dropFirst(8))'", hint: "see meshctl services")
            }
            return (nil, [try podOrAddress(text, port: port)])
        }
        let matching = compiler.mesh.services.filter {
            $0.value.service == name && $0.key.port == port && $0.key.transport == transport
        }
        guard let (key, compiled) = matching.min(by: { $0.key < $1.key }) else {
            throw AdminError(
                .notFound, "service \(name) has no address with port \(port)/\(transport.rawValue)",
                hint: object.isHeadless
                    ? "it is headless: ask about one of its pods" : "meshctl services shows its ports")
        }
        return (Target(key: key, service: compiled), backends(compiled))
    }

    private func backends(_ service: CompiledService) -> [End] {
        service.backends.map { end($0.address, $0.port) }
    }

    func end(_ address: IPAddress, _ port: UInt16) -> End {
        let owner = compiler.mesh.addresses[address]?.workload
        return End(peer: owner.map(PolicyPeer.pod) ?? .address(address), address: address, port: port)
    }

    private func report(_ target: Target) -> ServiceAddressReport {
        ServiceAddressReport(
            service: target.service.service.description, address: target.key.address.description, port: target.key.port)
    }

    func pod(_ name: NamespacedName) -> Pod? {
        let reference = ObjectReference(apiVersion: "v1", kind: "Pod", namespace: name.namespace, name: name.name)
        guard case .pod(let pod)? = node.state.store.objects[reference] else { return nil }
        return pod
    }

    private func service(_ name: NamespacedName) -> Service? {
        let reference = ObjectReference(apiVersion: "v1", kind: "Service", namespace: name.namespace, name: name.name)
        guard case .service(let service)? = node.state.store.objects[reference] else { return nil }
        return service
    }

    func cookie(_ peer: PolicyPeer) -> NetnsCookie {
        guard case .pod(let name) = peer else { return 0 }
        return node.state.reconciler.inForce[name]?.netns ?? 0
    }

    private func number(_ address: IPAddress) -> UInt32 { compiler.mesh.addresses[address]?.identity.rawValue ?? 0 }

    // MARK: - Answers

    func ask(_ source: End, _ destination: End, _ transport: TransportProtocol) throws(AdminError) -> mesh_query {
        var question = mesh_query()
        question.source_netns = cookie(source.peer)
        question.source = mesh_ip(source.address)
        question.destination = mesh_ip(destination.address)
        question.port = destination.port
        question.protocol = transport.number
        do throws(BPFError) { return try node.writer.plane.ask(question) } catch {
            throw AdminError(.failed, "the kernel did not answer: \(error)")
        }
    }

    private func answer(
        _ source: End, _ destination: End, _ transport: TransportProtocol, _ kernel: mesh_query,
        _ findings: inout [MeshAdmin.Finding]
    ) throws(AdminError) -> ExplainReport.Answer {
        func explain(isInClear: Bool) throws(AdminError) -> PolicyExplanation {
            do throws(UnknownPodError) {
                return try compiler.explain(
                    PolicyQuestion(
                        source: source.peer, destination: destination.peer, port: destination.port,
                        transport: transport, isIPv4: destination.address.isIPv4, isInClear: isInClear))
            } catch {
                throw AdminError(.notFound, "\(error)")
            }
        }
        // The kernel is asked by addresses: of what comes through a tunnel it would know more.
        let explanation = try explain(isInClear: true)
        let isAllowed = kernel.verdict == UInt8(MESH_VERDICT_ALLOW.rawValue)
        let reason = ReasonName.of(kernel.reason)
        if isAllowed != (explanation.verdict == .allow) {
            let text =
                "the kernel says \(isAllowed ? "allow" : "deny") (\(reason ?? "no reason")) to \(source.peer) -> "
                + "\(destination.peer):\(destination.port), but the evaluator says \(explanation.verdict)"
            findings.append(
                MeshAdmin.Finding(.error, text, hint: "this is a fault of Sockmesh: report it with both policies"))
            node.report(disagreement: text)
        }
        if transport == .tcp, case .pod(let name) = source.peer, compiler.provesByTunnel(name) {
            return try answer(
                throughTunnel: explain(isInClear: false), destination, kernel, isAllowedInClear: isAllowed)
        }
        let verdict: ExplainReport.Verdict =
            isAllowed ? .allow : kernel.reason == UInt8(MESH_REASON_NEEDS_PROXY.rawValue) ? .needsL7 : .deny
        return ExplainReport.Answer(
            destination: names.end(
                destination.address, destination.port, netns: cookie(destination.peer),
                identity: kernel.destination_identity),
            verdict: verdict, reason: reason, egress: side(explanation.egress, kernel.egress, kernel.source_set),
            ingress: side(explanation.ingress, kernel.ingress, kernel.destination_set),
            peerAuthentication: demand(of: destination),
            path: isAllowed && transport == .tcp ? path(source, destination) : nil)
    }

    /// Of a pod of another node that takes tunnels: what is decided when its certificate has proved who it is.
    private func answer(
        throughTunnel explanation: PolicyExplanation, _ destination: End, _ kernel: mesh_query, isAllowedInClear: Bool
    ) -> ExplainReport.Answer {
        let ingress = explanation.ingress
        var report = side(ingress, UInt8(ingress.verdict.rawValue), kernel.destination_set)
        if !isAllowedInClear, ingress.verdict != .deny { report?.explanation += "; in clear it would be refused" }
        return ExplainReport.Answer(
            destination: names.end(
                destination.address, destination.port, netns: cookie(destination.peer),
                identity: kernel.destination_identity),
            verdict: ExplainReport.Verdict(explanation.verdict),
            reason: explanation.verdict == .deny ? ReasonName.of(MESH_REASON_POLICY_INGRESS.rawValue) : nil,
            egress: nil, ingress: report, peerAuthentication: demand(of: destination))
    }

    private func demand(of destination: End) -> String? {
        guard case .pod(let name) = destination.peer else { return nil }
        return compiler.peerAuthentication(of: name, port: destination.port)?.description
    }

    private func side(
        _ side: PolicyExplanation.Side, _ verdict: UInt8, _ set: UInt32
    ) -> ExplainReport.DirectionReport? {
        guard side.isEnforced else { return nil }
        return ExplainReport.DirectionReport(
            verdict: ExplainReport.Verdict(PolicyVerdict(rawValue: verdict) ?? .deny), policySet: set,
            policies: side.policies.map { PolicyReference($0) }, explanation: side.sentence)
    }

    /// As `acceleration_gate` in bpf/sockmap decides it.
    private func path(_ source: End, _ destination: End) -> PathReport {
        let rows = [source, destination].map { node.writer.tables.workloads[cookie($0.peer)] }
        guard let own = rows[0], let peer = rows[1] else {
            return PathReport(.tcp, reason: ReasonName.of(MESH_REASON_PEER_REMOTE.rawValue))
        }
        let both = own.flags & peer.flags
        func has(_ flag: mesh_workload_flags) -> Bool { both & flag.rawValue != 0 }
        let isAuto = (own.flags | peer.flags) & MESH_WL_AUTO.rawValue != 0
        let reason: mesh_reason =
            !has(MESH_WL_ACCELERATE)
            ? isAuto ? MESH_REASON_ACCEL_AUTO : MESH_REASON_ACCEL_DISABLED
            : !has(MESH_WL_LOCAL_VETH)
                ? MESH_REASON_PEER_REMOTE : node.selfTest.allowsEnabled ? MESH_REASON_NONE : MESH_REASON_NODE_GATE
        return reason == MESH_REASON_NONE
            ? PathReport(.redirect) : PathReport(.tcp, reason: ReasonName.of(reason.rawValue))
    }

    /// What the answer does not cover.
    private func limits(_ source: End, _ destinations: [End]) -> [MeshAdmin.Finding] {
        var found: [MeshAdmin.Finding] = []
        for peer in Set([source.peer] + destinations.map(\.peer)) {
            guard case .pod(let name) = peer, cookie(peer) == 0 else { continue }
            let why = pod(name)?.hostNetwork == true ? "uses the node's network" : "is not enrolled on this node"
            found.append(MeshAdmin.Finding(.warning, "pod \(name) \(why): its own policies are not decided here"))
        }
        return found.sorted { $0.message < $1.message }
    }
}
