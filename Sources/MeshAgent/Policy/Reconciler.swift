// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import MeshManifests
import MeshModel
import SockOps

/// Brings what objects say, and which pods are enrolled, in force in the kernel: all of a change, or nothing of it.
///
/// Belongs to the control thread.
final class Reconciler {
    /// A change that the kernel enforces.
    struct Outcome {
        /// The generation in force.
        let generation: UInt32
        let previousGeneration: UInt32
        let changes: CompiledChanges
        /// When the kernel began to decide by it.
        let since: ContinuousClock.Instant
        /// What could not be written after the flip. The policy is in force, the rest is tried again.
        let late: KernelWriter.Failure?
    }

    /// Why a change is not in force. Nothing has changed then.
    enum Failure: Error, CustomStringConvertible {
        case kernel(KernelWriter.Failure)
        case full(ContentRegistry.Full)
        case state(StateFileError)

        var description: String {
            switch self {
            case .kernel(let error): "the kernel refused it: \(error)"
            case .full(let error): "\(error)"
            case .state(let error): "it could not be written: \(error)"
            }
        }
    }

    private(set) var compiler: MeshCompiler
    private(set) var enrolment: Enrolment
    let writer: KernelWriter
    /// Called with what has been compiled and the generation that it will be in, when nothing can fail any more and the
    /// kernel still decides by the one before. The flip waits for it.
    var willFlip: (CompiledChanges, UInt32) -> Void = { _, _ in }
    /// Objects in force. The owner of the store keeps them equal.
    private var builder: ImageBuilder
    /// What the kernel's tables say about pods.
    private(set) var inForce: [NamespacedName: EnrolledPod] = [:]
    /// Where the inactive slots do not say what the active ones do, or a write is missing.
    private var stale: ImageKeys
    /// Whose connections the proxy has said it has the routes for. Rows of services lead to it only so far.
    private(set) var acknowledged: [ServiceKey: ServiceCapture]
    /// Where the objects in force say otherwise than ``acknowledged``, or did.
    private var unacknowledged: Set<ServiceKey> = []
    private var uncollected: MapPlan?
    /// What the grace period that runs, or has to, makes safe; `nil` if there is nothing to wait for.
    private var awaited: [KernelWriter.RowMap: Int]?
    private var grace: GracePeriod?
    private var graceWatch: EventLoop.Watch?
    private let loop: EventLoop
    private let quiesce: (() -> Void)?

    /// - Parameters:
    ///   - loop: tells when a grace period is over.
    ///   - compiler: has seen no object yet.
    ///   - writer: with what an earlier agent has left in the kernel. The first change must be of all objects:
    ///     it decides what of that stays.
    ///   - quiesce: returns when nobody reads the maps any more who did so at the call; `nil`: after a grace period of
    ///     the kernel, while the loop goes on.
    init(
        on loop: EventLoop, compiler: MeshCompiler, writer: KernelWriter, enrolment: Enrolment,
        quiesce: (() -> Void)? = nil
    ) {
        self.loop = loop
        self.quiesce = quiesce
        self.compiler = compiler
        self.writer = writer
        self.enrolment = enrolment
        builder = ImageBuilder(adopting: writer.tables)
        // What an earlier agent has led to the proxy was acknowledged to that one.
        acknowledged = writer.tables.captures
        unacknowledged = Set(acknowledged.keys)
        // Whatever is in the kernel is looked at once.
        stale = ImageKeys(writer.tables, KernelImage())
        stale.formUnion(Self.touch(&builder, compiler, [:], acknowledged))
    }

    /// The names of pods by the cookie of their namespace, as the kernel's tables have them.
    var podsByCookie: [NetnsCookie: NamespacedName] {
        Dictionary(inForce.map { ($0.value.netns, $0.key) }, uniquingKeysWith: { first, _ in first })
    }

    // MARK: - Changes

    /// Takes in a change of objects, and puts it in force.
    ///
    /// - Parameters:
    ///   - change: what is new.
    ///   - reverse: leads back, should the kernel refuse.
    ///   - pods: the pods of this node that ask for the mesh; `nil`: as before.
    ///   - write: writes the change where the next agent finds it. Called when nothing can fail any more but itself,
    ///     before the flip, which should not wait for a disk.
    func reconcile(
        _ change: MeshChange, reverse: MeshChange = MeshChange(), pods: [NamespacedName: Pod]? = nil,
        write: () throws(StateFileError) -> Void = { () throws(StateFileError) in }
    ) throws(Failure) -> Outcome {
        let now = ContinuousClock.now
        if let pods { enrolment.update(pods, now: now) }
        var enrolled = enrolment.enrolled
        var change = change
        change.enrolled = Self.ready(enrolled)
        let changes = compiler.update(change)
        // Each turn but the last takes one pod that cannot be enrolled out of policy.
        while true {
            do throws(Failure) {
                return try putInForce(changes, enrolled, write)
            } catch {
                guard case .kernel(let failure) = error, let netns = failure.netns,
                    let name = enrolled.first(where: { $0.value.netns == netns })?.key
                else {
                    revert(reverse)
                    throw error
                }
                enrolment.failed(name, EnrolmentFailure("\(failure)"), now: now)
                enrolled = enrolment.enrolled
                _ = compiler.update(MeshChange(enrolled: Self.ready(enrolled)))
                rebuild()
            }
        }
    }

