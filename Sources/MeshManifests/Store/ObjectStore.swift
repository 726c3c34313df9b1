// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// All objects that are known, from the configuration directory and from `meshctl`, and which of them hold.
///
/// A value without I/O. An invalid object never takes a good one down: the last good version stays in force, and a
/// policy that never had one is replaced by the strictest policy it could have been (``FailClosedSelector``).
/// An object of the directory wins over an applied one of the same name.
public struct ObjectStore: Sendable {
    /// What the data plane must enforce.
    public private(set) var objects = ObjectSet()
    /// Problems of the directory that belong to no object: syntax errors, kinds that are not read, duplicates.
    public private(set) var findings: [ManifestError] = []

    private var directory: [ObjectReference: StoredObject] = [:]
    private var applied: [ObjectReference: StoredObject] = [:]
    /// Good versions from before a restart, until the directory has been read once.
    private var remembered: [ObjectReference: ManifestObject] = [:]

    /// - Parameters:
    ///   - applied: what `meshctl` has applied before a restart, with objects that this version cannot read.
    ///   - lastGood: the directory's objects that were in force before a restart, with the files they came from.
    public init(applied: DecodedManifest = DecodedManifest(), lastGood: [ManifestObject] = []) {
        for object in applied.objects { self.applied[object.reference] = StoredObject(object) }
        for rejected in applied.rejected where self.applied[rejected.reference] == nil {
            self.applied[rejected.reference] = StoredObject(rejected, lastGood: nil)
        }
        remembered = Dictionary(lastGood.map { ($0.reference, $0) }, uniquingKeysWith: { first, _ in first })
        _ = refresh(Set(self.applied.keys))
    }

    // MARK: - The directory

    /// Takes over what the directory says now.
    ///
    /// - Returns: how ``objects`` changed.
    public mutating func update(_ snapshot: DirectorySnapshot) -> MeshChange {
        var next: [ObjectReference: StoredObject] = [:]
        findings = snapshot.findings
        for file in snapshot.files {
            findings += file.manifest.findings
            for object in file.manifest.objects {
                if let first = next[object.reference] {
                    findings += object.rejectedAsDuplicate(of: first.origin).errors
                } else {
                    next[object.reference] = StoredObject(object)
                }
            }
        }
        for file in snapshot.files {
            for rejected in file.manifest.rejected {
                if next[rejected.reference] == nil {
                    next[rejected.reference] = StoredObject(rejected, lastGood: lastGood(rejected.reference))
                } else {
                    findings += rejected.errors
                }
            }
        }
        for file in snapshot.files where file.manifest.hasUnnamedErrors {
            let errors = file.manifest.findings.filter { $0.severity == .error }
            keep(&next, errors: errors) { $0 == file.path }
        }
        for path in snapshot.unreadableDirectories {
            keep(&next, errors: snapshot.findings.filter { $0.file == path }) { $0.hasPrefix(path + "/") }
        }
        // A file that is being written for the first time since the start says nothing yet.
        let known = Set(snapshot.files.map(\.path))
        for path in snapshot.unsettled where !known.contains(path) {
            keep(&next, errors: []) { $0 == path }
        }
        return replaceDirectory(by: next)
    }

    /// Keeps everything as it was, because the directory cannot be read.
    public mutating func directoryIsUnreadable(_ error: ManifestError) -> MeshChange {
        var next: [ObjectReference: StoredObject] = [:]
        keep(&next, errors: [error]) { _ in true }
        findings = [error]
        return replaceDirectory(by: next)
    }

    /// The directory's objects without errors, to be remembered durably.
    public var directoryObjects: [ManifestObject] {
        directory.values.compactMap(\.good).sorted { $0.reference < $1.reference }
    }

    /// Adds to `next` what the files chosen by `isChosen` had, unless it is there: these files cannot be read now.
    private func keep(
        _ next: inout [ObjectReference: StoredObject], errors: [ManifestError], _ isChosen: (String) -> Bool
    ) {
        for (reference, stored) in directory where next[reference] == nil && isChosen(stored.origin.file) {
            var kept = stored
            if !errors.isEmpty { kept.errors = errors }
            next[reference] = kept
        }
        for (reference, object) in remembered where next[reference] == nil && isChosen(object.origin.file) {
            var kept = StoredObject(object)
            kept.errors = errors
            next[reference] = kept
        }
    }

