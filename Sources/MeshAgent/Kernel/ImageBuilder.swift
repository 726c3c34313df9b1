// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshModel

/// What is found out about an enrolled pod, besides what objects say.
struct EnrolledPod: Hashable, Sendable {
    var netns: NetnsCookie
    /// Its addresses are on veths, so bytes that skip the device have not skipped a wire.
    var isOnVeth: Bool
    /// False: its identity or policy cannot be in force, so everything but its loopback is refused.
    var isReady = true
    /// False: the kernel has refused the sk_lookup program in its namespace.
    var takesLookup = true
}

/// Keeps the ``KernelImage`` of a compiled mesh, change by change.
struct ImageBuilder: Sendable {
    private(set) var image = KernelImage()
    private var registry: ContentRegistry
    private var setNumbers: [PolicySetID: UInt32] = [:]
    private var cookies: [NamespacedName: NetnsCookie] = [:]
    private var services: [ServiceKey: CompiledService] = [:]
    private var portMapUses = UseCounts<UInt32>()
    private var pageUses = UseCounts<UInt16>()
    private var backendUses = UseCounts<UInt32>()
    private var memberUses = UseCounts<MemberKey>()
    private var routeUses = UseCounts<RouteKey>()
    /// Who is led to the proxy by a service's row.
    private var captures: [ServiceKey: ServiceCapture] = [:]

    /// An empty image, whose content will have the numbers that it has in the kernel.
    init(adopting tables: KernelTables) {
        registry = ContentRegistry(adopting: tables)
    }

    /// Takes over what a compilation changed.
    ///
    /// - Parameters:
    ///   - pods: the enrolled pods; the compiler must have been told the same names.
    ///   - changedPods: those of whom `pods` says something new.
    ///   - acknowledged: whose connections the proxy is ready for; nobody else's are led there.
    /// - Returns: where the image may differ now.
    /// - Throws: if numbers run out. The image is of no use then: make a new builder.
    mutating func update(
        to mesh: CompiledMesh, _ changes: CompiledChanges, pods: [NamespacedName: EnrolledPod],
        changedPods: Set<NamespacedName> = [], acknowledged: [ServiceKey: ServiceCapture] = [:]
    ) throws(ContentRegistry.Full) -> ImageKeys {
        var keys = ImageKeys()
        for id in changes.policySets {
            if let set = mesh.policySets[id] { try retain(set, id, &keys) }
        }
        var addresses = changes.addresses
        let names = changes.workloads.union(changedPods)
        // Who gives a namespace up before who takes it over.
        for name in names { addresses.formUnion(removeWorkload(name, &keys)) }
        for name in names {
            guard let pod = pods[name] else { continue }
            guard pod.isReady else {
                setRefused(name, pod, &keys)
                continue
            }
            guard let workload = mesh.workloads[name] else { continue }
            setWorkload(name, workload, pod, &keys)
            addresses.formUnion(workload.addresses)
        }
        for address in addresses { setAddress(address, mesh.addresses[address], pods, &keys) }
        for cidr in changes.cidrs {
            keys.cidrs.insert(cidr)
            image.cidrs[cidr] = mesh.cidrs[cidr].map { KernelImage.Address(identity: $0) }
        }
        for key in changes.services { try setService(key, mesh.services[key], acknowledged[key] ?? .none, &keys) }
        for id in changes.policySets where mesh.policySets[id] == nil { release(id, &keys) }
        return keys
    }

    /// Everything that `mesh` says, for a new builder.
    mutating func build(
        _ mesh: CompiledMesh, pods: [NamespacedName: EnrolledPod], acknowledged: [ServiceKey: ServiceCapture] = [:]
    ) throws(ContentRegistry.Full) -> ImageKeys {
        try update(to: mesh, mesh.allKeys, pods: pods, acknowledged: acknowledged)
    }

    /// Forgets the numbers of what has left the kernel, but for those that the image has taken up again meanwhile.
    mutating func release(_ garbage: [MapOperation]) {
        registry.release(
            garbage.filter { operation in
                switch operation {
                case .page(let number, _): image.pages[number] == nil
                case .portMap(let number, _): image.portMaps[number] == nil
                case .policySet(let number, _): image.policySets[number] == nil
                case .backend(let set, _, _): image.backendSets[set] == nil
                default: true
                }
            })
    }