    /// Looks at the namespaces of pods again.
    ///
    /// - Parameter directory: in which something has changed.
    /// - Returns: `nil` if nothing differs.
    func refreshEnrolment(directory: String? = nil) throws(Failure) -> Outcome? {
        enrolment.refresh(now: .now, directory: directory)
        guard enrolment.enrolled != inForce else { return nil }
        return try reconcile(MeshChange())
    }

    /// After a change that failed: refuses everything to pods that it would have enrolled, until it succeeds.
    ///
    /// What cannot be written now is tried again with the change.
    func refusePending() {
        var pods = inForce
        for (name, pod) in enrolment.enrolled where pods[name]?.netns != pod.netns {
            pods[name] = EnrolledPod(
                netns: pod.netns, isOnVeth: pod.isOnVeth, isReady: false, takesLookup: pod.takesLookup)
        }
        guard pods != inForce else { return }
        let changes = compiler.update(MeshChange(enrolled: Self.ready(pods)))
        do throws(Failure) {
            _ = try putInForce(changes, pods) { () throws(StateFileError) in }
        } catch {
            revert(MeshChange())
        }
    }

    /// The pods that have identity and policy.
    private static func ready(_ pods: [NamespacedName: EnrolledPod]) -> Set<NamespacedName> {
        Set(pods.filter(\.value.isReady).keys)
    }

    /// Takes over the node's own addresses.
    func setNodeAddresses(_ addresses: [IPAddress]) throws(Failure) -> Outcome? {
        guard Set(addresses) != Set(compiler.configuration.nodeAddresses) else { return nil }
        let changes = compiler.setNodeAddresses(addresses)
        do throws(Failure) {
            return try putInForce(changes, inForce) { () throws(StateFileError) in }
        } catch {
            rebuild()
            throw error
        }
    }

    func setOutside(_ outside: [NetnsCookie: [OutsideProcess]]) { enrolment.setOutside(outside) }

    func recheckOutside(_ isStill: (OutsideProcess, PodNamespace) -> Bool) { enrolment.recheckOutside(isStill) }

    /// Writes again what could not be written after a flip.
    func retryLate() throws(Failure) -> Outcome {
        try putInForce(compiler.update(MeshChange()), inForce) { () throws(StateFileError) in }
    }

    /// The proxy has all routes in force: everything that they decide about may be led to it.
    ///
    /// - Returns: `nil` if it is already.
    func acknowledgeRoutes() throws(Failure) -> Outcome? {
        let keys = unacknowledged.filter { compiler.mesh.captures[$0] != acknowledged[$0] }
        unacknowledged = []
        guard !keys.isEmpty else { return nil }
        let before = keys.map { ($0, acknowledged[$0]) }
        for key in keys { acknowledged[key] = compiler.mesh.captures[key] }
        do throws(Failure) {
            return try putInForce(CompiledChanges(services: keys), inForce) { () throws(StateFileError) in }
        } catch {
            for (key, value) in before { acknowledged[key] = value }
            unacknowledged.formUnion(keys)
            rebuild()
            throw error
        }
    }

    private func putInForce(
        _ changes: CompiledChanges, _ enrolled: [NamespacedName: EnrolledPod],
        _ write: () throws(StateFileError) -> Void
    ) throws(Failure) -> Outcome {
        let differing = Set(enrolled.keys).union(inForce.keys).filter { enrolled[$0] != inForce[$0] }
        var keys = try image(of: changes, enrolled, differing)
        keys.formUnion(stale)
        var plan = MapPlan(from: writer.tables, to: builder.image, at: keys)
        if writer.tables.generation == 0, plan.flip == nil { plan.flip = 1 }
        if writer.reusesFreed(plan) { waitForFreed() }
        let previous = writer.tables.generation
        let undo: [MapOperation]
        do throws(KernelWriter.Failure) { undo = try writer.prepare(plan) } catch { throw .kernel(error) }
        do throws(StateFileError) {
            try write()
        } catch {
            writer.rollBack(undo)
            throw .state(error)
        }

        willFlip(changes, plan.flip ?? previous)
        let late: KernelWriter.Failure?
        do throws(KernelWriter.Failure) {
            try writer.commit(plan)
            late = nil
        } catch {
            late = error
        }
        let outcome = Outcome(
            generation: plan.flip ?? previous, previousGeneration: previous, changes: changes, since: .now, late: late)
        inForce = enrolled
        // What is no longer wanted must be acknowledged anew when it is wanted again.
        for key in changes.services {
            let capture = compiler.mesh.services[key]?.capture.intersection(acknowledged[key] ?? .none)
            acknowledged[key] = capture == ServiceCapture.none ? nil : capture
            if compiler.mesh.captures[key] != acknowledged[key] { unacknowledged.insert(key) }
        }
        enrolment.succeeded(enrolled)
        stale = outcome.late == nil ? keys.unsettled(in: writer.tables) : keys
        if plan.flip != nil || !plan.garbage.isEmpty {
            uncollected = plan
            beginGracePeriod()
        } else if !writer.freedNow.isEmpty {
            beginGracePeriod()
        }
        return outcome
    }

