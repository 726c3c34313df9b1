// SPDX-License-Identifier: Apache-2.0

import CLibBPF
import Glibc
import LinuxIO

/// What this machine's kernel offers of what the mesh needs, found by trying.
public struct KernelFeatures: Hashable, Sendable {
    /// One thing that the kernel has or lacks.
    public struct Feature: Hashable, Sendable {
        /// Short, for people: `helper bpf_get_netns_cookie in sock_ops`.
        public let name: String
        /// Without it the agent does not start; otherwise only the thing in ``detail`` is missing.
        public let isRequired: Bool
        /// Whether it is there.
        public let isPresent: Bool
        /// What was found, or what is missing without it.
        public let detail: String
        /// The mainline version that has it first, as `5.15`; nil where it is not a matter of version.
        public let minimumKernel: String?
    }

    /// In the order of a report: the machine, then programs, maps, helpers, other interfaces.
    public let features: [Feature]

    /// Whether the agent can run here.
    public var areSufficient: Bool { features.allSatisfy { $0.isPresent || !$0.isRequired } }

    /// What is required and missing.
    public var missing: [Feature] { features.filter { $0.isRequired && !$0.isPresent } }

    /// Tries everything. Changes nothing; needs root for true answers, and says so in the first feature without.
    public static func probe() -> KernelFeatures {
        KernelFeatures(
            features: [privilege(), kernelVersion(), typeInformation()]
                + AttachPoint.allCases.map(program) + [queryProgram()] + maps() + helpers() + otherInterfaces()
                + [tracing()])
    }
}

// MARK: - The machine

extension KernelFeatures {
    /// The oldest kernel on which every required feature is found.
    static let minimumKernel = KernelVersion(major: 5, minor: 18)

    private static func privilege() -> Feature {
        Feature(
            name: "privileges", isRequired: true, isPresent: geteuid() == 0,
            detail: geteuid() == 0
                ? "runs as root" : "runs as user \(geteuid()): most answers below are wrong; run it as root",
            minimumKernel: nil)
    }

    private static func kernelVersion() -> Feature {
        var name = utsname()
        uname(&name)
        let release = String(cTuple: name.release)
        let version = KernelVersion(release: release)
        return Feature(
            name: "kernel version", isRequired: false, isPresent: version.map { $0 >= minimumKernel } ?? false,
            detail: "this is \(release)", minimumKernel: minimumKernel.description)
    }

    private static func typeInformation() -> Feature {
        let path = "/sys/kernel/btf/vmlinux"
        let isPresent = access(path, R_OK) == 0
        return Feature(
            name: "BTF of the kernel", isRequired: true, isPresent: isPresent,
            detail: isPresent ? path : "\(path) is missing: the kernel was built without CONFIG_DEBUG_INFO_BTF",
            minimumKernel: "5.4")
    }

    private static func otherInterfaces() -> [Feature] {
        let mounts = try? Mounts.current()
        let cgroup = mounts?.cgroup2
        let cookie = Result { () throws(SystemError) in try NetworkNamespace.currentCookie() }
        return [
            Feature(
                name: "cgroup v2", isRequired: true, isPresent: cgroup != nil,
                detail: cgroup.map { "mounted at \($0)" } ?? "not mounted: mount -t cgroup2 none /sys/fs/cgroup",
                minimumKernel: "4.5"),
            Feature(
                name: "bpf file system", isRequired: false, isPresent: mounts?.bpffs.isEmpty == false,
                detail: mounts?.bpffs.first.map { "mounted at \($0)" } ?? "not mounted; the agent mounts /sys/fs/bpf",
                minimumKernel: "4.4"),
            Feature(
                name: "SO_NETNS_COOKIE", isRequired: true, isPresent: (try? cookie.get()) != nil,
                detail: "identifies pods", minimumKernel: "5.14"),
            Feature(
                name: "membarrier", isRequired: true, isPresent: Membarrier.isSupported,
                detail: Membarrier.isSupported
                    ? "ends the grace period of a policy change"
                    : "needs CONFIG_MEMBARRIER and no CPU with nohz_full", minimumKernel: "4.16"),
            socketDestroy(),
        ]
    }

    private static func socketDestroy() -> Feature {
        var detail = "cuts denied connections"
        var isPresent = false
        do throws(SystemError) {
            // A connection that cannot exist: port 0 to port 0. "Not found" means that the request is known.
            let none = SocketTuple(localAddress: 1, localPort: 0, remoteAddress: 1, remotePort: 0)
            _ = try SockDiag().destroy(.tcp, none, cookie: 1)
            isPresent = true
        } catch {
            detail = "\(error): needs CONFIG_INET_DIAG_DESTROY and CAP_NET_ADMIN"
        }
        return Feature(
            name: "SOCK_DESTROY", isRequired: true, isPresent: isPresent, detail: detail, minimumKernel: "4.5")
    }
}

/// Major and minor number of a kernel; what follows differs between distributions.
struct KernelVersion: Comparable, CustomStringConvertible {
    let major: Int
    let minor: Int

    init(major: Int, minor: Int) {
        self.major = major
        self.minor = minor
    }

    /// - Parameter release: as `uname -r`: `6.1.0-28-cloud-amd64`.
    init?(release: String) {
        let parts = release.split(separator: ".", maxSplits: 2)
        guard parts.count >= 2, let major = Int(parts[0]), let minor = Int(parts[1].prefix { $0.isNumber }) else {
            return nil
        }
        self.init(major: major, minor: minor)
    }

    var description: String { "\(major).\(minor)" }

    static func < (left: KernelVersion, right: KernelVersion) -> Bool {
        (left.major, left.minor) < (right.major, right.minor)
    }
}
