// SPDX-License-Identifier: Apache-2.0
import MeshAdmin
import MeshManifests
import MeshModel

/// How changes are told, undone and rolled back.
extension MeshState {
    static func policyChanges(_ change: MeshChange, _ before: ObjectSet) -> [PolicyChange] {
        change.changed.filter(\.isPolicy).map {
            PolicyChange(PolicyReference($0.reference), before[$0.reference] == nil ? .created : .updated)
        } + change.removed.filter { before[$0]?.isPolicy ?? false }.map { PolicyChange(PolicyReference($0), .deleted) }
    }

    /// The change that undoes `change`, which was made on `before`.
    static func reverse(of change: MeshChange, _ before: ObjectSet) -> MeshChange {
        let touched = change.changed.map(\.reference) + change.removed
        return MeshChange(
            changed: touched.compactMap { before[$0] }, removed: touched.filter { before[$0] == nil })
    }

    static func report(_ changes: [ObjectChange]) -> [PolicyChange] {
        changes.map {
            PolicyChange(
                PolicyReference($0.reference), $0.after == nil ? .deleted : $0.before == nil ? .created : .updated)
        }
    }

    /// What must be applied and deleted to have what was applied in generation `target` of the kernel, or before the
    /// last change if it is `nil`.
    func rollback(to target: UInt32?) throws(AdminError) -> (objects: [ManifestObject], deletions: [ObjectReference]) {
        let number: UInt64
        if let target {
            guard let record = numbers.generations.last(where: { $0.generation <= target }) else {
                throw AdminError(
                    .notFound, "generation \(target) is not remembered",
                    hint: "meshctl policy rollback --list shows those that are")
            }
            number = record.applied
        } else {
            guard writer.applied.generation > 0 else {
                throw AdminError(.conflict, "nothing has been applied by meshctl, so there is nothing to go back to")
            }
            number = writer.applied.generation - 1
        }
        guard number != writer.applied.generation else { return ([], []) }
        let texts: [(reference: ObjectReference, text: String?)]
        do throws(RollbackError) { texts = try writer.applied.rollback(to: number) } catch {
            throw AdminError(.conflict, error.description)
        }
        var objects: [ManifestObject] = []
        var deletions: [ObjectReference] = []
        for (reference, text) in texts {
            guard let text else {
                deletions.append(reference)
                continue
            }
            let manifest = ManifestDecoder(unknownKinds: .refuse, kinds: kinds)
                .decode(Array(text.utf8), file: "rollback")
            guard manifest.errors.isEmpty else {
                throw AdminError(
                    .invalidInput, "\(reference) as it was then is refused now",
                    findings: manifest.errors.map { MeshAdmin.Finding($0) })
            }
            objects += manifest.objects
        }
        return (objects, deletions)
    }
}
