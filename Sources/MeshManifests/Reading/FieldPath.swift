// SPDX-License-Identifier: Apache-2.0

/// Where in an object a field is: `spec.ingress[0].from[1]`.
///
/// A linked list towards the root, so that reading costs no text; the text is made when something is wrong.
struct FieldPath: Sendable, CustomStringConvertible {
    private indirect enum Step: Sendable {
        case root
        case key(String, of: Step)
        case index(Int, of: Step)
    }

    private let step: Step

    static let root = FieldPath(step: .root)

    private init(step: Step) {
        self.step = step
    }

    func key(_ key: String) -> FieldPath { FieldPath(step: .key(key, of: step)) }
    func index(_ index: Int) -> FieldPath { FieldPath(step: .index(index, of: step)) }

    var description: String {
        var parts: [String] = []
        var current = step
        while true {
            switch current {
            case .root:
                return parts.reversed().joined()
            case .index(let index, let parent):
                parts.append("[\(index)]")
                current = parent
            case .key(let key, let parent):
                // Keys with dots are annotations and labels: metadata.annotations["sockmesh.io/mesh"].
                let isPlain = !key.isEmpty && key.utf8.allSatisfy { $0.isLetter || $0.isDigit || $0 == 0x5F }
                if !isPlain {
                    parts.append("[\"\(key.clipped)\"]")
                } else if case .root = parent {
                    parts.append(key)
                } else {
                    parts.append(".\(key)")
                }
                current = parent
            }
        }
    }
}

extension UInt8 {
    var isLetter: Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(self) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(self)
    }
}
