// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// The state directory: what `meshctl` has applied, its history, and the last good versions of the directory's objects.
///
/// ```
/// history/0000000012.json   a generation: every object it changed, before and after. Written first, and durable
///                            before anything else is; `.staged` until then.
/// applied/KIND.NS.NAME.….yaml   each applied object, as it was given. Follows the history.
/// last-good/…                each good object of the configuration directory, and the file it came from.
/// quarantine/…               damaged files that were found, for a person to look at.
/// ```
///
/// One file, the generation, makes a change of many objects happen as a whole: once it is written the change is done,
/// and a process that starts after this one has died finds it. Only a failure of power may tear it, up to the moment
/// that ``settle()`` has waited for the disk; then the change has not happened. The files in `applied` follow, so they
/// may lag behind after a crash; ``open(_:)`` repeats the kept generations over them, which gives the same result
/// however often it is done. A generation is only forgotten after the files that it changed are known to be on disk.
public struct AppliedState: Sendable {
    public let path: String
    /// How many generations ``tidy()`` keeps for `policy rollback`.
    public var keptGenerations = 50
    /// The kept generations, oldest first.
    public internal(set) var generations: [StateGeneration] = []
    /// What could not be written although the change itself is safe in the history.
    public private(set) var lateFailure: StateFileError?

    let history: DurableDirectory
    let applied: DurableDirectory
    let lastGood: DurableDirectory
    let quarantine: DurableDirectory
    var texts: [ObjectReference: String] = [:]
    /// Objects whose file in `applied` is not what `texts` says.
    var behind: Set<ObjectReference> = []
    var lastGoodTexts: [ObjectReference: String] = [:]

    /// What was found at the start.
    public struct Loaded: Sendable {
        /// What `meshctl` has applied, with objects that this version refuses.
        public var applied = DecodedManifest()
        /// The directory's objects that were in force last.
        public var lastGood: [ManifestObject] = []
        /// Damaged files; they were moved to `quarantine`, and the rest is used.
        public var damage: [ManifestError] = []
    }

    /// Opens the directory, creates what is missing, and brings it into order after a crash.
    ///
    /// - Throws: ``StateFileError`` if the directory cannot be read or written. A damaged file is no error.
    public static func open(_ path: String) throws(StateFileError) -> (state: AppliedState, loaded: Loaded) {
        try open(path, interruption: nil)
    }

    /// As ``open(_:)``, with a hook before each step of writing that tests use to stop the world.
    static func open(
        _ path: String, interruption: (@Sendable (DurableDirectory.Step, String) throws(StateFileError) -> Void)?
    ) throws(StateFileError) -> (state: AppliedState, loaded: Loaded) {
        var state = AppliedState(path: path, interruption: interruption)
        var loaded = Loaded()
        for directory in [state.history, state.applied, state.lastGood, state.quarantine] {
            try directory.make()
            try directory.removeTemporaries()
        }
        try state.load(&loaded)
        return (state, loaded)
    }

    private init(
        path: String, interruption: (@Sendable (DurableDirectory.Step, String) throws(StateFileError) -> Void)?
    ) {
        self.path = path
        history = DurableDirectory(path: "\(path)/history", interruption: interruption)
        applied = DurableDirectory(path: "\(path)/applied", interruption: interruption)
        lastGood = DurableDirectory(path: "\(path)/last-good", interruption: interruption)
        quarantine = DurableDirectory(path: "\(path)/quarantine", interruption: interruption)
    }

    // MARK: - Changing

    /// The newest generation; 0 before the first.
    public internal(set) var generation: UInt64 = 0

    /// A generation that a failure of power may still take away. Nothing else is changed while there is one.
    private var unsettled: (generation: StateGeneration, hasFailed: Bool)?

    /// Whether the newest generation may be lost with the machine's power: ``settle()`` is due.
    public var isSettled: Bool { unsettled == nil }

    /// Makes changes, all or none, so that they outlive this process. ``settle()`` makes them outlive the machine: it
    /// waits for the disk, which need not happen before the changes are in force, only before anybody is told so.
    ///
    /// - Parameters:
    ///   - time: seconds since 1970.
    ///   - summary: who and what, for people.
    /// - Returns: the number of the new generation.
    /// - Throws: ``StateFileError``; nothing is changed then. Also if the generation before cannot be made durable.
    @discardableResult
    public mutating func stage(
        _ changes: [ObjectChange], time: Int64, summary: String
    ) throws(StateFileError) -> UInt64 {
        try settle()
        let next = StateGeneration(
            number: generation + 1, time: time, summary: summary,
            changes: changes.map { change in
                .init(reference: change.reference, before: texts[change.reference], after: change.after?.text)
            })
        try history.stage(Self.historyName(next.number), StateFile.encode(next.json))
        unsettled = (next, false)
        generations.append(next)
        generation = next.number
        for change in next.changes {
            texts[change.reference] = change.after
            behind.insert(change.reference)
        }
        return next.number
    }

