// SPDX-License-Identifier: Apache-2.0

import MeshAdmin

/// Policies and changes of policy for people.
enum PolicyText {
    static func list(_ policies: [PolicyReport]) -> String {
        var table = Table("KIND", "NAME", "ORIGIN", "STATE", "SELECTS", "FINDINGS")
        for policy in policies {
            let selects = policy.selects.prefix(3).joined(separator: ",")
            let more = policy.selects.count > 3 ? " and \(policy.selects.count - 3) more" : ""
            let findings = policy.findings.isEmpty ? "" : "\(policy.findings.count)"
            table.add(
                policy.policy.kind, "\(policy.policy.namespace)/\(policy.policy.name)",
                policy.file.map { "\(policy.origin.rawValue) \($0)" } ?? policy.origin.rawValue, state(policy.state),
                selects + more, findings)
        }
        return table.rendered(empty: "No policies.")
            + policies.flatMap(\.findings).map { "\($0)\n" }.joined()
    }

    /// The manifests as YAML documents, with what is known about each in comments before it.
    static func manifests(_ policies: [PolicyReport]) -> String {
        policies.map { policy in
            var text = "---\n# \(policy.policy): \(policy.origin.rawValue)"
            if let file = policy.file { text += " \(file)" }
            text += ", \(state(policy.state))\n"
            for finding in policy.findings { text += "# \(finding)\n" }
            return text + policy.manifest + (policy.manifest.hasSuffix("\n") ? "" : "\n")
        }.joined()
    }

    static func change(_ result: PolicyChangeResult) -> String {
        let changed = result.changes.map { "\($0.action.rawValue)  \($0.policy)\n" }.joined()
        let took = "\(Units.seconds(result.milliseconds / 1000))"
        guard result.generation != result.previousGeneration else {
            return changed + "nothing to change: generation \(result.generation) stays in force\n"
        }
        return changed + "enforced as generation \(result.generation), after \(took)\n"
    }

    static func diff(_ diff: PolicyDiff) -> String {
        var text = ""
        for entry in diff.entries where entry.change.action != .unchanged {
            let name = entry.change.policy.description
            text += "--- \(entry.before == nil ? "(none)" : "\(name) (in force)")\n"
            text += "+++ \(entry.after == nil ? "(none)" : "\(name) (new)")\n"
            text += LineDiff.unified(entry.before ?? "", entry.after ?? "")
        }
        return text.isEmpty ? "No differences.\n" : text
    }

    static func generations(_ generations: [GenerationReport]) -> String {
        var table = Table(">GENERATION", "TIME", "CAUSE", "CHANGES", "")
        for generation in generations {
            let changes = generation.changes.map { "\($0.action.rawValue) \($0.policy)" }
            table.addContinuation(
                "\(generation.generation)", String(generation.time.description.prefix(19)) + "Z", generation.cause,
                changes.prefix(2).joined(separator: ", ")
                    + (changes.count > 2 ? " and \(changes.count - 2) more" : ""),
                generation.current ? "in force" : generation.restorable ? "" : "cannot be restored")
        }
        return table.rendered(empty: "No generation is remembered.")
    }

    private static func state(_ state: PolicyReport.State) -> String {
        switch state {
        case .enforced: "enforced"
        case .lastGood: "last good version"
        case .invalid: "invalid: denies"
        }
    }
}
