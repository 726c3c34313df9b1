// SPDX-License-Identifier: Apache-2.0

import MeshAdmin

/// Steps of uninstalling for people.
enum UninstallText {
    static func render(_ steps: [UninstallStep]) -> String {
        steps.map { step in
            "\(step.outcome.rawValue)  \(step.subject)" + (step.detail.map { ": \($0)" } ?? "") + "\n"
        }.joined()
    }

    static func leftovers(_ steps: [UninstallStep], node: String) -> String {
        steps.isEmpty ? "Nothing is left of node \(node).\n" : render(steps)
    }
}
