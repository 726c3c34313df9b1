// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import SockOps

@Suite struct KernelVersionTests {
    @Test(arguments: [
        ("6.1.0-28-cloud-amd64", "6.1"), ("6.18.44-fc-v669", "6.18"), ("5.15", "5.15"), ("6.12-rc1", "6.12"),
    ])
    func aReleaseHasAMajorAndAMinorNumber(release: String, version: String) {
        #expect(KernelVersion(release: release)?.description == version)
    }

    @Test func versionsCompareByNumberNotByText() {
        #expect(KernelVersion(major: 5, minor: 9) < KernelVersion(major: 5, minor: 18))
        #expect(KernelVersion(major: 5, minor: 18) < KernelVersion(major: 6, minor: 1))
        #expect(KernelVersion(release: "six") == nil)
        #expect(KernelVersion(release: "6") == nil)
    }
}

@Suite struct KernelFeaturesSummaryTests {
    private func feature(_ name: String, required: Bool, present: Bool) -> KernelFeatures.Feature {
        .init(name: name, isRequired: required, isPresent: present, detail: "", minimumKernel: nil)
    }

    @Test func onlyWhatIsRequiredCanMakeAKernelInsufficient() {
        let wanting = KernelFeatures(features: [
            feature("a", required: true, present: true), feature("b", required: false, present: false),
        ])
        #expect(wanting.areSufficient)
        #expect(wanting.missing.isEmpty)
        let lacking = KernelFeatures(features: [feature("c", required: true, present: false)])
        #expect(!lacking.areSufficient)
        #expect(lacking.missing.map(\.name) == ["c"])
    }
}

extension KernelTests {
    @Suite struct KernelFeaturesTests {
        @Test func aKernelThatLoadsTheProgramsIsFoundSufficient() throws {
            // The probes must agree with the fact: this kernel loads the object.
            _ = try TestNode.object().load().name
            let features = KernelFeatures.probe()
            #expect(features.missing == [])
            #expect(features.areSufficient)
            #expect(features.features.allSatisfy { !$0.detail.isEmpty })
            #expect(Set(features.features.map(\.name)).count == features.features.count)
        }

        @Test func probingLeavesNoDescriptor() {
            func bpfDescriptors() -> Int {
                openDescriptors().filter { $0.key.hasPrefix("anon_inode:bpf") }.values.reduce(0, +)
            }
            _ = KernelFeatures.probe()
            let before = bpfDescriptors()
            _ = KernelFeatures.probe()
            #expect(bpfDescriptors() == before)
        }
    }
}
