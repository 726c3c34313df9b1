// SPDX-License-Identifier: Apache-2.0
import Glibc
import LinuxIO

/// A process in the network namespace of an enrolled pod whose cgroup is outside the hooked one.
///
/// No hook sees its sockets: it is neither policed at its egress nor translated.
struct OutsideProcess: Hashable, Sendable {
    let pid: Int32
    /// First 128 bytes of its command line.
    let command: String
    /// As in `/proc/PID/cgroup`, below the mount of the hierarchy.
    let cgroup: String

    /// Processes that one look takes in at most: what it costs is bounded on a node with very many.
    private static let limit = 65536

    /// Looks at every process of the machine: one `stat` each, and more only for those in a namespace of `pods`.
    ///
    /// - Parameters:
    ///   - pods: netns cookies by the identity of their namespace file.
    ///   - hooked: the cgroup that the programs are attached to.
    static func all(in pods: [FileIdentity: NetnsCookie], outside hooked: Cgroup) -> [NetnsCookie: [OutsideProcess]] {
        guard !pods.isEmpty else { return [:] }
        var found: [NetnsCookie: [OutsideProcess]] = [:]
        for pid in ProcessTable.all(atMost: limit) {
            guard let file = PodProbe.file(at: "/proc/\(pid)/ns/net"), let cookie = pods[file],
                let cgroup = try? Cgroup.ofProcess(pid), !cgroup.isWithin(hooked)
            else { continue }
            let command = (try? SmallFile.read("/proc/\(pid)/cmdline")) ?? []
            let text = String(decoding: command.prefix(128).map { $0 == 0 ? 32 : $0 }, as: UTF8.self)
            found[cookie, default: []].append(
                OutsideProcess(pid: pid, command: text.isEmpty ? "?" : text, cgroup: cgroup.path))
        }
        return found
    }

    /// Whether it still runs in that namespace and outside that cgroup.
    func isStill(in namespace: PodNamespace, outside hooked: Cgroup) -> Bool {
        guard PodProbe.file(at: "/proc/\(pid)/ns/net") == namespace.file, let now = try? Cgroup.ofProcess(pid) else {
            return false
        }
        return !now.isWithin(hooked)
    }
}
