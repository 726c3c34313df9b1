// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import Glibc
import LinuxIO
import MeshModel
import SockOps

/// Carries out plans in the kernel, and keeps the copy of what the maps say.
///
/// The only writer of the maps that the agent writes. Belongs to the control thread.
final class KernelWriter {
    /// A write that the kernel refused.
    struct Failure: Error, CustomStringConvertible {
        let error: BPFError
        /// The pod whose namespace refused the sk_lookup program; everything else would go well without that pod.
        var netns: NetnsCookie?

        var description: String { error.description }
    }

    /// What the maps say.
    private(set) var tables: KernelTables
    let plane: DataPlane
    /// In microseconds, on top of a grace period: how long the handshakes of connections may take that began without a
    /// record. More than 0 where all pods of a node are enrolled at once under traffic.
    var handshakePatience: UInt32 = 0
    /// Opens the namespace of a pod that is enrolled, for its sk_lookup link; `nil` if it has gone.
    var openNamespace: (NetnsCookie) throws(BPFError) -> NetworkNamespace? = { _ throws(BPFError) in nil }

    /// Takes over a data plane with what an earlier agent has left in it.
    ///
    /// - Throws: ``BPFError`` if a map cannot be read or cleaned up.
    init(_ plane: consuming DataPlane) throws(BPFError) {
        let reader = try KernelReader(plane.maps, lookups: plane.adoption.lookups)
        if !reader.litter.isEmpty {
            try plane.maps.policy.removeAll(reader.litter.policy)
            try plane.maps.backends.removeAll(reader.litter.backends)
        }
        tables = reader.tables
        self.plane = plane
    }

    // MARK: - The steps of a plan

    /// Does everything that comes before the flip, or nothing at all.
    ///
    /// - Returns: what ``rollBack(_:)`` needs to undo it.
    /// - Throws: ``Failure`` of the write that failed; what was done before it is undone.
    func prepare(_ plan: MapPlan) throws(Failure) -> [MapOperation] {
        var undo: [MapOperation] = []
        do throws(Failure) {
            try run(plan.prepare) { undo.append($0) }
        } catch {
            rollBack(undo)
            throw error
        }
        return undo
    }

    /// Undoes ``prepare(_:)``. The generation in force was never touched, so what cannot be undone is only litter.
    func rollBack(_ undo: [MapOperation]) {
        for operation in undo.reversed() { try? run([operation]) { _ in } }
    }

    /// Puts the plan in force.
    ///
    /// - Throws: ``Failure`` if something of the new generation could not be written. The flip has happened.
    func commit(_ plan: MapPlan) throws(Failure) {
        if let generation = plan.flip {
            plane.maps.control.publish(generation, to: \.generation)
            tables.apply(.flip(generation))
        }
        try run(plan.settle) { _ in }
    }

    /// Removes what only the old generation needed. A grace period must have passed since ``commit(_:)``.
    func collect(_ plan: MapPlan) throws(Failure) {
        try run(plan.garbage) { _ in }
    }

    /// Says from which number generations go on: those of an earlier boot are not used again. Only for empty maps.
    func start(at generation: UInt32) {
        plane.maps.control.publish(generation, to: \.generation)
        tables.generation = generation
    }

    // MARK: - Freed elements

    /// A map whose elements programs read after they have found them: an element that is freed may be another key's as
    /// soon as a row is added, so that waits for a grace period.
    enum RowMap: Hashable {
        case workloads
        case addresses
        case services
    }

    /// Elements that were freed and could still be read, as a count for each map that never falls back.
    private var freed: [RowMap: Int] = [:]
    private var freedInAll = 0

    /// What a grace period that begins now will have made safe to use again.
    var freedNow: [RowMap: Int] { freed }

    /// A grace period that began at `then` is over.
    func reuse(_ then: [RowMap: Int]) { freed = freed.filter { then[$0.key] != $0.value } }

    /// Whether `plan` adds rows where elements have been freed since the last grace period.
    func reusesFreed(_ plan: MapPlan) -> Bool {
        !freed.isEmpty
            && (plan.prepare + plan.settle).contains { operation in
                operation.addedRow(in: tables).map { freed[$0] != nil } ?? false
            }
    }

