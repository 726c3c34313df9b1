// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import Logging
import MeshAdmin
import MeshManifests
import MeshModel
import SockOps

/// Everything that objects say, where it comes from, and its way into the kernel and onto disk.
///
/// Belongs to the control thread. Whatever changes the mesh goes through ``reconcile(cause:changes:applied:_:)``.
final class MeshState {
    private(set) var store: ObjectStore
    let writer: StateWriter
    private(set) var numbers: NumberFile
    let reconciler: Reconciler
    /// Called after a change that the kernel enforces, before anything slow.
    var onChange: (Reconciler.Outcome) -> Void = { _ in }
    /// Called after each look at pods of the node.
    var onLook: () -> Void = {}
    /// Why what the configuration directory says is not in force as a whole; `nil` if it is.
    private(set) var directoryProblem: String?
    /// What could not be written after a flip, and is tried again.
    private(set) var lateProblem: String?

    /// Kinds of object that are read: all that something here acts on.
    let kinds: Set<ObjectKind>
    private var directory: ManifestDirectory?
    private let node: String
    let logger: Logger
    private let loop: EventLoop
    private var mustSave = false
    private(set) var hasStarted = false

    /// - Parameters:
    ///   - reconciler: has seen no object yet; nothing changes in the kernel before ``start()``.
    ///   - loaded: what was in the state directory.
    init(
        on loop: EventLoop, node: String, configDirectory: String?, writer: StateWriter, loaded: AppliedState.Loaded,
        numbers: NumberFile, reconciler: Reconciler, logger: Logger
    ) {
        self.loop = loop
        self.node = node
        self.writer = writer
        self.numbers = numbers
        self.reconciler = reconciler
        self.logger = logger
        store = ObjectStore(applied: loaded.applied, lastGood: loaded.lastGood)
        let kinds =
            reconciler.compiler.configuration.hasProxy
            ? ObjectKind.enforced.union(ObjectKind.routing) : ObjectKind.enforced
        self.kinds = kinds
        directory = configDirectory.map {
            ManifestDirectory(path: $0, decoder: ManifestDecoder(unknownKinds: .warn, kinds: kinds))
        }
        for damage in loaded.damage { logger.error("state file damaged", metadata: ["file": "\(damage)"]) }
    }

    // MARK: - Reconciling

    /// Puts everything in force that is known at the start, in one change: what an earlier agent has left in the
    /// kernel stays as far as it is the same.
    ///
    /// - Throws: ``Reconciler/Failure``; what was in force stays in force.
    func start() throws(Reconciler.Failure) {
        if reconciler.writer.tables.generation == 0, let last = numbers.generations.last {
            reconciler.writer.start(at: last.generation)
        }
        if var directory {
            do throws(StateFileError) {
                _ = store.update(try directory.scan(acceptsUnsettled: true))
            } catch {
                noteUnreadable(error)
            }
            self.directory = directory
        }
        let change = MeshChange(changed: store.objects.objects.values.sorted { $0.reference < $1.reference })
        hasStarted = true
        _ = try reconcile(cause: "start", change)
        logFindings()
        rememberDirectory()
    }

    /// - Parameters:
    ///   - changes: of policies, for the history.
    ///   - write: runs before the flip; what it throws stops the change.
    @discardableResult
    private func reconcile(
        cause: String, changes: [PolicyChange] = [], _ change: MeshChange, reverse: MeshChange = MeshChange(),
        write: () throws(StateFileError) -> Void = { () throws(StateFileError) in }
    ) throws(Reconciler.Failure) -> Reconciler.Outcome {
        let concernsPods = (change.changed.map(\.kind) + change.removed.map(\.kind)).contains {
            $0 == "Pod" || $0 == "Namespace"
        }
        let pods = concernsPods ? localPods() : nil
        let outcome = try reconciler.reconcile(change, reverse: reverse, pods: pods, write: write)
        finish(outcome, cause: cause, changes: changes)
        return outcome
    }

