// SPDX-License-Identifier: Apache-2.0

import MeshAdmin

/// Steps of uninstalling for people.
enum UninstallText {
    /// As many steps of one kind and outcome are listed one by one; more are counted.
    private static let listed = 3

    /// Failures are always listed; of what went well, kinds with many are counted: `removed  24 x pin`.
    static func render(_ steps: [UninstallStep]) -> String {
        var text = ""
        var counted: Set<String> = []
        for step in steps {
            let kind = String(step.subject.prefix { $0 != ":" })
            let alike = steps.filter { $0.outcome == step.outcome && $0.subject.hasPrefix("\(kind):") }
            guard step.outcome != .failed, alike.count > listed else {
                text += "\(step.outcome.rawValue)  \(step.subject)" + (step.detail.map { ": \($0)" } ?? "") + "\n"
                continue
            }
            if counted.insert("\(step.outcome.rawValue) \(kind)").inserted {
                text +=
                    "\(step.outcome.rawValue)  \(alike.count) x \(kind), from \(step.subject.dropFirst(kind.count + 2))\n"
            }
        }
        return text
    }

    static func leftovers(_ steps: [UninstallStep], node: String) -> String {
        steps.isEmpty ? "Nothing is left of node \(node).\n" : render(steps)
    }
}