    private func noteFreed(by operation: MapOperation) {
        let map: RowMap? =
            switch operation {
            case .workload(_, nil): .workloads
            case .address(_, nil): .addresses
            case .service(_, nil): .services
            default: nil
            }
        guard let map else { return }
        freedInAll += 1
        freed[map] = freedInAll
    }

    // MARK: - Writing

    /// Neighbouring operations on one map become one batch.
    private func run(_ operations: [MapOperation], _ record: (MapOperation) -> Void) throws(Failure) {
        var start = 0
        while start < operations.count {
            var end = start + 1
            while end < operations.count, operations[start].batches(with: operations[end]) { end += 1 }
            let batch = operations[start..<end]
            // Recorded first: a batch that fails may have been done in part.
            for operation in batch {
                if let inverse = tables.inverse(of: operation) { record(inverse) }
            }
            do throws(BPFError) {
                try write(batch)
            } catch {
                var failure = Failure(error: error)
                if case .attachLookup(let cookie) = batch[start] { failure.netns = cookie }
                throw failure
            }
            for operation in batch {
                noteFreed(by: operation)
                tables.apply(operation)
            }
            start = end
        }
    }

    private func write(_ batch: ArraySlice<MapOperation>) throws(BPFError) {
        switch batch[batch.startIndex] {
        case .page:
            try write(batch, to: plane.maps.portPages, isArray: true) {
                if case .page(let number, let page) = $0 {
                    (UInt32(number), page.map { mesh_port_page($0) })
                } else {
                    nil
                }
            }
        case .portMap:
            try write(batch, to: plane.maps.portMaps, isArray: true) {
                if case .portMap(let number, let map) = $0 { (number, map.map { mesh_port_map($0) }) } else { nil }
            }
        case .policySet: try writePolicySets(batch)
        case .workload: try writeWorkloads(batch)
        case .address:
            try write(filling(batch), to: plane.maps.addresses) {
                if case .address(let ip, let row) = $0 { (mesh_ip(ip), row.map { mesh_address($0) }) } else { nil }
            }
        case .cidr:
            try write(filling(batch), to: plane.maps.cidrs) {
                if case .cidr(let cidr, let row) = $0 {
                    (mesh_cidr_key(cidr), row.map { mesh_address($0) })
                } else {
                    nil
                }
            }
        case .service:
            try write(filling(batch), to: plane.maps.services) {
                if case .service(let key, let row) = $0 {
                    (mesh_service_key(key), row.map { mesh_service($0) })
                } else {
                    nil
                }
            }
        case .backend:
            try write(batch, to: plane.maps.backends) {
                if case .backend(let set, let index, let column) = $0 {
                    (mesh_backend_key(backend_set: set, index: index), column.map { mesh_backend($0) })
                } else {
                    nil
                }
            }
        case .member:
            try write(batch, to: plane.maps.members) {
                if case .member(let key, let isMember) = $0 { (mesh_member_key(key), isMember ? 1 : nil) } else { nil }
            }
        case .skipPort:
            try write(batch, to: plane.maps.skipPorts) {
                if case .skipPort(let key, let isSkipped) = $0 {
                    (mesh_skip_key(key), isSkipped ? 1 : nil)
                } else {
                    nil
                }
            }
        case .probePort:
            try write(batch, to: plane.maps.probes) {
                if case .probePort(let key, let isAsked) = $0 { (mesh_skip_key(key), isAsked ? 1 : nil) } else { nil }
            }
        case .route:
            try write(batch, to: plane.maps.routes) {
                if case .route(let key, let isRouted) = $0 { (mesh_route_key(key), isRouted ? 1 : nil) } else { nil }
            }
        case .attachLookup(let cookie):
            if let namespace = try openNamespace(cookie) { try plane.attachLookup(namespace, cookie: cookie) }
        case .detachLookup(let cookie): try plane.detachLookup(cookie: cookie)
        case .gracePeriod: try waitForGracePeriod()
        case .flip: preconditionFailure("only commit() raises the generation")
        }
    }

