// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import Logging
import MeshManifests

/// The state directory beside the control thread: where others write much a disk takes seconds, and requests of
/// applications wait for the sockets that this thread gives out. So another one waits for the disk.
///
/// Belongs to the control thread.
final class StateWriter {
    private(set) var applied: AppliedState
    /// Why a failure of the machine's power would take back what is in force; `nil` if it would not, or if the disk is
    /// being waited for.
    private(set) var problem: String?

    private let disk: BackgroundQueue<DiskWork.Outcome>
    private let logger: Logger
    private var failure: StateFileError?
    /// Generations are being written, and no other may be begun.
    private var isWriting = false
    private var changes: [() -> Void] = []
    private var waitingForDisk: [(_ problem: String?) -> Void] = []
    private var isRemembering = false
    private var toRemember: (() -> [ManifestObject])?

    /// - Throws: ``SystemError``; EMFILE.
    init(_ applied: AppliedState, on loop: EventLoop, logger: Logger) throws(SystemError) {
        self.applied = applied
        self.logger = logger
        disk = try BackgroundQueue(on: loop)
    }

    // MARK: - Generations

    /// Performs `change`, which may ``stage(_:time:summary:)``, when the generation before is durable or has failed to be:
    /// at once mostly, and in the order of the calls.
    func perform(_ change: @escaping () -> Void) {
        guard isWriting || !applied.isSettled else { return change() }
        changes.append(change)
        settle()
    }

    /// As ``AppliedState/stage(_:time:summary:)``, to be called in ``perform(_:)``; ``settle()`` is due then.
    func stage(_ changes: [ObjectChange], time: Int64, summary: String) throws(StateFileError) {
        if let failure { throw failure }
        try applied.stage(changes, time: time, summary: summary)
    }

    /// Begins to make durable what was staged; tried again by the next call if the disk fails.
    func settle() {
        guard !isWriting, let work = applied.beginSettling() else { return }
        isWriting = true
        disk.add(work.perform) { [weak self] in self?.settled($0) }
    }

    /// Calls `body` when the disk has what was staged, or has failed; at once if that is known.
    func whenSettled(_ body: @escaping (_ problem: String?) -> Void) {
        guard isWriting, !applied.isSettled else { return body(problem) }
        waitingForDisk.append(body)
    }

    private func settled(_ outcome: DiskWork.Outcome) {
        do throws(StateFileError) {
            try applied.endSettling(outcome)
            (problem, failure) = (nil, nil)
            if let late = applied.lateFailure {
                logger.warning("applied objects not written out", metadata: ["error": "\(late)"])
            }
        } catch {
            failure = error
            problem = "a failure of power would take back what was applied last: \(error)"
            logger.error("applied objects not durable", metadata: ["error": "\(error)"])
        }
        let waiting = waitingForDisk
        waitingForDisk = []
        for body in waiting { body(problem) }
        if !tidy() { goOn() }
    }

    /// Whether there is something to forget, which is being done then.
    private func tidy() -> Bool {
        guard applied.isDueForTidying, let work = applied.beginTidying() else { return false }
        disk.add(work.perform) { [weak self] outcome in
            guard let self else { return }
            do throws(StateFileError) { try applied.endTidying(outcome) } catch {
                logger.warning("old generations not forgotten", metadata: ["error": "\(error)"])
            }
            goOn()
        }
        return true
    }

    private func goOn() {
        isWriting = false
        while !isWriting, !changes.isEmpty { changes.removeFirst()() }
    }

    // MARK: - The directory's objects

    /// Remembers the good objects of the configuration directory for the next start. Nobody waits for it; what is asked
    /// for while the disk is waited for is written at once, after that.
    func remember(_ objects: @escaping () -> [ManifestObject]) {
        guard !isRemembering else {
            toRemember = objects
            return
        }
        guard let (work, texts) = applied.beginRemembering(objects()) else { return }
        isRemembering = true
        disk.add(work.perform) { [weak self] outcome in
            guard let self else { return }
            isRemembering = false
            do throws(StateFileError) { try applied.endRemembering(texts, outcome) } catch {
                logger.error("last good objects not remembered", metadata: ["error": "\(error)"])
            }
            if let next = toRemember.take() { remember(next) }
        }
    }

    /// Returns when the disk has everything: at the end of the process.
    func finish() { disk.drain() }
}

@available(*, unavailable)
extension StateWriter: Sendable {}