    /// The kernel's number of a policy set; 0 for ``PolicySetID/none``.
    func number(of set: PolicySetID) -> UInt32 { setNumbers[set] ?? 0 }

    // MARK: - Policy sets

    private mutating func retain(
        _ set: PolicySet, _ id: PolicySetID, _ keys: inout ImageKeys
    ) throws(ContentRegistry.Full) {
        let encoded = try registry.encode(set)
        setNumbers[id] = encoded.number
        guard image.policySets[encoded.number] == nil else { return }
        image.policySets[encoded.number] = encoded.row
        keys.policySets.insert(encoded.number)
        for number in encoded.row.portMaps where portMapUses.retain(number) {
            guard let map = encoded.portMaps[number] else { continue }
            image.portMaps[number] = map
            keys.portMaps.insert(number)
            for page in Set(map.pages) where pageUses.retain(page) {
                image.pages[page] = encoded.pages[page]
                keys.pages.insert(page)
            }
        }
    }

    private mutating func release(_ id: PolicySetID, _ keys: inout ImageKeys) {
        guard let number = setNumbers.removeValue(forKey: id), !setNumbers.values.contains(number),
            let row = image.policySets.removeValue(forKey: number)
        else { return }
        keys.policySets.insert(number)
        for portMap in row.portMaps where portMapUses.release(portMap) {
            keys.portMaps.insert(portMap)
            for page in Set(image.portMaps.removeValue(forKey: portMap)?.pages ?? []) where pageUses.release(page) {
                image.pages[page] = nil
                keys.pages.insert(page)
            }
        }
    }

    // MARK: - Workloads and addresses

    /// - Returns: addresses whose rows name the workload.
    private mutating func removeWorkload(_ name: NamespacedName, _ keys: inout ImageKeys) -> [IPAddress] {
        guard let cookie = cookies.removeValue(forKey: name) else { return [] }
        keys.workloads.insert(cookie)
        for key in image.skipPorts where key.netns == cookie {
            image.skipPorts.remove(key)
            keys.skipPorts.insert(key)
        }
        for key in image.probePorts where key.netns == cookie {
            image.probePorts.remove(key)
            keys.probePorts.insert(key)
        }
        return image.workloads.removeValue(forKey: cookie)?.addresses ?? []
    }

    private mutating func setWorkload(
        _ name: NamespacedName, _ workload: CompiledWorkload, _ pod: EnrolledPod, _ keys: inout ImageKeys
    ) {
        cookies[name] = pod.netns
        keys.workloads.insert(pod.netns)
        var flags = MESH_WL_READY.rawValue
        switch workload.acceleration {
        case .enabled: flags |= MESH_WL_ACCELERATE.rawValue
        case .auto: flags |= MESH_WL_AUTO.rawValue
        case .disabled: break
        }
        if workload.allowsRawSockets { flags |= MESH_WL_RAW_SOCKETS.rawValue }
        if pod.isOnVeth { flags |= MESH_WL_LOCAL_VETH.rawValue }
        let skipped =
            workload.skipInboundPorts.map { SkipPortKey(netns: pod.netns, port: $0, direction: .ingress) }
            + workload.skipOutboundPorts.map { SkipPortKey(netns: pod.netns, port: $0, direction: .egress) }
        if !skipped.isEmpty { flags |= MESH_WL_SKIP_PORTS.rawValue }
        image.skipPorts.formUnion(skipped)
        keys.skipPorts.formUnion(skipped)
        let probed = workload.probePorts.map { SkipPortKey(netns: pod.netns, port: $0, direction: .ingress) }
        if !probed.isEmpty { flags |= MESH_WL_PROBE_PORTS.rawValue }
        image.probePorts.formUnion(probed)
        keys.probePorts.formUnion(probed)
        image.workloads[pod.netns] = KernelImage.Workload(
            identity: workload.identity, policySet: number(of: workload.policySet),
            dryRunSet: number(of: workload.dryRunSet), flags: flags, routeClass: workload.routeClass,
            addresses: workload.addresses)
    }

