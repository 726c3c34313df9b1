// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// What became of an object that somebody has written.
public struct ObjectStatus: Sendable {
    /// Where objects come from, the stronger first.
    public enum Layer: String, Hashable, Sendable {
        /// The configuration directory.
        case directory
        /// `meshctl policy apply`.
        case applied
    }

    public enum State: Sendable, Equatable {
        case inForce
        /// The object has errors, and there is no older version. A policy is replaced by its strictest substitute.
        case rejected([ManifestError])
        /// The object has errors; the version before them holds.
        case lastGoodInForce([ManifestError])
    }

    public let reference: ObjectReference
    public let layer: Layer
    public let state: State
    /// Where the newest version is written, with its errors or without.
    public let origin: ObjectOrigin
    /// For a rejected policy: what is denied instead.
    public let failClosed: FailClosedSelector?
    /// Whether the directory has an object of the same name, which holds instead of this applied one.
    public let isShadowed: Bool
    /// Of the version that is in force.
    public let warnings: [ManifestError]
}

/// One object as one layer knows it.
struct StoredObject: Sendable {
    /// The newest version without errors.
    var good: ManifestObject?
    /// The newest version, if it has errors.
    var errors: [ManifestError] = []
    var failClosed: FailClosedSelector?
    var origin: ObjectOrigin

    init(_ good: ManifestObject) {
        self.good = good
        self.origin = good.origin
    }

    init(_ rejected: RejectedObject, lastGood: ManifestObject?) {
        self.good = lastGood
        self.errors = rejected.errors
        self.failClosed = lastGood == nil ? rejected.failClosed : nil
        self.origin = rejected.origin
    }

    func status(_ reference: ObjectReference, layer: ObjectStatus.Layer, isShadowed: Bool) -> ObjectStatus {
        let state: ObjectStatus.State =
            errors.isEmpty
            ? .inForce : good == nil ? .rejected(errors) : .lastGoodInForce(errors)
        return ObjectStatus(
            reference: reference, layer: layer, state: state, origin: origin, failClosed: failClosed,
            isShadowed: isShadowed, warnings: good?.warnings ?? [])
    }
}