    /// Brings the image up to date while the grace period of the change before goes on, and ends that as late as
    /// possible: what comes next writes where programs of the old generation read.
    private func image(
        of changes: CompiledChanges, _ enrolled: [NamespacedName: EnrolledPod], _ differing: Set<NamespacedName>
    ) throws(Failure) -> ImageKeys {
        let update = { () throws(ContentRegistry.Full) -> ImageKeys in
            try self.builder.update(
                to: self.compiler.mesh, changes, pods: enrolled, changedPods: differing,
                acknowledged: self.acknowledged)
        }
        do throws(ContentRegistry.Full) {
            let keys = try update()
            if uncollected == nil || finishGracePeriod() == nil { return keys }
            // The image was made anew, for the pods in force.
            return keys.union(try update())
        } catch {
            // What waits for its grace period still has its numbers.
            guard uncollected != nil else { throw .full(error) }
            finishGracePeriod()
            rebuild()
            do throws(ContentRegistry.Full) { return try update() } catch { throw .full(error) }
        }
    }

    // MARK: - Failure

    /// Leads the compiler back, and the image to what the kernel has.
    private func revert(_ reverse: MeshChange) {
        var reverse = reverse
        reverse.enrolled = Self.ready(inForce)
        _ = compiler.update(reverse)
        rebuild()
    }

    /// Numbers and counts may be half way to an image that never was.
    private func rebuild() {
        builder = ImageBuilder(adopting: writer.tables)
        stale.formUnion(Self.touch(&builder, compiler, inForce, acknowledged))
    }

    /// An image of everything. What is in force has numbers already, so they cannot run out.
    private static func touch(
        _ builder: inout ImageBuilder, _ compiler: MeshCompiler, _ pods: [NamespacedName: EnrolledPod],
        _ acknowledged: [ServiceKey: ServiceCapture]
    ) -> ImageKeys {
        (try? builder.build(compiler.mesh, pods: pods, acknowledged: acknowledged)) ?? ImageKeys()
    }

    // MARK: - Grace periods

    private func beginGracePeriod() {
        // One that runs covers less.
        forgetGracePeriod()
        awaited = writer.freedNow
        guard quiesce == nil else { return }
        do throws(SystemError) {
            let period = try GracePeriod()
            graceWatch = try loop.watch(period.rawDescriptor, for: .readable) { [unowned self] _ in
                finishGracePeriod()
            }
            grace = consume period
        } catch {
            // No thread or no descriptor: then the next change waits itself.
            grace = nil
        }
    }

    /// Returns when the grace period that has been begun is over; at once if there is none.
    private func waitForGracePeriod() {
        guard let then = awaited else { return }
        if let quiesce {
            quiesce()
        } else if graceWatch != nil {
            grace?.wait()
        } else {
            try? Membarrier.waitForGracePeriod()
        }
        forgetGracePeriod()
        writer.reuse(then)
    }

    private func forgetGracePeriod() {
        if let graceWatch { loop.unwatch(graceWatch) }
        graceWatch = nil
        grace = nil
        awaited = nil
    }

    /// Returns when what was freed up to now can be read by nobody any more.
    private func waitForFreed() {
        waitForGracePeriod()
        guard !writer.freedNow.isEmpty else { return }
        beginGracePeriod()
        waitForGracePeriod()
    }

    /// Waits for the end of the grace period, if one runs, and removes what the old generation needed.
    ///
    /// - Returns: what could not be removed; it is tried again with the next change.
    @discardableResult
    func finishGracePeriod() -> KernelWriter.Failure? {
        guard let plan = uncollected else {
            waitForGracePeriod()
            return nil
        }
        waitForGracePeriod()
        uncollected = nil
        defer { if !writer.freedNow.isEmpty { beginGracePeriod() } }
        do throws(KernelWriter.Failure) {
            try writer.collect(plan)
            builder.release(plan.garbage)
            return nil
        } catch {
            rebuild()
            return error
        }
    }
}

extension ImageKeys {
    /// The keys whose two slots differ: the next plan must fill the inactive ones.
    fileprivate func unsettled(in tables: KernelTables) -> ImageKeys {
        var keys = ImageKeys()
        keys.workloads = workloads.filter {
            guard let row = tables.workloads[$0] else { return false }
            return !row.identity.isSettled || !row.policySet.isSettled || !row.dryRunSet.isSettled
        }
        keys.addresses = addresses.filter {
            guard let row = tables.addresses[$0] else { return false }
            return !row.identity.isSettled || !row.netns.isSettled
        }
        keys.cidrs = cidrs.filter { !(tables.cidrs[$0]?.identity.isSettled ?? true) }
        return keys
    }
}

extension Slots {
    fileprivate var isSettled: Bool { even == odd }
}
