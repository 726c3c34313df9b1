// SPDX-License-Identifier: Apache-2.0

public import CMeshABI

/// Every map of the mesh, typed and checked. `bpf/sockmap/maps.h` says who writes each and what full means.
public struct MeshMaps: ~Copyable {
    /// Generation, gates and limits; shared memory.
    public let control: MappedValue<mesh_control>
    /// Enrolled pods by netns cookie.
    public let workloads: BPFMap<UInt64, mesh_workload>
    /// Single addresses.
    public let addresses: BPFMap<mesh_ip, mesh_address>
    /// Named prefixes.
    public let cidrs: BPFMap<mesh_cidr_key, mesh_address>
    /// Service addresses.
    public let services: BPFMap<mesh_service_key, mesh_service>
    /// Columns of alias tables.
    public let backends: BPFMap<mesh_backend_key, mesh_backend>
    /// Session affinity; LRU.
    public let affinity: BPFMap<mesh_affinity_key, mesh_affinity>
    /// Ready endpoints of services with affinity; the value is 1.
    public let members: BPFMap<mesh_member_key, UInt32>
    /// Policy sets by number; 0 is never read.
    public let policySets: BPFMap<UInt32, mesh_policy_set>
    /// Port maps by number.
    public let portMaps: BPFMap<UInt32, mesh_port_map>
    /// Port pages by number.
    public let portPages: BPFMap<UInt32, mesh_port_page>
    /// Exceptions from the default of a port class.
    public let policy: BPFMap<mesh_policy_key, mesh_policy_entry>
    /// Ports taken out of the mesh; the value is 1.
    public let skipPorts: BPFMap<mesh_skip_key, UInt32>
    /// Ports that the node's probes ask; the value is 1, the direction ingress.
    public let probes: BPFMap<mesh_skip_key, UInt32>
    /// Services that clients of a route class reach through the proxy; the value is 1.
    public let routes: BPFMap<mesh_route_key, UInt32>
    /// Where the proxy listens inside pods, by netns cookie; change rows by ``DataPlane/setListener(_:in:)``.
    public let listeners: BPFMap<UInt64, mesh_listener>
    /// The proxy's listeners for IPv4 connections from outside the mesh, by netns cookie.
    public let inbound4: SocketHash
    /// The same for IPv6.
    public let inbound6: SocketHash
    /// Marks of the sockets that the proxy's factory makes.
    public let legs: SocketStorage<mesh_leg>
    /// Ends of TCP connections.
    public let ends: BPFMap<mesh_flow_key, mesh_end>
    /// Sockets that may be redirected to, by socket cookie.
    public let sockets: SocketHash
    /// sk_storage of sockets; read through sock_diag with the map's descriptor.
    public let socketState: MapHandle
    /// Whom pods sent datagrams to.
    public let udpFlows: BPFMap<mesh_udp_key, mesh_udp_flow>
    /// Whom pods had datagrams from; LRU.
    public let udpAsked: BPFMap<mesh_udp_key, mesh_udp_flow>
    /// Service addresses behind unconnected UDP peers; LRU.
    public let udpReverse: BPFMap<mesh_udp_reverse_key, mesh_udp_reverse>
    /// What each workload has used, by netns cookie.
    public let usage: BPFMap<UInt64, mesh_usage>
    /// Counters by `enum mesh_reason`.
    public let stats: PerCPUCounters
    /// Slot 0: the verdict in force.
    public let slots: ProgramArray
    private let events: MapHandle

