// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import MeshAdmin
import MeshModel
import Testing

@testable import MeshAgent

/// Who is enrolled, with namespaces that the test makes up.
@Suite struct EnrolmentTests {
    /// Namespaces by path; the test changes them while enrolment looks.
    final class World {
        var namespaces: [String: PodNamespace] = [:]
        var looks = 0
        /// What each look ends with, instead of finding something.
        var failure: EnrolmentFailure?
        /// Namespaces that the kernel says live or have gone; of others it says nothing.
        var lives: [NetnsCookie: Bool] = [:]
        var adopted: (namespace: PodNamespace, isProved: Bool)?
        /// Namespaces in which the proxy has listeners; `nil`: there is no proxy.
        var served: Set<NetnsCookie>?

        func enrolment() -> Enrolment {
            Enrolment(
                inspect: { [self] (pod) throws(EnrolmentFailure) in
                    looks += 1
                    if let failure { throw failure }
                    let path = try PodProbe.path(of: pod)
                    guard let found = namespaces[path] else {
                        throw EnrolmentFailure("network namespace \(path) does not exist", .noneAtPath)
                    }
                    return found
                },
                file: { [self] in namespaces[$0]?.file },
                records: .init(
                    exists: { [self] in lives[$0] }, adopted: { [self] _ in adopted },
                    isServed: { [self] in served?.contains($0) ?? true }))
        }

        func add(_ path: String, cookie: NetnsCookie, inode: UInt64? = nil) {
            namespaces[path] = PodNamespace(
                path: path, file: FileIdentity(device: 4, inode: inode ?? cookie), cookie: cookie, isOnVeth: true)
        }
    }

    private static let a = NamespacedName(namespace: "shop", name: "a")
    private static let b = NamespacedName(namespace: "shop", name: "b")
    private let now = ContinuousClock.now

    private static func pod(_ name: NamespacedName, netns: String?) -> Pod {
        Pod(
            metadata: ObjectMetadata(name: name.name, namespace: name.namespace), podIPs: [IPAddress(v4: 0x0a00_0001)],
            mesh: PodMeshSettings(membership: .enabled, netnsPath: netns))
    }

    @Test func aNewPodIsPendingUntilTheProxyHasListenersInIt() {
        let world = World()
        world.served = []
        world.add("/run/netns/a", cookie: 10)
        world.add("/run/netns/b", cookie: 11)
        var enrolment = world.enrolment()
        let pods = [
            Self.a: Self.pod(Self.a, netns: "/run/netns/a"), Self.b: Self.pod(Self.b, netns: "/run/netns/b"),
        ]
        enrolment.update(pods, now: now)
        #expect(enrolment.enrolled.values.allSatisfy { !$0.isReady } && enrolment.enrolled.count == 2)
        enrolment.succeeded(enrolment.enrolled)
        #expect(enrolment.members.values.allSatisfy { $0.state == .pending && $0.force == .refusal })
        world.served = [10]
        enrolment.refresh(now: now + .milliseconds(10))
        #expect(enrolment.enrolled[Self.a]?.isReady == true && enrolment.enrolled[Self.b]?.isReady == false)
        // Not for ever: what needs no proxy works without.
        enrolment.refresh(now: now + Enrolment.listenerPatience)
        #expect(enrolment.enrolled[Self.b]?.isReady == true)
        enrolment.succeeded(enrolment.enrolled)
        // Once in force, it stays so.
        world.served = []
        enrolment.refresh(now: now + .seconds(60))
        #expect(enrolment.members.values.allSatisfy { $0.state == .enabled })
    }

    @Test func aFitPodIsPendingUntilItsPolicyIsInForce() {
        let world = World()
        world.add("/run/netns/a", cookie: 10)
        var enrolment = world.enrolment()
        enrolment.update([Self.a: Self.pod(Self.a, netns: "/run/netns/a")], now: now)
        #expect(enrolment.members[Self.a]?.state == .pending)
        #expect(enrolment.enrolled == [Self.a: EnrolledPod(netns: 10, isOnVeth: true)])
        enrolment.succeeded(enrolment.enrolled)
        #expect(enrolment.members[Self.a]?.state == .enabled)
        #expect(enrolment.directories == ["/run/netns"])
    }

    @Test func aMissingNamespaceIsTriedAgainAndFoundWhenItComes() {
        let world = World()
        var enrolment = world.enrolment()
        enrolment.update([Self.a: Self.pod(Self.a, netns: "/run/netns/a")], now: now)
        #expect(enrolment.members[Self.a]?.state == .failed("network namespace /run/netns/a does not exist"))
        #expect(enrolment.enrolled.isEmpty)
        world.add("/run/netns/a", cookie: 10)
        enrolment.refresh(now: now + .milliseconds(10))
        #expect(enrolment.enrolled.isEmpty, "too soon")
        enrolment.refresh(now: now + .milliseconds(10), directory: "/run/netns")
        #expect(enrolment.enrolled[Self.a]?.netns == 10, "the directory has changed")
    }

