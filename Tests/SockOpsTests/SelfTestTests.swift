// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import Testing

@testable import SockOps

@Suite struct SelfTestReportTests {
    private func report(_ gates: [(SelfTestReport.Gate, Bool)]) -> SelfTestReport {
        SelfTestReport(
            checks: gates.map { .init(name: "n", title: "t", gate: $0.0, passed: $0.1, detail: "") },
            duration: .zero)
    }

    @Test func aFailedCheckTakesAwayWhatItGates() {
        #expect(report([(.enabled, true), (.auto, true)]).allowsAuto)
        #expect(report([(.enabled, true), (.auto, false)]).allowsEnabled)
        #expect(!report([(.enabled, true), (.auto, false)]).allowsAuto)
        #expect(!report([(.enabled, false), (.auto, true)]).allowsEnabled)
        #expect(!report([(.enabled, false), (.auto, true)]).allowsAuto)
        #expect(report([(.enabled, false), (.auto, true)]).failures.count == 1)
    }

    @Test func nothingTriedAllowsNothing() {
        #expect(!report([]).allowsEnabled)
        #expect(!report([]).allowsAuto)
    }
}

extension KernelTests {
    @Suite struct SelfTestTests {
        @Test func theFastPathIsTriedWithinASecondAndLeavesNothing() throws {
            let parent = try TestCgroup("selftest")
            let before = try LoadedPrograms.orphans()
            let report = try SelfTest.run(object: TestNode.object(), below: parent.cgroup)
            // The bound is a second; the margin is for machines that run other tests at the same time.
            #expect(report.duration < .seconds(5), "\(report.duration)")
            #expect(
                report.checks.map(\.name) == [
                    "redirect", "order-deferred-accept", "order-downgrade", "epipe", "memory", "fionread-redirected",
                    "fionread-tcp", "fionread-deferred", "tripwires",
                ])
            #expect(report.checks.allSatisfy { $0.passed || !$0.detail.isEmpty })
            #expect(report.failures.allSatisfy { $0.gate == .auto }, "\(report.failures)")
            #expect(try parent.cgroup.children().isEmpty)
            // Programs that a node of the machine has pinned are not the test's.
            #expect(try eventually { try LoadedPrograms.orphans().isSubset(of: before) })
        }

        @Test func aTestThatCannotRunAllowsNothing() throws {
            let parent = try TestCgroup("selftest-bad")
            let report = try SelfTest.run(object: Fixture.file(), below: parent.cgroup)
            #expect(report.checks.map(\.name) == ["setup"])
            #expect(!report.allowsEnabled)
            #expect(report.checks.first?.detail.contains("fixture.bpf.o") == true)
            #expect(try parent.cgroup.children().isEmpty)
        }

        @Test func whatAKilledTestLeftIsRemoved() throws {
            let parent = try TestCgroup("selftest-stale")
            // Above the largest number of a process (PID_MAX_LIMIT of linux/threads.h).
            let stale = Cgroup(path: parent.cgroup.path + "/selftest-4194305")
            let foreign = Cgroup(path: parent.cgroup.path + "/selftest-x")
            try stale.create()
            try foreign.create()
            _ = try SelfTest.run(object: TestNode.object(), below: parent.cgroup)
            #expect(!stale.exists)
            #expect(foreign.exists)
        }
    }
}
