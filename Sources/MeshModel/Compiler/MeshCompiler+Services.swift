// SPDX-License-Identifier: Apache-2.0

extension MeshCompiler {
    /// Compiles the services that may have changed.
    mutating func settleServices(_ pending: inout Pending) {
        var touched: Set<ServiceKey> = []
        for name in pending.services.sorted() {
            let output = services[name].map { compile($0) }
            let result = services.set(output, for: name)
            touched.formUnion(result.touched)
            for key in result.released { serviceNumbers.release(key) }
            let ports = output.flatMap { $0.ports.isEmpty ? nil : $0.ports }
            if mesh.servicePorts[name] != ports {
                mesh.servicePorts[name] = ports
                pending.changes.servicePorts.insert(name)
            }
        }
        for key in touched {
            let compiled = services.service(at: key)
            guard mesh.services[key] != compiled else { continue }
            mesh.services[key] = compiled
            mesh.captures[key] = compiled.flatMap { $0.capture == .none ? nil : $0.capture }
            pending.changes.services.insert(key)
        }
    }

    private mutating func compile(_ service: Service) -> ServiceOutput {
        var output = ServiceOutput()
        guard service.kind != .externalName else { return output }
        let slices = services.slices(of: service.namespacedName)
        for port in service.ports where port.transport != .sctp {
            let isProxied = configuration.hasProxy && port.transport == .tcp
            let capture = capture(of: service.namespacedName, port)
            var proxied = CompiledServicePort(
                port, isProxied ? settings(of: service, port) : MeshPolicySettings())
            for isIPv4 in Self.families(of: service) {
                let frontends = frontends(of: service, port, isIPv4: isIPv4)
                // Headless ones can be backends of routes.
                guard !frontends.isEmpty || isProxied else { continue }
                let endpoints =
                    slices.isEmpty
                    ? derivedEndpoints(of: service, port, isIPv4: isIPv4)
                    : endpoints(of: service, port, in: slices, isIPv4: isIPv4)
                let listed = endpoints.map { ServiceEndpoint(address: $0.address, port: $0.port) }
                // By isLocalOnly; equal lists share their storage.
                var backends: [Bool: [Backend]] = [:]
                func chosen(isLocalOnly: Bool) -> [Backend] {
                    if let list = backends[isLocalOnly] { return list }
                    let list = EndpointSelection(
                        nodeName: configuration.nodeName, zone: nodeZone, isLocalOnly: isLocalOnly,
                        distribution: service.trafficDistribution
                    ).backends(endpoints)
                    backends[isLocalOnly] = list
                    return list
                }
                for (key, origin) in frontends {
                    // The policy is for cluster addresses; from inside, the others always lead to the whole cluster.
                    let isLocalOnly = origin == .clusterIP && service.internalTrafficPolicy == .local
                    let numberKey =
                        "\(service.namespacedName) \(port.name) \(port.port)/\(port.transport.rawValue) "
                        + "\(isIPv4 ? "IPv4" : "IPv6") \(isLocalOnly ? "local" : "cluster")"
                    output.numberKeys.insert(numberKey)
                    output.services[key] = CompiledService(
                        number: serviceNumbers.number(for: numberKey) ?? 0, service: service.namespacedName,
                        portName: port.name, origin: origin, backends: chosen(isLocalOnly: isLocalOnly),
                        endpoints: listed, affinitySeconds: service.affinitySeconds ?? 0,
                        // Routes are for the Service's own port; that of a node is another.
                        capture: origin == .nodePort ? .none : capture)
                }
                if isProxied {
                    proxied.addresses += frontends.filter { $0.1 != .nodePort }.map(\.0.address)
                    // Of one family, so that a pod counts once.
                    if !proxied.endpoints.isEmpty {
                        proxied.pair(with: endpoints)
                    } else {
                        let isLocalOnly = service.internalTrafficPolicy == .local
                        let usable = endpoints.filter { !isLocalOnly || $0.nodeName == configuration.nodeName }
                        proxied.endpoints = usable.compactMap(CompiledEndpoint.init)
                        // Hints are followed where nothing says what is near.
                        if !isLocalOnly, proxied.settings.locality == nil {
                            proxied.follow(chosen(isLocalOnly: false))
                        }
                    }
                }
            }
            if isProxied { output.ports.append(proxied) }
        }
        return output
    }

    /// Whether IPv4: the Service's own family first.
    private static func families(of service: Service) -> [Bool] {
        service.clusterIPs.first?.isIPv4 == false ? [false, true] : [true, false]
    }

