// SPDX-License-Identifier: Apache-2.0
import MeshModel
import Testing

@testable import MeshAgent

/// When the programs of another map layout may go.
@Suite struct LayoutTakeoverTests {
    private static func member(_ force: Enrolment.Force) -> Enrolment.Member {
        var member = Enrolment.Member(
            pod: Pod(metadata: ObjectMetadata(name: "a", namespace: "shop")), retryAt: .now)
        member.force = force
        return member
    }

    @Test func itGoesWhenEveryNamespaceIsCovered() {
        #expect(LayoutTakeover.covers([1, 2], inForce: [1, 2, 3], members: [Self.member(.none)]))
        #expect(LayoutTakeover.covers([], inForce: [], members: [Self.member(.none)]))
    }

    @Test func itStaysForAPodThatIsNotFound() {
        #expect(!LayoutTakeover.covers([1, 2], inForce: [1], members: [Self.member(.policy), Self.member(.none)]))
    }

    /// The namespace of a pod whose object has gone meanwhile.
    @Test func itDoesNotStayForWhatAsksNoMore() {
        #expect(LayoutTakeover.covers([1, 2], inForce: [1], members: [Self.member(.policy), Self.member(.refusal)]))
        #expect(LayoutTakeover.covers([2], inForce: [], members: []))
    }
}
