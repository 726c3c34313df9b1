// SPDX-License-Identifier: Apache-2.0

import MeshAdmin

/// Pods for people.
enum WorkloadText {
    static func render(_ workloads: [WorkloadReport]) -> String {
        var table = Table(
            "POD", "ADDRESSES", "REDIRECTION", "ACCELERATED", "IDENTITY", "POLICIES", ">OPEN", ">DENIED", ">LOST")
        var outside = ""
        for workload in workloads {
            let name = "\(workload.namespace)/\(workload.name)"
            table.add(
                name, workload.addresses.joined(separator: ","), workload.redirection.text,
                acceleration(workload.acceleration), "\(workload.identity.number)",
                workload.policies.map(\.name).joined(separator: ","), "\(workload.connections.open)",
                "\(workload.connections.denied)", "\(workload.lostEvents)")
            for process in workload.outsideProcesses {
                outside +=
                    "warning: \(name): process \(process.pid) (\(process.command)) is outside the hooked cgroup\n"
            }
        }
        if !outside.isEmpty {
            outside = "\n\(outside)start processes of pods with: meshctl run --pod NAMESPACE/NAME -- COMMAND\n"
        }
        return table.rendered(empty: "No pods are enrolled.") + outside
    }

    private static func acceleration(_ report: WorkloadAccelerationReport) -> String {
        if report.effective { return "yes" }
        return report.reason.map { "no (\($0))" } ?? "no"
    }
}
