// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import Glibc
import LinuxIO
import MeshModel
import TestSupport
import Testing

@testable import MeshAgent
@testable import SockOps

extension Trait where Self == ConditionTrait {
    /// Skips without root. `make test-root` sets MESH_REQUIRE_ROOT, which turns the
    /// skip into a failing test, so CI cannot pass by skipping.
    static var requiresRoot: Self {
        .enabled(if: geteuid() == 0 || getenv("MESH_REQUIRE_ROOT") != nil, "needs root; use `make test-root`")
    }
}

/// Parent of the suites that ask the kernel's own verdict function: one test at a time, the machine is small.
@Suite(.serialized, .requiresRoot) enum KernelPolicyTests {}

/// A data plane in a cgroup and a bpffs directory of its own, without a single pod: namespaces are invented numbers,
/// which is all that policy knows of them. Uninstalled at the end.
struct KernelNode: ~Copyable {
    let configuration: DataPlaneConfiguration
    private let hierarchy: Cgroup

    init(_ name: String) throws {
        let root = try #require(try Mounts.current().cgroup2)
        let hierarchy = Cgroup(path: "\(root)/oracle-test-\(getpid())-\(name)")
        try hierarchy.create()
        self.hierarchy = hierarchy
        configuration = DataPlaneConfiguration(
            cgroup: Cgroup(path: "\(hierarchy.path)/node"), rootCgroup: nil,
            bpffs: "/sys/fs/bpf/oracle-test-\(getpid())-\(name)")
    }

    deinit {
        _ = try? Uninstaller(configuration).run { _ in }
        try? hierarchy.remove()
    }

    /// Loads the programs, or adopts what an earlier writer has left.
    ///
    /// - Parameter capacities: entries of the maps that shall have others than mesh_abi.h says.
    func writer(capacities: [String: UInt32] = [:]) throws -> KernelWriter {
        let object = try BPFObjectFile(path: ObjectLocator.find())
        for (map, entries) in capacities { try object.setCapacity(entries, of: map) }
        return try KernelWriter(DataPlane(configuration, object: object))
    }
}

/// The verdict function of the loaded programs, for a thread of its own: ``DataPlane`` belongs to the control thread.
struct KernelVerdict: ~Copyable, Sendable {
    private let program: BPFProgram

    struct Answer: Hashable, Sendable {
        let generation: UInt32
        let allowed: Bool
        let egress: Bool
        let ingress: Bool
        let reason: mesh_reason.RawValue
    }

    init(of writer: KernelWriter) throws {
        let map = writer.plane.maps.workloads.handle.id
        let found = try LoadedPrograms.all().first { $0.name == MeshProgram.query.name && $0.mapIDs.contains(map) }
        program = try BPFProgram(id: #require(found).id)
    }

    func callAsFunction(_ question: mesh_query) throws -> Answer {
        let header = 14
        var packet = [UInt8](repeating: 0, count: header)
        withUnsafeBytes(of: question) { packet.append(contentsOf: $0) }
        let action = try program.testRun(&packet)
        try #require(action == 0)
        let answer = packet.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: header, as: mesh_query.self) }
        let allow = UInt8(MESH_VERDICT_ALLOW.rawValue)
        return Answer(
            generation: answer.generation, allowed: answer.verdict == allow, egress: answer.egress == allow,
            ingress: answer.ingress == allow, reason: mesh_reason.RawValue(answer.reason))
    }
}

extension mesh_query {
    /// - Parameter netns: of the source if it is a pod of this node, else 0.
    init(_ flow: RandomCluster.Flow, from netns: NetnsCookie) {
        self.init()
        source_netns = netns
        source = mesh_ip(flow.source)
        destination = mesh_ip(flow.destination)
        port = flow.port
        self.protocol = flow.transport.number
    }
}
