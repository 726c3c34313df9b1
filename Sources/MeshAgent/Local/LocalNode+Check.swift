// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
public import MeshAdmin
import SockOps

extension LocalNode {
    /// Whether Sockmesh can run on this machine, as far as that can be seen without starting it.
    public static func check() -> CheckReport {
        CheckReport(items: [
            privileges(), kernel(), typeInformation(), cgroup2(), bpffs(), object(),
        ])
    }

    private static func privileges() -> CheckItem {
        geteuid() == 0
            ? CheckItem("privileges", .passed, "root")
            : CheckItem("privileges", .warning, "not root: parts of the machine cannot be seen", hint: "run it as root")
    }

    /// `bpf_set_retval`, by which a refused connect says why, came with Linux 5.18.
    private static func kernel() -> CheckItem {
        var name = utsname()
        uname(&name)
        let release = withUnsafeBytes(of: name.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        let numbers = release.split(whereSeparator: { !$0.isNumber }).prefix(2).compactMap { Int($0) }
        let isRecent = numbers.count == 2 && (numbers[0], numbers[1]) >= (5, 18)
        return isRecent
            ? CheckItem("kernel", .passed, "Linux \(release)")
            : CheckItem("kernel", .failed, "Linux \(release)", hint: "Sockmesh needs Linux 5.18 or newer")
    }

    private static func typeInformation() -> CheckItem {
        let path = "/sys/kernel/btf/vmlinux"
        return access(path, R_OK) == 0
            ? CheckItem("BTF", .passed, path)
            : CheckItem(
                "BTF", .failed, "\(path): \(SystemError.message(of: errno))",
                hint: "the kernel must be built with CONFIG_DEBUG_INFO_BTF")
    }

    private static func cgroup2() -> CheckItem {
        do throws(SystemError) {
            if let mount = try Mounts.current().cgroup2 { return CheckItem("cgroup2", .passed, "mounted on \(mount)") }
            return CheckItem(
                "cgroup2", .failed, "no cgroup v2 hierarchy is mounted",
                hint: "mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified")
        } catch {
            return CheckItem("cgroup2", .skipped, "\(error)")
        }
    }

    private static func bpffs() -> CheckItem {
        do throws(SystemError) {
            if let mount = try Mounts.current().bpffs.first {
                return CheckItem("bpffs", .passed, "mounted on \(mount)")
            }
            return CheckItem("bpffs", .warning, "not mounted; mesh-agent mounts it on /sys/fs/bpf when it starts")
        } catch {
            return CheckItem("bpffs", .skipped, "\(error)")
        }
    }

    private static func object() -> CheckItem {
        do throws(BPFError) {
            return CheckItem("BPF object", .passed, try ObjectLocator.find())
        } catch {
            return CheckItem(
                "BPF object", .failed, "\(error)", hint: "install Sockmesh completely; from a source tree, run make bpf"
            )
        }
    }
}