    /// - Parameter isArray: elements cannot be removed; nothing names them any more.
    private func write<Key, Value>(
        _ batch: ArraySlice<MapOperation>, to map: borrowing BPFMap<Key, Value>, isArray: Bool = false,
        _ entry: (MapOperation) -> (Key, Value?)?
    ) throws(BPFError) {
        var stored: [(key: Key, value: Value)] = []
        var removed: [Key] = []
        for operation in batch {
            guard let (key, value) = entry(operation) else { continue }
            if let value { stored.append((key, value)) } else { removed.append(key) }
        }
        if !stored.isEmpty { try map.setAll(stored) }
        if !removed.isEmpty, !isArray { try map.removeAll(removed) }
    }

    /// The exceptions before the set; both before anything names it.
    private func writePolicySets(_ batch: ArraySlice<MapOperation>) throws(BPFError) {
        for case .policySet(let number, let row) in batch {
            if let row {
                try plane.maps.policy.setAll(
                    row.exceptions.map { exception, verdict in
                        (mesh_policy_key(set: number, exception), mesh_policy_entry(verdict: UInt32(verdict.rawValue)))
                    })
                try plane.maps.policySets.set(number, mesh_policy_set(row))
            } else {
                // Port map 0 denies everything; nothing names the set any more.
                try plane.maps.policySets.set(number, mesh_policy_set(.empty))
                try plane.maps.policy.removeAll(exceptionsInKernel(of: number))
            }
        }
    }

    /// Of a set that was only written in part the copy knows nothing, so the kernel is asked.
    private func exceptionsInKernel(of set: UInt32) throws(BPFError) -> [mesh_policy_key] {
        if let row = tables.policySets[set] { return row.exceptions.keys.map { mesh_policy_key(set: set, $0) } }
        var keys: [mesh_policy_key] = []
        try plane.maps.policy.forEach { key, _ in if key.policy_set == set { keys.append(key) } }
        return keys
    }

    private func writeWorkloads(_ batch: ArraySlice<MapOperation>) throws(BPFError) {
        for case .workload(let cookie, let row) in batch {
            if let row {
                // The share first: programs count only where there is an entry.
                if try plane.maps.usage.get(cookie) == nil { try plane.maps.usage.set(cookie, mesh_usage()) }
                if tables.workloads[cookie] != nil, try plane.fill(mesh_fill(cookie, row)) { continue }
                try plane.maps.workloads.set(cookie, mesh_workload(row))
            } else {
                try plane.maps.workloads.remove(cookie)
                try plane.maps.usage.remove(cookie)
            }
        }
    }

    /// Writes rows that are there already where they stand: an update by system call frees the old element for the
    /// next update at once, while a program may still read it.
    ///
    /// - Returns: the operations that are left: new rows and removals.
    private func filling(_ batch: ArraySlice<MapOperation>) throws(BPFError) -> ArraySlice<MapOperation> {
        var left: [MapOperation] = []
        for operation in batch {
            let request: mesh_fill? =
                switch operation {
                case .address(let address, let row?) where tables.addresses[address] != nil:
                    mesh_fill(address, row)
                case .cidr(let cidr, let row?) where tables.cidrs[cidr] != nil: mesh_fill(cidr, row)
                case .service(let key, let row?) where tables.services[key] != nil: mesh_fill(key, row)
                default: nil
                }
            if let request, try plane.fill(request) { continue }
            left.append(operation)
        }
        return left[...]
    }

    private func waitForGracePeriod() throws(BPFError) {
        do throws(SystemError) { try Membarrier.waitForGracePeriod() } catch { throw BPFError(error) }
        if handshakePatience > 0 { usleep(handshakePatience) }
    }
}

extension MapOperation {
    /// The map that gets one more element by this.
    fileprivate func addedRow(in tables: KernelTables) -> KernelWriter.RowMap? {
        switch self {
        case .workload(let cookie, .some) where tables.workloads[cookie] == nil: .workloads
        case .address(let address, .some) where tables.addresses[address] == nil: .addresses
        case .service(let key, .some) where tables.services[key] == nil: .services
        default: nil
        }
    }
}
