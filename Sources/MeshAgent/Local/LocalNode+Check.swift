// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
public import MeshAdmin
import SockOps
import TLSEngine

extension LocalNode {
    /// Whether Sockmesh can run on this machine: the kernel's features by trying them, the BPF object, what encrypts.
    public static func check() -> CheckReport {
        CheckReport(
            items: KernelFeatures.probe().features.map(CheckItem.init) + [
                object(), CheckItem(TLSLibrary.recordCiphers),
            ])
    }

    /// Tries the fast path, in a cgroup and namespaces of its own. Takes about a second; needs root.
    public static func selfTest() -> [CheckItem] {
        guard geteuid() == 0 else {
            return [CheckItem("self-test", .skipped, "not root", hint: "run it as root")]
        }
        let mount: String
        do throws(SystemError) {
            guard let found = try Mounts.current().cgroup2 else {
                return [CheckItem("self-test", .skipped, "no cgroup v2 hierarchy is mounted")]
            }
            mount = found
        } catch {
            return [CheckItem("self-test", .skipped, "\(error)")]
        }
        do throws(BPFError) {
            let file = try BPFObjectFile(path: ObjectLocator.find())
            return SelfTest.run(object: file, below: Cgroup(path: mount)).checks.map(CheckItem.init)
        } catch {
            return [CheckItem("self-test", .skipped, "\(error)")]
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

extension CheckItem {
    /// What the proxy of this node encrypts with.
    init(_ ciphers: TLSLibrary.RecordCiphers) {
        self.init(
            "mutual TLS", ciphers.missing == nil ? .passed : .warning, ciphers.description,
            hint: ciphers.missing.map { "long streams between nodes take a quarter less processor time with \($0)" })
    }

    /// A property of the kernel that the self-test of the fast path has tried.
    init(_ check: SelfTestReport.Check) {
        let outcome: Outcome = check.passed ? .passed : .warning
        let hint =
            check.gate == .enabled
            ? "no connection of this node is redirected" : "pods with sockmesh.io/accelerate: auto are not accelerated"
        self.init(
            check.name, outcome, check.passed ? check.title : "\(check.title): \(check.detail)",
            hint: check.passed ? nil : hint)
    }

    /// A feature that the kernel has or lacks.
    init(_ feature: KernelFeatures.Feature) {
        let outcome: Outcome = feature.isPresent ? .passed : feature.isRequired ? .failed : .warning
        let hint = outcome == .failed ? feature.minimumKernel.map { "mainline Linux has it since \($0)" } : nil
        self.init(feature.name, outcome, feature.detail, hint: hint)
    }
}
