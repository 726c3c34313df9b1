// SPDX-License-Identifier: Apache-2.0

import MeshModel

typealias ClusterPointer = UnsafeMutablePointer<WorkerCluster>

/// What a worker remembers of one port of a Service from request to request and from snapshot to snapshot.
struct WorkerCluster: ~Copyable {
    var cluster: Cluster
    /// One for each of ``ServicePolicy/limits``, retained; shared with the node's other workers.
    private(set) var limiters: [Unmanaged<RateLimiter>] = []
    /// What it was last brought up to date with.
    private var service: ProxyService
    private let node: NodeLimits
    /// What the node's workers do of it at once. Retained.
    private let circuit: Unmanaged<NodeCircuit>
    /// Snapshots, requests and connections that point here, and the table.
    fileprivate(set) var users = 1

    init(_ service: ProxyService, _ node: NodeLimits, seed: UInt64) {
        self.node = node
        self.service = service
        let circuit = node.circuit(ClusterKey(service))
        self.circuit = Unmanaged.passRetained(circuit)
        cluster = Cluster(seed: seed)
        cluster.circuit.join(circuit)
        apply(service)
        makeLimiters()
    }

    deinit {
        for limiter in limiters { limiter.release() }
        cluster.circuit.leave()
        circuit.release()
    }

    /// ``ServicePolicy/idleTimeout`` of the newest configuration.
    var idleTimeout: UInt64 { service.policy.idleTimeout }

    /// Follows a newer configuration. What is known of endpoints and clients that stay is kept.
    mutating func update(_ new: ProxyService) {
        let old = service
        service = new
        if old.endpoints != new.endpoints || old.policy.cluster != new.policy.cluster
            || old.policy.origin != new.policy.origin
        {
            apply(new)
        }
        if old.policy.limits != new.policy.limits {
            let old = limiters
            limiters = []
            makeLimiters()
            // Last: one that stays the same must not go meanwhile.
            for limiter in old { limiter.release() }
        }
    }

    /// The Service is gone: nothing new goes to its endpoints.
    mutating func retire() {
        var gone = service
        gone.endpoints = []
        update(gone)
    }

    private mutating func apply(_ service: ProxyService) {
        cluster.update(service.endpoints, policy: service.policy.cluster, origin: service.policy.origin)
    }

    private mutating func makeLimiters() {
        limiters = service.policy.limits.enumerated().map { place, limit in
            Unmanaged.passRetained(node.limiter(ClusterKey(service), place, limit))
        }
    }
}

/// The clusters of one worker. One is made when the first request of the worker goes to its Service, so that Services
/// that nobody here asks for cost nothing.
struct ClusterTable: ~Copyable {
    private var clusters: [ClusterKey: ClusterPointer] = [:]
    private let node: NodeLimits

    /// - Parameter node: what the workers of a node share of limits.
    init(_ node: NodeLimits) { self.node = node }

    deinit {
        for cluster in clusters.values {
            cluster.deinitialize(count: 1)
            cluster.deallocate()
        }
    }

    /// Brings all clusters up to date.
    ///
    /// - Parameter list: one for each service of the snapshot; those that there are already are put into it.
    mutating func follow(_ snapshot: ProxySnapshot, _ list: UnsafeMutablePointer<ClusterPointer?>) {
        for (key, cluster) in clusters {
            if let index = snapshot.index(of: key) {
                cluster.pointee.update(snapshot.services[index])
                list[index] = cluster
                cluster.pointee.users += 1
            } else {
                clusters[key] = nil
                cluster.pointee.retire()
                leave(cluster)
            }
        }
    }

    /// The cluster of a service, for one more user.
    mutating func enter(_ service: ProxyService, seed: UInt64) -> ClusterPointer {
        let key = ClusterKey(service)
        if let known = clusters[key] {
            known.pointee.users += 1
            return known
        }
        let cluster = ClusterPointer.allocate(capacity: 1)
        cluster.initialize(to: WorkerCluster(service, node, seed: seed))
        cluster.pointee.users += 1
        clusters[key] = cluster
        return cluster
    }

    @inline(__always)
    func enter(_ cluster: ClusterPointer) { cluster.pointee.users &+= 1 }

    /// Ends a use.
    @inline(__always)
    func leave(_ cluster: ClusterPointer) {
        cluster.pointee.users &-= 1
        if cluster.pointee.users == 0 { Self.free(cluster) }
    }

    private static func free(_ cluster: ClusterPointer) {
        cluster.deinitialize(count: 1)
        cluster.deallocate()
    }
}

/// Names a port of a Service.
struct ClusterKey: Hashable {
    let name: NamespacedName
    let port: UInt16

    init(_ service: ProxyService) { (name, port) = (service.name, service.port) }

    init(_ name: NamespacedName, _ port: UInt16) { (self.name, self.port) = (name, port) }
}
