// SPDX-License-Identifier: Apache-2.0
import Glibc
import LinuxIO
import MeshModel

/// Why a pod is not enrolled, in words that follow `failed: `.
struct EnrolmentFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// What the look has found out about the pod's namespace in spite of it.
    enum Finding: Hashable, Sendable {
        /// Nothing.
        case unknown
        /// The Pod's path does not lead to one.
        case noneAtPath
        /// It is the pod's own, but not as the Pod says.
        case unfit(PodNamespace)
        /// It is not, or not only, the pod's: of the node, of another pod or of another Sockmesh node.
        case foreign(NetnsCookie)
    }

    let description: String
    let finding: Finding

    init(_ description: String, _ finding: Finding = .unknown) {
        self.description = description
        self.finding = finding
    }
}

extension EnrolmentFailure {
    /// It would send in clear what it wants encrypted.
    static let encryptionWithoutKeys = EnrolmentFailure(
        "annotation \(MeshAnnotation.encrypt.rawValue) needs certificates: start mesh-agent with --proxy and --identity"
    )
}

/// What was found in a pod's network namespace.
struct PodNamespace: Hashable, Sendable {
    /// Where the namespace was opened.
    let path: String
    /// Tells a replaced namespace file from the one that was opened, without entering it.
    let file: FileIdentity
    let cookie: NetnsCookie
    /// All of the pod's addresses are on veths.
    var isOnVeth: Bool
}

/// Looks into the network namespaces of pods. Holds none of them open.
struct PodProbe: Sendable {
    /// Cookie of the node's own namespace: a pod with that one is a hostNetwork pod, whatever its object says.
    let nodeNetns: NetnsCookie

    /// The namespace that a Pod object names.
    static func path(of pod: Pod) throws(EnrolmentFailure) -> String {
        if let path = pod.mesh.netnsPath { return path }
        if let pid = pod.mesh.pid { return "/proc/\(pid)/ns/net" }
        throw EnrolmentFailure(
            "the Pod has neither annotation \(MeshAnnotation.netns.rawValue) nor \(MeshAnnotation.pid.rawValue)")
    }

    /// Device and inode of a namespace file now; `nil` if it is gone.
    static func file(at path: String) -> FileIdentity? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        return FileIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    }

    /// Enters the pod's namespace and checks that it is what the Pod says.
    func inspect(_ pod: Pod) throws(EnrolmentFailure) -> PodNamespace {
        let path = try Self.path(of: pod)
        let found: (file: FileIdentity, cookie: NetnsCookie, links: [LinkInfo])
        do throws(SystemError) {
            let namespace = try NetworkNamespace(path: path)
            let file = try namespace.fileIdentity()
            let inside = try namespace.run { () throws(SystemError) in
                (try NetworkNamespace.currentCookie(), try LinkInfo.all())
            }
            found = (file, inside.0, inside.1)
        } catch {
            throw error.errnoCode == ENOENT
                ? EnrolmentFailure("network namespace \(path) does not exist", .noneAtPath)
                : EnrolmentFailure("\(error)")
        }
        guard found.cookie != nodeNetns else {
            throw EnrolmentFailure(
                "\(path) is the node's own network namespace; hostNetwork pods cannot be enrolled",
                .foreign(found.cookie))
        }
        let links = Dictionary(found.links.map { (IPAddress($0.address), $0) }, uniquingKeysWith: { first, _ in first })
        var namespace = PodNamespace(path: path, file: found.file, cookie: found.cookie, isOnVeth: true)
        for address in pod.podIPs {
            guard let link = links[address], !link.isLoopback else {
                namespace.isOnVeth = false
                throw EnrolmentFailure(
                    "address \(address) of status.podIPs is not configured in \(path)", .unfit(namespace))
            }
            if !link.isVeth { namespace.isOnVeth = false }
        }
        guard !pod.podIPs.isEmpty else { throw EnrolmentFailure("status.podIPs is empty", .unfit(namespace)) }
        return namespace
    }
}

extension IPAddress {
    /// The address of ``LinkInfo`` and ``SocketTuple``.
    init(_ bits: UInt128) {
        self.init(high: UInt64(truncatingIfNeeded: bits >> 64), low: UInt64(truncatingIfNeeded: bits))
    }

    /// The form of ``LinkInfo`` and ``SocketTuple``.
    var bits: UInt128 { UInt128(high) << 64 | UInt128(low) }
}
