// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import MeshModel
import Testing

@testable import MeshAgent

/// Looks that fail: a pod under policy stays there, one that is not is refused everything where its namespace is known.
@Suite struct EnrolmentFailureTests {
    private typealias World = EnrolmentTests.World

    private static let a = NamespacedName(namespace: "shop", name: "a")
    private let now = ContinuousClock.now

    private static func pod(_ addresses: [IPAddress] = [IPAddress(v4: 0x0a00_0001)]) -> Pod {
        Pod(
            metadata: ObjectMetadata(name: "a", namespace: "shop"), podIPs: addresses,
            mesh: PodMeshSettings(membership: .enabled, netnsPath: "/run/netns/a"))
    }

    private static func namespace(_ cookie: NetnsCookie) -> PodNamespace {
        PodNamespace(
            path: "/run/netns/a", file: FileIdentity(device: 4, inode: cookie), cookie: cookie, isOnVeth: true)
    }

    /// One pod, under policy in namespace 10.
    private func underPolicy(_ world: World) -> Enrolment {
        world.add("/run/netns/a", cookie: 10)
        var enrolment = world.enrolment()
        enrolment.update([Self.a: Self.pod()], now: now)
        enrolment.succeeded(enrolment.enrolled)
        return enrolment
    }

    private func reason(_ enrolment: Enrolment) -> String? {
        if case .failed(let reason)? = enrolment.members[Self.a]?.state { reason } else { nil }
    }

    private static let inPolicy = [a: EnrolledPod(netns: 10, isOnVeth: true)]

    @Test(arguments: [
        EnrolmentFailure("open: Too many open files"), EnrolmentFailure("netlink: No buffer space available"),
        EnrolmentFailure("address 10.0.0.1 is not configured", .unfit(namespace(10))),
        EnrolmentFailure("claimed", .foreign(10)),
    ])
    func aLookThatFailsTakesNoPolicyAway(failure: EnrolmentFailure) {
        let world = World()
        var enrolment = underPolicy(world)
        world.failure = failure
        for second in 1...30 {
            enrolment.refresh(now: now + .seconds(second))
            #expect(enrolment.enrolled == Self.inPolicy)
        }
        #expect(reason(enrolment) == "\(failure); its policy stays in force")
        world.failure = nil
        enrolment.refresh(now: now + .seconds(60))
        #expect(enrolment.members[Self.a]?.state == .enabled, "and it was never out of force")
    }

    @Test(arguments: [true, false, nil])
    func withoutAPathTheKernelSaysWhetherItLives(lives: Bool?) {
        let world = World()
        var enrolment = underPolicy(world)
        world.namespaces = [:]
        world.lives[10] = lives
        enrolment.refresh(now: now + .seconds(1))
        #expect(enrolment.enrolled == (lives == true ? Self.inPolicy : [:]))
        #expect(reason(enrolment)?.contains("does not exist") == true)
        #expect(reason(enrolment)?.contains("stays in force") == (lives == true))
    }

    @Test func aNamespaceThatHasGoneIsLetGoWhateverTheLookSays() {
        let world = World()
        var enrolment = underPolicy(world)
        world.failure = EnrolmentFailure("not a namespace")
        world.lives[10] = false
        enrolment.refresh(now: now + .seconds(11))
        #expect(enrolment.enrolled.isEmpty)
    }

    @Test(arguments: [EnrolmentFailure.Finding.unfit(namespace(11)), .foreign(1)])
    func anotherNamespaceReplacesTheOldOne(finding: EnrolmentFailure.Finding) {
        let world = World()
        var enrolment = underPolicy(world)
        world.failure = EnrolmentFailure("wrong", finding)
        enrolment.refresh(now: now + .seconds(11))
        #expect(enrolment.enrolled[Self.a]?.netns != 10)
        #expect(enrolment.members[Self.a]?.force == Enrolment.Force.none)
    }

    @Test func anUnfitPodIsRefusedEverything() {
        let world = World()
        world.failure = EnrolmentFailure("address", .unfit(Self.namespace(10)))
        var enrolment = world.enrolment()
        enrolment.update([Self.a: Self.pod()], now: now)
        #expect(enrolment.enrolled == [Self.a: EnrolledPod(netns: 10, isOnVeth: true, isReady: false)])
        #expect(reason(enrolment) == "address")
        enrolment.succeeded(enrolment.enrolled)
        #expect(reason(enrolment) == "address; it is refused everything but its own loopback")
        world.failure = nil
        world.add("/run/netns/a", cookie: 10)
        enrolment.refresh(now: now + .seconds(1))
        #expect(enrolment.enrolled == Self.inPolicy)
        #expect(enrolment.members[Self.a]?.state == .pending)
    }

    /// The node's namespace, another pod's or another node's: to refuse anything there would hit others.
    @Test func aForeignNamespaceIsLeftAlone() {
        let world = World()
        world.failure = EnrolmentFailure("the node's own", .foreign(1))
        var enrolment = world.enrolment()
        enrolment.update([Self.a: Self.pod()], now: now)
        #expect(enrolment.enrolled.isEmpty)
    }

    @Test func aPodWithoutAddressesIsRefusedEverything() {
        let world = World()
        var enrolment = underPolicy(world)
        enrolment.update([Self.a: Self.pod([])], now: now)
        #expect(enrolment.enrolled == [Self.a: EnrolledPod(netns: 10, isOnVeth: true, isReady: false)])
    }

    @Test func whatTheKernelRefusedIsRefusedToThePod() {
        let world = World()
        world.add("/run/netns/a", cookie: 10)
        var enrolment = world.enrolment()
        enrolment.update([Self.a: Self.pod()], now: now)
        enrolment.failed(Self.a, EnrolmentFailure("attach: no memory"), now: now)
        #expect(
            enrolment.enrolled == [Self.a: EnrolledPod(netns: 10, isOnVeth: true, isReady: false, takesLookup: false)])
        enrolment.refresh(now: now + .seconds(1))
        #expect(enrolment.enrolled == Self.inPolicy, "it is tried again")
    }

    @Test(arguments: [true, false])
    func anEarlierAgentsPodIsKept(isProved: Bool) {
        let world = World()
        world.failure = EnrolmentFailure("open: Too many open files")
        world.adopted = (Self.namespace(10), isProved)
        var enrolment = world.enrolment()
        enrolment.update([Self.a: Self.pod()], now: now)
        #expect(enrolment.enrolled == [Self.a: EnrolledPod(netns: 10, isOnVeth: true, isReady: isProved)])
    }
}