    func finish(_ outcome: Reconciler.Outcome, cause: String, changes: [PolicyChange]) {
        if outcome.generation != outcome.previousGeneration {
            onChange(outcome)
            numbers.append(
                .init(
                    generation: outcome.generation, time: .now, cause: cause, changes: changes,
                    applied: writer.applied.generation))
            logger.info("generation in force", metadata: ["generation": "\(outcome.generation)", "cause": "\(cause)"])
            scheduleSave()
        } else if !outcome.changes.isEmpty {
            onChange(outcome)
            scheduleSave()
        }
        lateProblem = outcome.late.map { "the kernel's tables are not complete: \($0)" }
        if let lateProblem { logger.error("\(lateProblem)") }
    }

    /// The pods of this node that have asked for the mesh.
    private func localPods() -> [NamespacedName: Pod] {
        Dictionary(
            store.podsThatWantMesh.filter(isLocal).map { ($0.namespacedName, $0) },
            uniquingKeysWith: { first, _ in first })
    }

    /// Manifests without a cluster need not name a node: a namespace to bind to says as much.
    func isLocal(_ pod: Pod) -> Bool {
        pod.nodeName.map { $0 == node } ?? (pod.mesh.netnsPath != nil || pod.mesh.pid != nil)
    }

    // MARK: - Regular work

    /// Looks at the namespaces of pods.
    func refreshEnrolment(directory: String? = nil) {
        guard hasStarted else { return }
        let before = reconciler.enrolment.members.mapValues(\.state)
        do throws(Reconciler.Failure) {
            if let outcome = try reconciler.refreshEnrolment(directory: directory) {
                finish(outcome, cause: "pods of the node", changes: [])
            }
        } catch {
            reconciler.refusePending()
            logger.error("enrolment not in force", metadata: ["error": "\(error)"])
        }
        logEnrolment(since: before)
    }

    func logEnrolment(since before: [NamespacedName: Enrolment.State]) {
        for (name, member) in reconciler.enrolment.members where before[name] != member.state {
            switch member.state {
            case .enabled:
                logger.info("pod enrolled", metadata: ["pod": "\(name)", "netns": "\(member.namespace?.path ?? "")"])
            case .pending: logger.debug("pod pending", metadata: ["pod": "\(name)"])
            case .failed(let reason):
                logger.warning("pod failed", metadata: ["pod": "\(name)", "reason": "\(reason)"])
            }
        }
        for name in before.keys where reconciler.enrolment.members[name] == nil {
            logger.info("pod no longer enrolled", metadata: ["pod": "\(name)"])
        }
        onLook()
    }

    func setNodeAddresses(_ addresses: [IPAddress]) {
        guard hasStarted else { return }
        do throws(Reconciler.Failure) {
            guard let outcome = try reconciler.setNodeAddresses(addresses) else { return }
            finish(outcome, cause: "addresses of the node", changes: [])
        } catch {
            logger.error("addresses of the node not in force", metadata: ["error": "\(error)"])
        }
    }

    /// Tries again what went wrong after a flip, or when the state was saved.
    func retry() {
        guard hasStarted else { return }
        if lateProblem != nil, let outcome = try? reconciler.retryLate() {
            finish(outcome, cause: "retry", changes: [])
        }
        writer.settle()
        if mustSave { scheduleSave() }
    }

    // MARK: - The configuration directory

    /// Reads what has changed in the configuration directory and puts it in force.
    ///
    /// - Returns: whether a file may still be being written: look again soon.
    func readDirectory() -> Bool {
        guard hasStarted, var directory else { return false }
        let old = store
        let snapshot: DirectorySnapshot
        let change: MeshChange
        do throws(StateFileError) {
            snapshot = try directory.scan()
            self.directory = directory
            change = store.update(snapshot)
        } catch {
            noteUnreadable(error)
            return false
        }
        directoryProblem = nil
        if !change.changed.isEmpty || !change.removed.isEmpty {
            let before = reconciler.enrolment.members.mapValues(\.state)
            do throws(Reconciler.Failure) {
                try reconcile(
                    cause: "configuration directory", changes: Self.policyChanges(change, old.objects), change,
                    reverse: Self.reverse(of: change, old.objects))
            } catch {
                store = old
                reconciler.refusePending()
                directoryProblem = "the configuration directory is not in force: \(error)"
                logger.error("configuration not in force", metadata: ["error": "\(error)"])
            }
            logEnrolment(since: before)
        }
        if !snapshot.changed.isEmpty || !snapshot.removed.isEmpty {
            logFindings()
            rememberDirectory()
        }
        return !snapshot.unsettled.isEmpty
    }

