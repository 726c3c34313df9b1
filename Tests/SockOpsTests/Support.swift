// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import Testing

@testable import SockOps

extension Trait where Self == ConditionTrait {
    /// Skips without root. `make test-root` sets MESH_REQUIRE_ROOT, which turns the
    /// skip into a failing test, so CI cannot pass by skipping.
    static var requiresRoot: Self {
        .enabled(if: geteuid() == 0 || getenv("MESH_REQUIRE_ROOT") != nil, "needs root; use `make test-root`")
    }
}

/// The layouts of `Fixtures/fixture.bpf.c`.
struct Pair: BitwiseCopyable, Hashable {
    var first: UInt32
    var second: UInt32
}

struct Prefix: BitwiseCopyable {
    var length: UInt32
    /// Network byte order.
    var address: (UInt32, UInt32, UInt32, UInt32)
}

enum Fixture {
    static func file(_ name: String = "fixture.bpf.o") throws -> BPFObjectFile {
        try BPFObjectFile(path: ObjectLocator.find(name))
    }

    static func loaded() throws -> BPFObject { try file().load() }

    /// A packet for a test run: Ethernet's header and nothing else that matters.
    static var packet: [UInt8] { [UInt8](repeating: 0, count: 64) }
}

/// A directory on the bpf file system that is removed with all its pins.
struct PinDirectory: ~Copyable {
    let path: String

    init(_ name: String) throws {
        let path = "/sys/fs/bpf/sockops-test-\(getpid())-\(name)"
        try Mounts.ensureBPFFS(path)
        self.path = path
    }

    deinit {
        var pending = [path]
        var directories: [String] = []
        while let next = pending.popLast() {
            if unlink(next) == 0 { continue }
            directories.append(next)
            guard let stream = opendir(next) else { continue }
            defer { closedir(stream) }
            while let entry = readdir(stream) {
                let name = String(cTuple: entry.pointee.d_name)
                if name != ".", name != ".." { pending.append("\(next)/\(name)") }
            }
        }
        for directory in directories.reversed() { rmdir(directory) }
    }
}

/// A cgroup that is removed at the end, with the processes in it.
struct TestCgroup: ~Copyable {
    let cgroup: Cgroup

    init(_ name: String) throws {
        let root = try #require(try Mounts.current().cgroup2)
        let cgroup = Cgroup(path: "\(root)/sockops-test-\(getpid())-\(name)")
        try cgroup.create()
        self.cgroup = cgroup
    }

    deinit {
        try? cgroup.remove()
    }
}

/// Open descriptors of this process, by what they refer to.
func openDescriptors() -> [String: Int] {
    var counts: [String: Int] = [:]
    for raw in 0..<1024 {
        var buffer = [CChar](repeating: 0, count: 256)
        let length = readlink("/proc/self/fd/\(raw)", &buffer, buffer.count)
        guard length > 0 else { continue }
        counts[String(decoding: buffer.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self), default: 0] += 1
    }
    return counts
}

/// Parent of all suites that change the kernel: one test at a time, because they count what is loaded.
@Suite(.serialized, .requiresRoot) enum KernelTests {}
