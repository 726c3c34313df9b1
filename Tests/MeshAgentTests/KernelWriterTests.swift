// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import Glibc
import LinuxIO
import MeshModel
import SockOps
import Testing

@testable import MeshAgent

/// The writer and the reader over real maps. Needs root and the built BPF object.
@Suite(
    .serialized, .enabled(if: geteuid() == 0 || getenv("MESH_REQUIRE_ROOT") != nil, "needs root; use `make test-root`"))
struct KernelWriterTests {
    @Test func whatIsWrittenIsReadBack() throws {
        try withWriter { writer in
            var world = RandomWorld(seed: 3)
            var registry = ContentRegistry(adopting: writer.tables)
            var image = KernelImage()
            for _ in 0..<6 {
                image = world.nextImage(&registry, after: image)
                let plan = MapPlan(from: writer.tables, to: image)
                _ = try writer.prepare(plan)
                try writer.commit(plan)
                try Membarrier.waitForGracePeriod()
                try writer.collect(plan)
                registry.release(plan.garbage)

                let reader = try KernelReader(writer.plane.maps, lookups: writer.tables.lookups)
                #expect(reader.litter.isEmpty)
                // Sets that only the inactive slots name are read, though their numbers may be given again.
                var read = reader.tables
                var written = writer.tables
                read.policySets = read.policySets.filter { written.policySets[$0.key] != nil }
                read.portMaps = read.portMaps.filter { written.portMaps[$0.key] != nil }
                read.pages = read.pages.filter { written.pages[$0.key] != nil }
                written.policySets = written.policySets.filter { read.policySets[$0.key] != nil }
                written.portMaps = written.portMaps.filter { read.portMaps[$0.key] != nil }
                written.pages = written.pages.filter { read.pages[$0.key] != nil }
                let isSame = read == written
                #expect(isSame)
                #expect(writer.plane.maps.control.load(\.generation) == writer.tables.generation)
            }
        }
    }

    @Test func aFullMapLeavesTheOldGenerationInForce() throws {
        try withWriter { writer in
            var image = KernelImage()
            image.cidrs[.allIPv4] = KernelImage.Address(identity: .world)
            image.addresses[IPAddress(v4: 1)] = KernelImage.Address(identity: IdentityNumber(rawValue: 300))
            let first = MapPlan(from: writer.tables, to: image)
            _ = try writer.prepare(first)
            try writer.commit(first)
            let before = writer.tables

            for number in 0..<UInt32(MESH_MAX_CIDRS) + 10 {
                image.cidrs[CIDR(IPAddress(v4: number << 8), bits: 120)] = KernelImage.Address(
                    identity: IdentityNumber(rawValue: 1000))
            }
            image.addresses[IPAddress(v4: 1)] = KernelImage.Address(identity: IdentityNumber(rawValue: 301))
            #expect(throws: KernelWriter.Failure.self) {
                _ = try writer.prepare(MapPlan(from: writer.tables, to: image))
            }
            let isRestored = writer.tables == before
            #expect(isRestored)
            let reader = try KernelReader(writer.plane.maps, lookups: [])
            let isSame = reader.tables == before
            #expect(isSame, "the kernel has what it had")
        }
    }

    /// A data plane of its own that is gone afterwards.
    private func withWriter(_ body: (KernelWriter) throws -> Void) throws {
        let name = "agent-writer-\(getpid())"
        let mount = try #require(try Mounts.current().cgroup2)
        let configuration = DataPlaneConfiguration(
            cgroup: Cgroup(path: "\(mount)/\(name)"), rootCgroup: nil, bpffs: "/sys/fs/bpf/\(name)")
        defer { _ = try? Uninstaller(configuration).run { _ throws(BPFError) in } }
        let plane = try DataPlane(configuration, object: BPFObjectFile(path: ObjectLocator.find()))
        try body(KernelWriter(plane))
    }
}
