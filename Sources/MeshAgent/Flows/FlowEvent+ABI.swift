// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import LinuxIO
import MeshAdmin
import MeshModel

extension FlowEvent {
    /// - Parameters:
    ///   - wallClock: what to add to CLOCK_MONOTONIC to have the time of day, in nanoseconds.
    /// - Returns: `nil` for a type that this agent does not know.
    init?(_ event: mesh_event, wallClock: Int64, names: some MeshNames) {
        let kind: Kind
        switch mesh_event_type(UInt32(event.type)) {
        case MESH_EVENT_OPENED: kind = .opened
        case MESH_EVENT_DENIED: kind = .denied
        case MESH_EVENT_CLOSED: kind = .closed
        case MESH_EVENT_CUT: kind = .cut
        case MESH_EVENT_DRY_RUN: kind = .dryRun
        default: return nil
        }
        let isEgress = event.direction == UInt8(MESH_EGRESS.rawValue)
        let transport: TransportProtocol = event.protocol == UInt8(MESH_PROTO_UDP.rawValue) ? .udp : .tcp
        let source = IPAddress(event.source)
        let destination = IPAddress(event.destination)
        self.init(
            time: Timestamp(nanoseconds: Int64(bitPattern: event.time_ns) &+ wallClock), kind: kind,
            protocol: transport.rawValue,
            source: names.end(
                source, event.source_port, netns: isEgress ? event.netns : event.peer_netns,
                identity: event.source_identity),
            destination: names.end(
                destination, event.destination_port, netns: isEgress ? event.peer_netns : event.netns,
                identity: event.destination_identity),
            serviceAddress: names.serviceAddress(IPAddress(event.service_address), event.service_port, transport),
            direction: isEgress ? .egress : .ingress, reporter: names.workload(in: event.netns)?.description,
            reason: ReasonName.of(event.reason), generation: event.generation)
        // A refused connect() has not chosen a source address yet: the pod's own is meant.
        if source.isUnspecified, let workload = names.workload(in: event.netns), isEgress {
            self.source.workload = workload.description
        }
        policy = Self.decidingPolicy(
            mesh_reason(UInt32(event.reason)), event.destination_port, transport, self.source, self.destination, names)
        if kind == .closed { setClosing(event) }
    }

    /// A connection that the agent has cut because `generation` denies it, or its service its endpoint.
    init(cut connection: ConnectionEnd, reason: mesh_reason, generation: UInt32, names: some MeshNames) {
        let flow = connection.flow
        let end = connection.end
        let isClient = connection.isClient
        self.init(
            cut: flow, sourcePort: isClient ? connection.key.local_port : connection.key.remote_port,
            identities: isClient ? (end.identity, end.peer_identity) : (end.peer_identity, end.identity),
            service: connection.service, isEgress: isClient, reporter: end.netns, reason: reason,
            generation: generation, names: names)
    }

    /// The same of a connected UDP socket.
    ///
    /// - Parameter flow: the socket's, from its initiator's side.
    init(
        cut socket: ConnectedUDPSocket, _ flow: KernelTables.FlowQuestion, reason: mesh_reason, generation: UInt32,
        names: some MeshNames
    ) {
        self.init(
            cut: flow, sourcePort: socket.wasAsked ? socket.tuple.remotePort : socket.tuple.localPort,
            identities: (0, 0), service: socket.service, isEgress: !socket.wasAsked, reporter: socket.netns,
            reason: reason, generation: generation, names: names)
    }

    /// - Parameter identities: of source and destination, 0 where nothing has recorded it.
    private init(
        cut flow: KernelTables.FlowQuestion, sourcePort: UInt16, identities: (UInt32, UInt32), service: ServiceKey?,
        isEgress: Bool, reporter: NetnsCookie, reason: mesh_reason, generation: UInt32, names: some MeshNames
    ) {
        let transport: TransportProtocol = flow.transport == .udp ? .udp : .tcp
        self.init(
            time: .now, kind: .cut, protocol: transport.rawValue,
            source: names.end(
                flow.source, sourcePort, netns: flow.sourceNetns ?? 0, identity: identities.0),
            destination: names.end(
                flow.destination, flow.port, netns: flow.destinationNetns ?? 0, identity: identities.1),
            serviceAddress: service.flatMap { names.serviceAddress($0.address, $0.port, transport) },
            direction: isEgress ? .egress : .ingress, reporter: names.workload(in: reporter)?.description,
            reason: ReasonName.of(reason.rawValue), generation: generation)
        policy = Self.decidingPolicy(reason, flow.port, transport, source, destination, names)
    }

    private static func decidingPolicy(
        _ reason: mesh_reason, _ port: UInt16, _ transport: TransportProtocol, _ source: EndReport,
        _ destination: EndReport, _ names: some MeshNames
    ) -> PolicyReference? {
        let direction: PolicyDirection
        switch reason {
        case MESH_REASON_POLICY_EGRESS: direction = .egress
        case MESH_REASON_POLICY_INGRESS: direction = .ingress
        default: return nil
        }
        func peer(_ end: EndReport) -> PolicyPeer? {
            end.workload.flatMap { NamespacedName($0) }.map(PolicyPeer.pod)
                ?? IPAddress(end.address).map { .address($0) }
        }
        guard let source = peer(source), let destination = peer(destination) else { return nil }
        return names.decidingPolicy(
            PolicyQuestion(source: source, destination: destination, port: port, transport: transport), direction)
    }

    private mutating func setClosing(_ event: mesh_event) {
        sent = PathReport(event.path.0, reason: event.path_reason.0)
        received = PathReport(event.path.1, reason: event.path_reason.1)
        bytesSent = event.bytes_sent
        bytesReceived = event.bytes_received
        bytesRedirected = event.bytes_redirected
        durationSeconds = Double(event.duration_ns) / 1e9
        rttMicroseconds = event.srtt_us
        retransmits = event.retransmits
    }
}

extension PathReport {
    /// - Parameters: `enum mesh_path` and `enum mesh_reason`.
    init(_ path: UInt8, reason: UInt8) {
        let kind: Path =
            switch mesh_path(UInt32(path)) {
            case MESH_PATH_REDIRECT: .redirect
            case MESH_PATH_TCP: .tcp
            case MESH_PATH_DENIED: .denied
            default: .new
            }
        self.init(kind, reason: ReasonName.of(reason))
    }
}