    /// Opens all maps through `open`, which is asked by map name.
    ///
    /// - Throws: what `open` throws, and ``BPFError`` with `.open` for a map of another layout.
    init(_ open: (String) throws(BPFError) -> MapHandle) throws(BPFError) {
        // First all that can throw: a noncopyable value must not throw half initialised.
        let control = try MappedValue<mesh_control>(open("mesh_control"))
        let workloads = try BPFMap<UInt64, mesh_workload>(open("mesh_workloads"))
        let addresses = try BPFMap<mesh_ip, mesh_address>(open("mesh_addresses"))
        let cidrs = try BPFMap<mesh_cidr_key, mesh_address>(open("mesh_cidrs"))
        let services = try BPFMap<mesh_service_key, mesh_service>(open("mesh_services"))
        let backends = try BPFMap<mesh_backend_key, mesh_backend>(open("mesh_backends"))
        let affinity = try BPFMap<mesh_affinity_key, mesh_affinity>(open("mesh_affinity"))
        let members = try BPFMap<mesh_member_key, UInt32>(open("mesh_members"))
        let policySets = try BPFMap<UInt32, mesh_policy_set>(open("mesh_policy_set"))
        let portMaps = try BPFMap<UInt32, mesh_port_map>(open("mesh_port_maps"))
        let portPages = try BPFMap<UInt32, mesh_port_page>(open("mesh_port_pages"))
        let policy = try BPFMap<mesh_policy_key, mesh_policy_entry>(open("mesh_policy"))
        let skipPorts = try BPFMap<mesh_skip_key, UInt32>(open("mesh_skip_ports"))
        let probes = try BPFMap<mesh_skip_key, UInt32>(open("mesh_probes"))
        let routes = try BPFMap<mesh_route_key, UInt32>(open("mesh_routes"))
        let listeners = try BPFMap<UInt64, mesh_listener>(open("mesh_listeners"))
        let inbound4 = try SocketHash(open("mesh_inbound4"))
        let inbound6 = try SocketHash(open("mesh_inbound6"))
        let legs = try SocketStorage<mesh_leg>(open("mesh_leg"))
        let ends = try BPFMap<mesh_flow_key, mesh_end>(open("mesh_ends"))
        let sockets = try SocketHash(open("mesh_sockets"))
        let socketState = try open("mesh_sock_state")
        try socketState.requireSocketStorage(valueSize: MemoryLayout<mesh_sock>.stride)
        let udpFlows = try BPFMap<mesh_udp_key, mesh_udp_flow>(open("mesh_udp_flows"))
        let udpAsked = try BPFMap<mesh_udp_key, mesh_udp_flow>(open("mesh_udp_asked"))
        let udpReverse = try BPFMap<mesh_udp_reverse_key, mesh_udp_reverse>(open("mesh_udp_rev"))
        let usage = try BPFMap<UInt64, mesh_usage>(open("mesh_usage"))
        let stats = try PerCPUCounters(open("mesh_stats"))
        let slots = try ProgramArray(open("mesh_slots"))
        let events = try open("mesh_events")

        self.control = control
        self.workloads = workloads
        self.addresses = addresses
        self.cidrs = cidrs
        self.services = services
        self.backends = backends
        self.affinity = affinity
        self.members = members
        self.policySets = policySets
        self.portMaps = portMaps
        self.portPages = portPages
        self.policy = policy
        self.skipPorts = skipPorts
        self.probes = probes
        self.routes = routes
        self.listeners = listeners
        self.inbound4 = inbound4
        self.inbound6 = inbound6
        self.legs = legs
        self.ends = ends
        self.sockets = sockets
        self.socketState = socketState
        self.udpFlows = udpFlows
        self.udpAsked = udpAsked
        self.udpReverse = udpReverse
        self.usage = usage
        self.stats = stats
        self.slots = slots
        self.events = events
    }

    /// Opens the maps that a node has pinned, for example to read them without its agent.
    ///
    /// - Throws: ``BPFError`` with `.open`; ENOENT if nothing is installed there.
    public init(pinnedBy configuration: DataPlaneConfiguration) throws(BPFError) {
        try self.init { name throws(BPFError) in try MapHandle(pinned: configuration.mapPath(name)) }
    }

    /// The reading end of the flow events. There must be one reader only, the agent.
    public func openEvents() throws(BPFError) -> RingBuffer {
        try RingBuffer(events.duplicate())
    }
}