    @Test func retriesBecomeRarer() {
        let world = World()
        var enrolment = world.enrolment()
        enrolment.update([Self.a: Self.pod(Self.a, netns: "/run/netns/a")], now: now)
        for milliseconds in stride(from: 0, through: 10_000, by: 50) {
            enrolment.refresh(now: now + .milliseconds(milliseconds))
        }
        #expect((5...10).contains(world.looks), "\(world.looks) looks in ten seconds")
    }

    @Test func aVanishedOrReplacedNamespaceIsNoticedAtOnce() {
        let world = World()
        world.add("/run/netns/a", cookie: 10)
        var enrolment = world.enrolment()
        enrolment.update([Self.a: Self.pod(Self.a, netns: "/run/netns/a")], now: now)
        enrolment.succeeded(enrolment.enrolled)
        world.add("/run/netns/a", cookie: 11)
        enrolment.refresh(now: now + .milliseconds(1))
        #expect(enrolment.enrolled[Self.a]?.netns == 11)
        #expect(enrolment.members[Self.a]?.state == .pending, "another namespace is another pod to the kernel")
        world.namespaces = [:]
        enrolment.refresh(now: now + .milliseconds(2))
        #expect(enrolment.enrolled.isEmpty)
    }

    @Test func aReusedInodeIsNoticedWithinSeconds() {
        let world = World()
        world.add("/run/netns/a", cookie: 10, inode: 77)
        var enrolment = world.enrolment()
        enrolment.update([Self.a: Self.pod(Self.a, netns: "/run/netns/a")], now: now)
        world.add("/run/netns/a", cookie: 11, inode: 77)
        enrolment.refresh(now: now + .seconds(11))
        #expect(enrolment.enrolled[Self.a]?.netns == 11)
    }

    @Test func oneNamespaceIsOnePod() {
        let world = World()
        world.add("/run/netns/a", cookie: 10)
        world.add("/run/netns/b", cookie: 10)
        var enrolment = world.enrolment()
        enrolment.update(
            [
                Self.b: Self.pod(Self.b, netns: "/run/netns/b"), Self.a: Self.pod(Self.a, netns: "/run/netns/a"),
            ], now: now)
        #expect(enrolment.enrolled.keys.sorted() == [Self.a])
        #expect(enrolment.members[Self.b]?.state == .failed("/run/netns/b is already the network namespace of shop/a"))
    }

    @Test func whoNoLongerAsksIsForgotten() {
        let world = World()
        world.add("/run/netns/a", cookie: 10)
        var enrolment = world.enrolment()
        enrolment.update([Self.a: Self.pod(Self.a, netns: "/run/netns/a")], now: now)
        enrolment.update([:], now: now)
        #expect(enrolment.members.isEmpty)
    }

    @Test func aPodWithoutANamespaceSaysWhatIsMissing() {
        let world = World()
        var enrolment = world.enrolment()
        enrolment.update([Self.a: Self.pod(Self.a, netns: nil)], now: now)
        guard case .failed(let reason)? = enrolment.members[Self.a]?.state else {
            Issue.record("not failed")
            return
        }
        #expect(reason.contains("sockmesh.io/netns") && reason.contains("sockmesh.io/pid"))
    }

    @Test func processesOutsideAreReportedByNamespace() {
        let world = World()
        world.add("/run/netns/a", cookie: 10)
        var enrolment = world.enrolment()
        enrolment.update([Self.a: Self.pod(Self.a, netns: "/run/netns/a")], now: now)
        enrolment.succeeded(enrolment.enrolled)
        enrolment.setOutside([10: [OutsideProcess(pid: 42, command: "nc", cgroup: "/x")]])
        #expect(
            WorkloadReporter.redirection(of: Self.a, enrolment).text
                == "failed: processes outside the hooked cgroup: 42; "
                + "the policy of the pod's other processes stays in force")
        #expect(enrolment.enrolled == [Self.a: EnrolledPod(netns: 10, isOnVeth: true)], "and it does")
        enrolment.recheckOutside { process, _ in process.pid == 42 }
        #expect(enrolment.members[Self.a]?.state != .enabled)
        enrolment.recheckOutside { _, _ in false }
        #expect(WorkloadReporter.redirection(of: Self.a, enrolment).text == "enabled")
        enrolment.setOutside([10: [OutsideProcess(pid: 43, command: "nc", cgroup: "/x")]])
        enrolment.setOutside([:])
        #expect(WorkloadReporter.redirection(of: Self.a, enrolment).text == "enabled")
    }
}