    private func lastGood(_ reference: ObjectReference) -> ManifestObject? {
        directory[reference]?.good ?? remembered[reference] ?? applied[reference]?.good
    }

    private mutating func replaceDirectory(by next: [ObjectReference: StoredObject]) -> MeshChange {
        let touched = Set(directory.keys).union(next.keys)
        directory = next
        remembered = [:]
        return refresh(touched)
    }

    // MARK: - What meshctl applies

    /// What applying `objects` and deleting `deletions` would change. Nothing is changed yet.
    ///
    /// - Throws: ``ApplyRefusal`` with every object that cannot be changed.
    public func plan(
        apply objects: [ManifestObject], delete deletions: [ObjectReference] = []
    ) throws(ApplyRefusal) -> ApplyPlan {
        var plan = ApplyPlan()
        var reasons: [String] = []
        for object in objects {
            if let owner = directory[object.reference] {
                reasons.append(ownership(object.reference, owner, verb: "apply"))
                continue
            }
            let before = applied[object.reference]?.good
            let change = ObjectChange(reference: object.reference, before: before, after: object)
            if before != nil, change.saysTheSame {
                plan.unchanged.append(object.reference)
            } else {
                plan.changes.append(change)
            }
        }
        for reference in deletions {
            if let owner = directory[reference] {
                reasons.append(ownership(reference, owner, verb: "delete"))
            } else if let stored = applied[reference] {
                plan.changes.append(ObjectChange(reference: reference, before: stored.good, after: nil))
            } else {
                reasons.append("\(reference): not found (see meshctl policy get)")
            }
        }
        guard reasons.isEmpty else { throw ApplyRefusal(reasons: reasons) }
        return plan
    }

    /// Carries out a plan that was made from this state.
    ///
    /// - Returns: how ``objects`` changed.
    public mutating func execute(_ plan: ApplyPlan) -> MeshChange {
        for change in plan.changes {
            applied[change.reference] = change.after.map { StoredObject($0) }
        }
        return refresh(Set(plan.changes.map(\.reference)))
    }

    private func ownership(_ reference: ObjectReference, _ owner: StoredObject, verb: String) -> String {
        "\(reference): cannot \(verb): it is owned by the configuration directory, file \(owner.origin) "
            + "(change it there)"
    }

    // MARK: - Reading

    /// The object that was written, good or last good, in the layer that holds.
    public func manifest(_ reference: ObjectReference) -> ManifestObject? {
        directory[reference]?.good ?? applied[reference]?.good
    }

    /// Of every object of both layers, by reference.
    public var statuses: [ObjectStatus] {
        let fromDirectory = directory.map { $0.value.status($0.key, layer: .directory, isShadowed: false) }
        let fromApplied = applied.map {
            $0.value.status($0.key, layer: .applied, isShadowed: directory[$0.key] != nil)
        }
        return (fromDirectory + fromApplied).sorted {
            ($0.reference, $0.layer.rawValue) < ($1.reference, $1.layer.rawValue)
        }
    }

    public func status(_ reference: ObjectReference) -> ObjectStatus? {
        directory[reference]?.status(reference, layer: .directory, isShadowed: false)
            ?? applied[reference]?.status(reference, layer: .applied, isShadowed: false)
    }

    /// The policies whose place is taken by a substitute that denies.
    public var failClosed: [FailClosedSelector] {
        statuses.filter { !$0.isShadowed }.compactMap(\.failClosed)
    }

    private mutating func refresh(_ references: Set<ObjectReference>) -> MeshChange {
        var change = MeshChange()
        for reference in references.sorted() {
            let stored = [directory[reference], applied[reference]].compactMap { $0 }
            let wanted =
                stored.lazy.compactMap(\.good?.object).first
                ?? stored.lazy.compactMap(\.failClosed?.substitute).first
            if let wanted {
                if objects[reference] != wanted { change.changed.append(wanted) }
                objects.insert(wanted)
            } else if objects.remove(reference) != nil {
                change.removed.append(reference)
            }
        }
        return change
    }
}