    /// A row without MESH_WL_READY, and no address that names it: neither in nor out, whatever its addresses are.
    private mutating func setRefused(_ name: NamespacedName, _ pod: EnrolledPod, _ keys: inout ImageKeys) {
        cookies[name] = pod.netns
        keys.workloads.insert(pod.netns)
        image.workloads[pod.netns] = KernelImage.Workload(
            identity: PerFamily(ipv4: .unknown, ipv6: .unknown), policySet: 0, dryRunSet: 0, flags: 0,
            takesLookup: pod.takesLookup)
    }

    private mutating func setAddress(
        _ address: IPAddress, _ compiled: CompiledAddress?, _ pods: [NamespacedName: EnrolledPod],
        _ keys: inout ImageKeys
    ) {
        keys.addresses.insert(address)
        guard let compiled else {
            image.addresses[address] = nil
            return
        }
        var row = KernelImage.Address(identity: compiled.identity)
        if compiled.isService { row.flags |= MESH_ADDR_SERVICE.rawValue }
        if compiled.isNode { row.flags |= MESH_ADDR_NODE.rawValue }
        if compiled.isLocal, let name = compiled.workload, let pod = pods[name], pod.isReady {
            if compiled.needsRecord { row.flags |= MESH_ADDR_NEEDS_RECORD.rawValue }
            row.netns = pod.netns
        }
        image.addresses[address] = row
    }

    // MARK: - Services

    private mutating func setService(
        _ key: ServiceKey, _ service: CompiledService?, _ acknowledged: ServiceCapture, _ keys: inout ImageKeys
    ) throws(ContentRegistry.Full) {
        keys.services.insert(key)
        let old = image.services.removeValue(forKey: key)
        let oldMembers = Self.members(services[key])
        let oldRoutes = Self.routes(services[key], captures[key])
        let capture = service?.capture.intersection(acknowledged)
        captures[key] = capture == ServiceCapture.none ? nil : capture
        services[key] = service
        if let service {
            for member in Self.members(service) where memberUses.retain(member) {
                image.members.insert(member)
                keys.members.insert(member)
            }
            for route in Self.routes(service, capture) where routeUses.retain(route) {
                image.routes.insert(route)
                keys.routes.insert(route)
            }
            var set: UInt32 = 0
            if !service.backends.isEmpty {
                let columns = Self.columns(service.backends)
                set = try registry.number(of: columns)
                if backendUses.retain(set) {
                    image.backendSets[set] = columns
                    keys.backendSets.insert(set)
                }
            }
            image.services[key] = ServiceRow(
                service: service.number, backendSet: set, slots: UInt32(service.backends.count),
                affinitySeconds: service.affinitySeconds, flags: Self.flags(capture))
        }
        // After the new ones, so that what stays in use is not seen to go.
        for member in oldMembers where memberUses.release(member) {
            image.members.remove(member)
            keys.members.insert(member)
        }
        for route in oldRoutes where routeUses.release(route) {
            image.routes.remove(route)
            keys.routes.insert(route)
        }
        if let old, old.slots > 0, backendUses.release(old.backendSet) {
            image.backendSets[old.backendSet] = nil
            keys.backendSets.insert(old.backendSet)
        }
    }

    private static func members(_ service: CompiledService?) -> [MemberKey] {
        guard let service, service.affinitySeconds > 0 else { return [] }
        return service.backends.map { MemberKey(service: service.number, address: $0.address, port: $0.port) }
    }

    private static func routes(_ service: CompiledService?, _ capture: ServiceCapture?) -> [RouteKey] {
        guard let service, case .classes(let classes)? = capture else { return [] }
        return classes.map { RouteKey(service: service.number, routeClass: $0) }
    }

    private static func flags(_ capture: ServiceCapture?) -> UInt32 {
        switch capture {
        case .all?: MESH_SVC_CAPTURE.rawValue
        case .classes?: MESH_SVC_CAPTURE_CLASS.rawValue
        case ServiceCapture.none?, nil: 0
        }
    }

    private static func columns(_ backends: [Backend]) -> [BackendColumn] {
        let table = AliasTable(weights: backends.map(\.weight))
        return zip(backends, table.columns).map { backend, column in
            BackendColumn(
                address: backend.address, port: backend.port, threshold: column.threshold, alias: column.alias)
        }
    }
}