    /// The destinations that lead to the port. Headless services have none.
    private func frontends(
        of service: Service, _ port: Service.Port, isIPv4: Bool
    ) -> [(ServiceKey, CompiledService.Origin)] {
        var frontends: [ServiceKey: CompiledService.Origin] = [:]
        let add = { (addresses: [IPAddress], number: UInt16, origin: CompiledService.Origin) in
            for address in addresses where address.isIPv4 == isIPv4 {
                let key = ServiceKey(address: address, port: number, transport: port.transport)
                if frontends[key] == nil { frontends[key] = origin }
            }
        }
        if !service.isHeadless { add(service.clusterIPs, port.port, .clusterIP) }
        add(service.loadBalancerIPs, port.port, .loadBalancer)
        add(service.externalIPs, port.port, .externalIP)
        if let nodePort = port.nodePort { add(nodeAddresses.sorted(), nodePort, .nodePort) }
        return frontends.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    private func endpoints(
        of service: Service, _ port: Service.Port, in slices: [EndpointSlice], isIPv4: Bool
    ) -> [ResolvedEndpoint] {
        var endpoints: [ResolvedEndpoint] = []
        for slice in slices where slice.addressType == (isIPv4 ? .ipv4 : .ipv6) {
            for slicePort in slice.ports {
                guard slicePort.name == port.name, slicePort.transport == port.transport, let number = slicePort.port
                else { continue }
                for endpoint in slice.endpoints {
                    guard let address = endpoint.addresses.first, address.isIPv4 == isIPv4 else { continue }
                    let isReady = endpoint.ready ?? true
                    endpoints.append(
                        ResolvedEndpoint(
                            address: address, port: number, isReady: isReady || service.publishNotReadyAddresses,
                            isServing: endpoint.serving ?? isReady, isTerminating: endpoint.terminating ?? false,
                            nodeName: endpoint.nodeName, zone: endpoint.zone, hintedZones: endpoint.hintedZones,
                            hintedNodes: endpoint.hintedNodes,
                            weight: endpoint.targetPod.flatMap { pods[$0]?.mesh.weight } ?? slice.weight ?? 1,
                            pod: endpoint.targetPod))
                }
            }
        }
        return Self.distinct(endpoints)
    }

    /// The endpoints that the EndpointSlice controller would write for the service's selector.
    private func derivedEndpoints(
        of service: Service, _ port: Service.Port, isIPv4: Bool
    ) -> [ResolvedEndpoint] {
        guard let selector = service.selector, !selector.isEmpty else { return [] }
        var endpoints: [ResolvedEndpoint] = []
        for pod in pods.pods(in: service.metadata.namespace, with: selector) where !pod.isFinished {
            guard let address = pod.podIPs.first(where: { $0.isIPv4 == isIPv4 }) else { continue }
            let number: UInt16?
            switch port.targetPort {
            case nil: number = port.port
            case .number(let target): number = target
            // The controller takes the first container that has the name.
            case .name(let name): number = pod.firstPort(named: name, transport: port.transport)
            }
            guard let number else { continue }
            let isServing = pod.ready ?? true
            endpoints.append(
                ResolvedEndpoint(
                    address: address, port: number,
                    isReady: service.publishNotReadyAddresses || (isServing && !pod.isTerminating),
                    isServing: isServing, isTerminating: pod.isTerminating, nodeName: pod.nodeName,
                    zone: pod.nodeName.flatMap { nodes[$0]?.zone }, hintedZones: [], hintedNodes: [],
                    weight: pod.mesh.weight ?? 1, pod: pod.namespacedName))
        }
        return Self.distinct(endpoints)
    }

    /// One endpoint for each address and port, ascending: slices overlap while endpoints move between them.
    private static func distinct(_ endpoints: [ResolvedEndpoint]) -> [ResolvedEndpoint] {
        var best: [Backend: ResolvedEndpoint] = [:]
        for endpoint in endpoints {
            let place = Backend(address: endpoint.address, port: endpoint.port, weight: 0)
            guard let other = best[place] else {
                best[place] = endpoint
                continue
            }
            let isBetter =
                endpoint.isReady != other.isReady
                ? endpoint.isReady : endpoint.isServing != other.isServing && endpoint.isServing
            if isBetter { best[place] = endpoint }
        }
        return best.values.sorted { ($0.address, $0.port) < ($1.address, $1.port) }
    }
}

extension Pod {
    fileprivate func firstPort(named name: String, transport: TransportProtocol) -> UInt16? {
        containers.lazy.flatMap(\.ports).first { $0.name == name && $0.transport == transport }?.port
    }
}
