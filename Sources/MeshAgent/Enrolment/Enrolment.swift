// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import MeshModel

/// Which pods of this node the kernel hooks shall cover, and how far each has come.
///
/// A value: it decides who is enrolled by looking at namespaces through its probe; ``Reconciler`` puts that in force.
/// A pod that is under policy stays there until its object stops asking for it or its namespace has gone for certain:
/// a look that fails, for whatever reason, is a report and no more. What happens inside a pod must not free it.
struct Enrolment {
    /// As in the annotation `sockmesh.io/redirection`.
    enum State: Hashable, Sendable {
        /// Found fit; identity and policy are not in force yet.
        case pending
        case enabled
        /// It is tried again, as long as the Pod asks for it. ``Member/force`` says what holds meanwhile.
        case failed(String)
    }

    /// What the kernel does with the connections of a pod.
    enum Force: Hashable, Sendable {
        /// It does not know the pod.
        case none
        /// It refuses everything but the pod's loopback.
        case refusal
        case policy
    }

    /// One pod of this node that has asked for the mesh.
    struct Member: Sendable {
        var pod: Pod
        /// The one that is enrolled or to be enrolled; `nil` if none is known, or none that is the pod's own.
        var namespace: PodNamespace?
        /// ``namespace`` was what the Pod says, once at least.
        var isFit = false
        /// The kernel refused the sk_lookup program.
        var isRefusedLookup = false
        /// The proxy's listeners in the pod are awaited, until then at most: what needs them would be refused. `nil`: they
        /// are not, or no longer.
        var listenersBy: ContinuousClock.Instant?
        var force = Force.none
        /// What the last look, or the kernel, found wrong.
        var problem: String?
        /// Processes of the namespace that no hook sees.
        var outside: [OutsideProcess] = []
        /// Looks into the namespace again not before this time, ContinuousClock.
        var retryAt: ContinuousClock.Instant
        /// Failures in a row.
        var failures = 0

        var state: State {
            if let problem {
                switch force {
                case .none: .failed(problem)
                case .refusal where isRefusedLookup: .failed("\(problem); it is refused all connections that it makes")
                case .refusal: .failed("\(problem); it is refused everything but its own loopback")
                case .policy: .failed("\(problem); its policy stays in force")
                }
            } else if force != .policy {
                .pending
            } else if !outside.isEmpty {
                .failed(
                    "processes outside the hooked cgroup: \(outside.prefix(8).map { "\($0.pid)" }.joined(separator: " "))"
                        + "; the policy of the pod's other processes stays in force")
            } else {
                .enabled
            }
        }
    }

    /// What is known of namespaces without looking into them.
    struct Records {
        /// Whether a namespace that was enrolled still exists; `nil` if that cannot be told.
        var exists: (NetnsCookie) -> Bool? = { _ in nil }
        /// The namespace in which an earlier agent has enrolled a pod, if it still exists; `isProved` if the Pod's path
        /// leads there, else only the Pod's address says so.
        var adopted: (Pod) -> (namespace: PodNamespace, isProved: Bool)? = { _ in nil }
        /// Whether the proxy, if one runs, has listeners in a namespace, or does without for now.
        var isServed: (NetnsCookie) -> Bool = { _ in true }
    }

    private(set) var members: [NamespacedName: Member] = [:]
    private let inspect: (Pod) throws(EnrolmentFailure) -> PodNamespace
    private let file: (String) -> FileIdentity?
    private let records: Records

    /// Between two looks at a pod that failed: at first soon, because its namespace is probably being made.
    private static let retries: [Duration] = [.milliseconds(100), .milliseconds(250), .milliseconds(500), .seconds(2)]
    /// Between two looks into the namespace of an enrolled pod. Its file's identity is compared more often, but inode
    /// numbers of namespaces are used again.
    private static let recheck = Duration.seconds(10)
    /// How long a new pod stays pending for the proxy's listeners.
    static let listenerPatience = Duration.seconds(1)

    /// - Parameters:
    ///   - inspect: as ``PodProbe/inspect(_:)``.
    ///   - file: as ``PodProbe/file(at:)``.
    init(
        inspect: @escaping (Pod) throws(EnrolmentFailure) -> PodNamespace,
        file: @escaping (String) -> FileIdentity? = PodProbe.file, records: Records = Records()
    ) {
        self.inspect = inspect
        self.file = file
        self.records = records
    }

