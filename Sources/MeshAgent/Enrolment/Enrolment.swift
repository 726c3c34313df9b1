// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import MeshModel

/// Which pods of this node the kernel hooks shall cover, and how far each has come.
///
/// A value: it decides who is enrolled by looking at namespaces through its probe; ``Reconciler`` puts that in force.
struct Enrolment {
    /// As in the annotation `sockmesh.io/redirection`.
    enum State: Hashable, Sendable {
        /// Found fit; identity and policy are not in force yet.
        case pending
        case enabled
        /// It is tried again, as long as the Pod asks for it.
        case failed(String)
    }

    /// One pod of this node that has asked for the mesh.
    struct Member: Sendable {
        var pod: Pod
        var state: State
        /// `nil` while ``state`` is failed.
        var namespace: PodNamespace?
        /// Processes of the namespace that no hook sees.
        var outside: [OutsideProcess] = []
        /// Looks into the namespace again not before this time, ContinuousClock.
        var retryAt: ContinuousClock.Instant
        /// Failures in a row.
        var failures = 0
    }

    private(set) var members: [NamespacedName: Member] = [:]
    private let inspect: (Pod) throws(EnrolmentFailure) -> PodNamespace
    private let file: (String) -> FileIdentity?

    /// Between two looks at a pod that failed: at first soon, because its namespace is probably being made.
    private static let retries: [Duration] = [.milliseconds(100), .milliseconds(250), .milliseconds(500), .seconds(2)]
    /// Between two looks into the namespace of an enrolled pod. Its file's identity is compared more often, but inode
    /// numbers of namespaces are used again.
    private static let recheck = Duration.seconds(10)

    /// - Parameters:
    ///   - inspect: as ``PodProbe/inspect(_:)``.
    ///   - file: as ``PodProbe/file(at:)``.
    init(
        inspect: @escaping (Pod) throws(EnrolmentFailure) -> PodNamespace,
        file: @escaping (String) -> FileIdentity? = PodProbe.file
    ) {
        self.inspect = inspect
        self.file = file
    }

    /// What is known of each pod that can be enrolled, for the kernel's tables.
    var enrolled: [NamespacedName: EnrolledPod] {
        members.compactMapValues { member in
            member.namespace.map { EnrolledPod(netns: $0.cookie, isOnVeth: $0.isOnVeth) }
        }
    }

    /// Directories that hold the namespace files, to be watched.
    var directories: Set<String> {
        Set(
            members.values.compactMap { member in
                (try? PodProbe.path(of: member.pod)).flatMap { path in
                    path.hasPrefix("/proc/") ? nil : path.lastIndex(of: "/").map { String(path[..<$0]) }
                }
            })
    }

    /// Takes over which pods have asked for the mesh, and looks into the namespaces of those that are new or differ.
    mutating func update(_ pods: [NamespacedName: Pod], now: ContinuousClock.Instant) {
        members = members.filter { pods[$0.key] != nil }
        for (name, pod) in pods {
            if var member = members[name] {
                let mustLook =
                    member.pod.podIPs != pod.podIPs
                    || (try? PodProbe.path(of: member.pod)) != (try? PodProbe.path(of: pod))
                member.pod = pod
                if mustLook { member.retryAt = now }
                members[name] = member
            } else {
                members[name] = Member(pod: pod, state: .pending, retryAt: now)
            }
        }
        refresh(now: now)
    }

    /// Looks again where it is time, and at once where a namespace file has gone or is another one.
    ///
    /// - Parameter directory: also at all namespaces in this directory, in which something has changed.
    mutating func refresh(now: ContinuousClock.Instant, directory: String? = nil) {
        // By name, so that of two pods with one namespace always the same one gets it.
        for name in members.keys.sorted() {
            guard let member = members[name] else { continue }
            let path = member.namespace?.path ?? (try? PodProbe.path(of: member.pod)) ?? ""
            let isReplaced = member.namespace.map { file($0.path) != $0.file } ?? false
            let isNear = directory.map { path.hasPrefix($0 + "/") } ?? false
            if now >= member.retryAt || isReplaced || isNear { look(at: name, now: now) }
        }
    }

    private mutating func look(at name: NamespacedName, now: ContinuousClock.Instant) {
        guard var member = members[name] else { return }
        do throws(EnrolmentFailure) {
            let found = try inspect(member.pod)
            if let other = members.first(where: { $0.key != name && $0.value.namespace?.cookie == found.cookie })?.key {
                throw EnrolmentFailure("\(found.path) is already the network namespace of \(other)")
            }
            if member.namespace?.cookie != found.cookie {
                member.state = .pending
                member.outside = []
            }
            member.namespace = found
            member.failures = 0
            member.retryAt = now + Self.recheck
        } catch {
            fail(&member, error, now)
        }
        members[name] = member
    }

    private func fail(_ member: inout Member, _ failure: EnrolmentFailure, _ now: ContinuousClock.Instant) {
        member.namespace = nil
        member.outside = []
        member.state = .failed(failure.description)
        member.retryAt = now + Self.retries[min(member.failures, Self.retries.count - 1)]
        member.failures += 1
    }

    // MARK: - What came of it

    /// Identity and policy of these pods are in force.
    mutating func succeeded(_ names: some Sequence<NamespacedName>) {
        for name in names where members[name]?.namespace != nil { members[name]?.state = .enabled }
    }

    /// A pod could not be enrolled in the kernel.
    mutating func failed(_ name: NamespacedName, _ failure: EnrolmentFailure, now: ContinuousClock.Instant) {
        guard var member = members[name] else { return }
        fail(&member, failure, now)
        members[name] = member
    }

    /// What the last look at all processes found, by netns cookie.
    mutating func setOutside(_ outside: [NetnsCookie: [OutsideProcess]]) {
        for (name, member) in members {
            members[name]?.outside = member.namespace.flatMap { outside[$0.cookie] } ?? []
        }
    }
}
