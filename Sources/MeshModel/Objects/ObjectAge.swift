// SPDX-License-Identifier: Apache-2.0

/// The order in which the Gateway API prefers objects that want the same: the oldest first, then by name. An object
/// without a time is newer than any that has one.
struct ObjectAge: Comparable {
    let time: String?
    let name: String
    let kind: String

    init(_ metadata: ObjectMetadata, kind: String) {
        time = metadata.creationTimestamp
        name = metadata.namespacedName.description
        self.kind = kind
    }

    static func < (left: Self, right: Self) -> Bool {
        switch (left.time, right.time) {
        case (let one?, let other?) where one != other: one < other
        case (_?, nil): true
        case (nil, _?): false
        default: (left.name, left.kind) < (right.name, right.kind)
        }
    }
}
