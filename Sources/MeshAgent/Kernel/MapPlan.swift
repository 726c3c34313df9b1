// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshModel

/// The writes that lead the kernel from the tables it has to an image, in an order that no verdict can tell.
///
/// The generation in force reads one slot of every slot array. ``prepare`` fills the other one, and what nothing
/// names yet; it may fail and be undone, and nobody notices. The flip makes every verdict one of the new image.
/// What only the old one needed goes after a grace period, when no program can be in the middle of reading it.
struct MapPlan: Equatable {
    /// Before the flip; invisible to verdicts.
    var prepare: [MapOperation] = []
    /// The new generation; `nil` if no verdict differs, and then there is no flip.
    var flip: UInt32?
    /// At once after the flip: what has no slots.
    var settle: [MapOperation] = []
    /// After a grace period: what nothing names any more.
    var garbage: [MapOperation] = []

    var isEmpty: Bool { prepare.isEmpty && flip == nil && settle.isEmpty && garbage.isEmpty }

    /// All of it in order, as the kernel sees it.
    var operations: [MapOperation] {
        prepare + (flip.map { [.flip($0)] } ?? []) + settle
            + (garbage.isEmpty ? [] : [.gracePeriod] + garbage)
    }

    init() {}

    /// - Parameters:
    ///   - keys: those where tables and image may differ, and those whose inactive slots do not say what the active
    ///     ones do. Everything, if not given.
    init(from tables: KernelTables, to image: KernelImage, at keys: ImageKeys? = nil) {
        var planner = MapPlanner(tables: tables, image: image, keys: keys ?? ImageKeys(tables, image))
        self = planner.make()
    }
}