    /// What the kernel shall do with each pod whose namespace is known.
    var enrolled: [NamespacedName: EnrolledPod] {
        members.compactMapValues { member in
            member.namespace.map {
                EnrolledPod(
                    netns: $0.cookie, isOnVeth: $0.isOnVeth,
                    isReady: member.isFit && !member.pod.podIPs.isEmpty && member.listenersBy == nil,
                    takesLookup: !member.isRefusedLookup)
            }
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
                members[name] = Member(pod: pod, retryAt: now)
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
            guard var member = members[name] else { continue }
            if let deadline = member.listenersBy, let namespace = member.namespace,
                now >= deadline || records.isServed(namespace.cookie)
            {
                member.listenersBy = nil
                members[name] = member
            }
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
            try requireOwn(found, name)
            member.settle(in: found)
            if !member.isFit, !records.isServed(found.cookie) { member.listenersBy = now + Self.listenerPatience }
            member.isFit = true
            member.isRefusedLookup = false
            member.problem = nil
            member.failures = 0
            member.retryAt = now + Self.recheck
        } catch {
            keep(&member, name, error)
            Self.fail(&member, error, now)
        }
        members[name] = member
    }

    private func requireOwn(_ found: PodNamespace, _ name: NamespacedName) throws(EnrolmentFailure) {
        guard let other = members.first(where: { $0.key != name && $0.value.namespace?.cookie == found.cookie })?.key
        else { return }
        throw EnrolmentFailure("\(found.path) is already the network namespace of \(other)", .foreign(found.cookie))
    }

    /// Decides which namespace a pod has after a look that failed.
    private func keep(_ member: inout Member, _ name: NamespacedName, _ failure: EnrolmentFailure) {
        switch failure.finding {
        case .unfit(let found):
            guard found.cookie != member.namespace?.cookie else { return }
            do throws(EnrolmentFailure) {
                try requireOwn(found, name)
                member.settle(in: found)
            } catch {
                member.settle(in: nil)
            }
        case .foreign(let cookie):
            if cookie != member.namespace?.cookie { member.settle(in: nil) }
        case .unknown, .noneAtPath:
            guard let namespace = member.namespace else {
                if let adopted = records.adopted(member.pod), (try? requireOwn(adopted.namespace, name)) != nil {
                    member.settle(in: adopted.namespace)
                    member.isFit = adopted.isProved
                }
                return
            }
            let exists = records.exists(namespace.cookie) ?? (failure.finding != .noneAtPath)
            if !exists { member.settle(in: nil) }
        }
    }

    private static func fail(_ member: inout Member, _ failure: EnrolmentFailure, _ now: ContinuousClock.Instant) {
        member.problem = failure.description
        member.retryAt = now + Self.retries[min(member.failures, Self.retries.count - 1)]
        member.failures += 1
    }

    // MARK: - What came of it

    /// This is in force.
    mutating func succeeded(_ pods: [NamespacedName: EnrolledPod]) {
        for (name, pod) in pods where members[name]?.namespace?.cookie == pod.netns {
            members[name]?.force = pod.isReady ? .policy : .refusal
        }
    }

    /// The kernel refused to take a pod's namespace under policy.
    mutating func failed(_ name: NamespacedName, _ failure: EnrolmentFailure, now: ContinuousClock.Instant) {
        guard var member = members[name] else { return }
        member.isFit = false
        member.isRefusedLookup = true
        Self.fail(&member, failure, now)
        members[name] = member
    }

    /// Forgets processes outside that are so no more.
    ///
    /// - Parameter isStill: asked about each that is known, with its pod's namespace.
    mutating func recheckOutside(_ isStill: (OutsideProcess, PodNamespace) -> Bool) {
        for (name, member) in members where !member.outside.isEmpty {
            guard let namespace = member.namespace else { continue }
            members[name]?.outside.removeAll { !isStill($0, namespace) }
        }
    }

    /// What the last look at all processes found, by netns cookie.
    mutating func setOutside(_ outside: [NetnsCookie: [OutsideProcess]]) {
        for (name, member) in members {
            members[name]?.outside = member.namespace.flatMap { outside[$0.cookie] } ?? []
        }
    }
}

extension Enrolment.Member {
    /// Another namespace is another pod to the kernel.
    fileprivate mutating func settle(in found: PodNamespace?) {
        if namespace?.cookie != found?.cookie {
            force = .none
            isFit = false
            isRefusedLookup = false
            listenersBy = nil
            outside = []
        }
        namespace = found
    }
}