    /// Makes the newest generation durable; at once if it is.
    ///
    /// - Throws: ``StateFileError``; the generation stays as it is, and the next call tries again.
    public mutating func settle() throws(StateFileError) {
        guard let work = beginSettling() else { return }
        try endSettling(work.perform())
        do { if isDueForTidying { try tidy() } } catch {
            // The generation is durable: the next change, or the next start, does this again.
            lateFailure = error
        }
    }

    /// Begins what ``settle()`` does.
    ///
    /// - Returns: what waits for the disk; ``endSettling(_:)`` takes what it gives, and until then nothing else is done
    ///   to this state. `nil` if the newest generation is durable.
    public mutating func beginSettling() -> DiskWork? {
        guard let (next, hasFailed) = unsettled else { return nil }
        let name = Self.historyName(next.number)
        unsettled?.hasFailed = true
        let history = history
        return DiskWork { () throws(StateFileError) in
            guard hasFailed else { return try history.publish(name) }
            // After a failed fsync the kernel takes bytes for written that are not (fs/buffer.c): they are given again.
            try history.replace([(name, StateFile.encode(next.json))])
            try history.remove(name + DurableDirectory.stagedEnding)
        }
    }

    /// - Throws: what the disk said; ``beginSettling()`` tries again.
    public mutating func endSettling(_ outcome: DiskWork.Outcome) throws(StateFileError) {
        try outcome.get()
        unsettled = nil
        do {
            lateFailure = nil
            try catchUp()
        } catch {
            lateFailure = error
        }
    }

    /// What must be applied and deleted so that everything is as it was after `target`.
    ///
    /// - Returns: for each object that differs its text then, `nil` if it was not there.
    /// - Throws: ``RollbackError`` if `target` is not kept, or is the present.
    public func rollback(
        to target: UInt64
    ) throws(RollbackError) -> [(reference: ObjectReference, text: String?)] {
        guard let oldest = generations.first?.number, generation > 0 else { throw .nothingApplied }
        guard target < generation else { throw .notInThePast(target, newest: generation) }
        // The state after the generation before the oldest is what the oldest one found.
        guard target >= oldest - 1 else { throw .tooOld(target, oldest: oldest - 1) }
        var earlier: [ObjectReference: String?] = [:]
        for generation in generations.reversed() where generation.number > target {
            for change in generation.changes { earlier[change.reference] = .some(change.before) }
        }
        return earlier.filter { texts[$0.key] != $0.value }
            .map { (reference: $0.key, text: $0.value) }.sorted { $0.reference < $1.reference }
    }

    static func historyName(_ number: UInt64) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 10 - digits.count)) + digits + ".json"
    }

    /// Writes the objects whose files are behind. Not durable by itself: the history is.
    mutating func catchUp() throws(StateFileError) {
        var contents: [(name: String, bytes: [UInt8])] = []
        var removals: [String] = []
        for reference in behind.sorted() {
            if let text = texts[reference] {
                contents.append((StateFile.name(reference), StateFile.encode(text)))
            } else {
                removals.append(StateFile.name(reference))
            }
        }
        try applied.replace(contents, removing: removals, isDurable: false)
        behind = []
    }

    /// Forgets the generations beyond ``keptGenerations``.
    ///
    /// - Throws: ``StateFileError``; nothing is lost then, and the next call tries again.
    mutating func tidy() throws(StateFileError) {
        if let work = beginSettling() { try endSettling(work.perform()) }
        try catchUp()
        if let work = beginTidying() { try endTidying(work.perform()) }
    }

    /// Whether ``beginTidying()`` is worth that the disk is waited for twice more.
    public var isDueForTidying: Bool { isSettled && behind.isEmpty && generations.count > 2 * keptGenerations }

    /// Begins to forget the generations beyond ``keptGenerations``, as ``beginSettling()`` begins to settle. To be called
    /// when nobody waits.
    ///
    /// - Returns: `nil` if there is nothing to forget, or if what must outlive it is not written.
    public mutating func beginTidying() -> DiskWork? {
        guard isSettled, behind.isEmpty, generations.count > keptGenerations else { return nil }
        let old = generations.prefix(generations.count - keptGenerations)
        // The files that these generations changed must outlive them.
        let files = Set(old.flatMap { $0.changes.map { StateFile.name($0.reference) } }).sorted()
        let names = old.map { Self.historyName($0.number) }
        let (applied, history) = (applied, history)
        return DiskWork { () throws(StateFileError) in
            try applied.synchronize(files: files)
            for name in names { try history.remove(name) }
        }
    }

    public mutating func endTidying(_ outcome: DiskWork.Outcome) throws(StateFileError) {
        try outcome.get()
        generations.removeFirst(generations.count - keptGenerations)
    }
}

/// Why a rollback is not possible.
public enum RollbackError: Error, Equatable, Sendable, CustomStringConvertible {
    case nothingApplied
    case notInThePast(UInt64, newest: UInt64)
    case tooOld(UInt64, oldest: UInt64)

    public var description: String {
        switch self {
        case .nothingApplied: "nothing has been applied by meshctl, so there is nothing to go back to"
        case .notInThePast(let target, let newest):
            "generation \(target) is not in the past: the newest is \(newest)"
        case .tooOld(let target, let oldest):
            "generation \(target) is no longer kept: the oldest one to go back to is \(oldest)"
        }
    }
}
