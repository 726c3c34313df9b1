// SPDX-License-Identifier: Apache-2.0
import Logging
import MeshModel
import SockOps

/// Ends what an agent of another map layout has left, step by step while this one runs.
///
/// First both layouts judge every connection. When this one's policy covers every pod that the other's does, the other's
/// programs are detached; when their last redirected byte has been read, its maps go. Belongs to the control thread.
final class LayoutTakeover {
    /// Why programs of another layout are still in force; `nil` if none are, or not for longer than a start takes.
    private(set) var problem: String?
    private var isDetached = false
    private var isDone = false
    private let logger: Logger

    init(logger: Logger) { self.logger = logger }

    /// Does what can be done now. Called about once a second; the second call after the programs were detached is the
    /// first that may remove maps, when no program runs any more that redirects.
    func advance(_ reconciler: Reconciler, isComplete: Bool) {
        guard !isDone else { return }
        do throws(BPFError) {
            try step(reconciler, isComplete)
        } catch {
            problem = "what an agent of another version has left is still there: \(error)"
            logger.error("other version not removed", metadata: ["error": "\(error)"])
        }
    }

    private func step(_ reconciler: Reconciler, _ isComplete: Bool) throws(BPFError) {
        let versions = try reconciler.writer.plane.otherVersions()
        guard !versions.isEmpty else {
            problem = nil
            isDone = true
            return
        }
        if !isDetached {
            let live = try reconciler.writer.plane.otherVersionLookups()
            let inForce = Set(reconciler.inForce.values.map(\.netns))
            guard isComplete, Self.covers(live, inForce: inForce, members: reconciler.enrolment.members.values) else {
                let names = versions.map { String($0.split(separator: "/").last ?? "") }.joined(separator: ", ")
                problem =
                    "the programs of another version (\(names)) stay in force beside this one's: they police "
                    + "\(live.subtracting(inForce).count) namespaces that this one does not"
                return
            }
            try reconciler.writer.plane.detachOtherVersions()
            problem = nil
            isDetached = true
            logger.info("programs of another version detached", metadata: ["pins": "\(versions)"])
        } else if RedirectDrain.undrained(try reconciler.writer.plane.otherVersionMembers()) == 0 {
            try reconciler.writer.plane.removeOtherVersions()
            problem = nil
            isDone = true
            logger.info("maps of another version removed", metadata: ["pins": "\(versions)"])
        }
    }

    /// Whether nobody loses policy when the other layout's programs go.
    ///
    /// - Parameters:
    ///   - live: namespaces that the other layout polices.
    ///   - inForce: those that this one does.
    ///   - members: pods that ask for the mesh. If all are in force, what else is alive asks no more.
    static func covers(
        _ live: Set<NetnsCookie>, inForce: Set<NetnsCookie>, members: some Sequence<Enrolment.Member>
    ) -> Bool {
        live.isSubset(of: inForce) || members.allSatisfy { $0.force != .none }
    }
}