    private func noteUnreadable(_ error: StateFileError) {
        _ = store.directoryIsUnreadable(ManifestError(file: error.path, reason: "\(error)"))
        directoryProblem = "the configuration directory cannot be read: \(error)"
        logger.error("configuration directory unreadable", metadata: ["error": "\(error)"])
    }

    private func logFindings() {
        for finding in store.findings {
            logger.log(
                level: finding.severity == .error ? .error : .warning, "manifest", metadata: ["finding": "\(finding)"])
        }
        logUnenforcedRoutes()
        for status in store.statuses {
            let errors: [ManifestError] =
                switch status.state {
                case .inForce: []
                case .lastGoodInForce(let errors), .rejected(let errors): errors
                }
            for error in errors { logger.error("object refused", metadata: ["finding": "\(error)"]) }
        }
    }

    private func rememberDirectory() {
        writer.remember { [weak self] in self?.store.directoryObjects ?? [] }
    }

    // MARK: - What meshctl applies

    /// Applies and deletes objects: all of it in force, or nothing. To be called in ``StateWriter/perform(_:)``, and told
    /// to others when it is durable.
    ///
    /// The disk is waited for after the flip: it may take longer than everything else, and who loses the power that the
    /// disk wanted has no kernel either that enforces what nobody was told of.
    ///
    /// - Parameter cause: who and what, for histories.
    /// - Throws: ``AdminError``; nothing is changed.
    func change(
        apply objects: [ManifestObject], delete deletions: [ObjectReference], cause: String
    ) throws(AdminError) -> (plan: ApplyPlan, outcome: Reconciler.Outcome?) {
        let plan: ApplyPlan
        do throws(ApplyRefusal) {
            plan = try store.plan(apply: objects, delete: deletions)
        } catch {
            throw AdminError(
                .conflict, error.reasons.joined(separator: "; "),
                hint: "nothing was changed")
        }
        guard !plan.changes.isEmpty else { return (plan, nil) }
        var reverse = MeshChange()
        for reference in plan.changes.map(\.reference) {
            if let object = store.objects[reference] {
                reverse.changed.append(object)
            } else {
                reverse.removed.append(reference)
            }
        }
        var undo = plan
        undo.changes = plan.changes.map { .init(reference: $0.reference, before: $0.after, after: $0.before) }
        let change = store.execute(plan)
        let time = Timestamp.now.nanoseconds / 1_000_000_000
        let outcome: Reconciler.Outcome
        do throws(Reconciler.Failure) {
            outcome = try reconcile(
                cause: cause, changes: Self.report(plan.changes), change, reverse: reverse
            ) { () throws(StateFileError) in
                try writer.stage(plan.changes, time: time, summary: cause)
            }
            writer.settle()
            if outcome.generation == outcome.previousGeneration {
                numbers.setApplied(writer.applied.generation)
                scheduleSave()
            }
        } catch {
            _ = store.execute(undo)
            throw AdminError(.failed, "nothing was changed: \(error)")
        }
        return (plan, outcome)
    }

    // MARK: - Numbers

    /// Saves once for all changes of this turn of the loop, after whoever waits for an answer has it.
    private func scheduleSave() {
        guard !mustSave else { return }
        mustSave = true
        loop.enqueue { [weak self] in self?.save() }
    }

    private func save() {
        do {
            try numbers.save(
                identities: reconciler.compiler.identityNumbers, services: reconciler.compiler.serviceNumbers,
                routeClasses: reconciler.compiler.routeClassNumbers)
            mustSave = false
        } catch {
            logger.error("numbers not saved", metadata: ["error": "\(error)"])
        }
    }
}
