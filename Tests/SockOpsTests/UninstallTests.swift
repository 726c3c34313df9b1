// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import Testing

@testable import SockOps

extension KernelTests {
    @Suite struct UninstallTests {
        @Test func nothingIsLeft() throws {
            let node = try TestNode("gone")
            let namespace = try NetworkNamespace.makeNew()
            do {
                let plane = try node.start()
                try plane.attachLookup(namespace, cookie: namespace.cookie())
            }
            let uninstaller = Uninstaller(node.configuration)
            #expect(try uninstaller.leftovers().contains("directory: \(node.configuration.bpffs)"))
            var slotAtDrain: UInt32? = 1
            var linksAtDrain = 0
            let left = try uninstaller.run { maps throws(BPFError) in
                slotAtDrain = try maps.slots.programID(0)
                linksAtDrain = try PinTree.names(node.configuration.linkDirectory).count
            }
            #expect(left == [])
            // While it waits, no message is redirected any more and everything else still works.
            #expect(slotAtDrain == nil)
            #expect(linksAtDrain == MeshProgram.ofCgroups.count + 1)
            #expect(!node.configuration.cgroup.exists)
            #expect(try BPFProgram.attached(to: namespace.rawDescriptor, as: .socketLookup).isEmpty)
            #expect(try uninstaller.run { _ in Issue.record("there is nothing to drain") } == [])
        }

        @Test func aProcessInTheCgroupRunsOnOutside() throws {
            let node = try TestNode("process")
            do { _ = try node.start().adoption }
            var child = pid_t()
            let arguments: [UnsafeMutablePointer<CChar>?] = [strdup("sleep"), strdup("60"), nil]
            defer { for argument in arguments { free(argument) } }
            #expect(posix_spawn(&child, "/bin/sleep", nil, nil, arguments, nil) == 0)
            defer {
                kill(child, SIGKILL)
                waitpid(child, nil, 0)
            }
            let pod = Cgroup(path: node.configuration.cgroup.path + "/pods/a_b")
            try pod.create()
            try pod.add(child)
            #expect(
                try Uninstaller(node.configuration).leftovers().contains { $0.hasSuffix("with processes \(child)") })
            #expect(try Uninstaller(node.configuration).run { _ in } == [])
            #expect(!node.configuration.cgroup.exists)
            #expect(kill(child, 0) == 0)
            #expect(try Cgroup.ofProcess(child).path == Mounts.current().cgroup2)
        }

        @Test func aHiddenAttachmentIsFound() throws {
            let node = try TestNode("hidden")
            let plane = try node.start()
            // A pin has gone, but this process still holds the program: it is loaded and its maps are no node's.
            try PinTree.removeAll(node.configuration.bpffs)
            let left = try Uninstaller(node.configuration).leftovers()
            #expect(left.contains { $0.hasPrefix("program: mesh_lookup") }, "\(left)")
            #expect(!plane.configuration.bpffs.isEmpty)
        }

        /// Programs, maps and links in the kernel, and descriptors here, must be as many after many starts as after one.
        @Test(.timeLimit(.minutes(4))) func manyRestartsLeakNothing() throws {
            let node = try TestNode("leaks")
            let namespace = try NetworkNamespace.makeNew()
            do { try node.start().attachLookup(namespace, cookie: namespace.cookie()) }
            let maps = try LoadedPrograms.pinnedMaps(below: node.configuration.bpffs)
            let before = try Census(of: maps)
            #expect(before.links == MeshProgram.ofCgroups.count + 1)
            for _ in 0..<20 {
                let plane = try node.start()
                #expect(plane.adoption.updated.count == MeshProgram.ofCgroups.count)
            }
            // What is freed is freed from work queues.
            #expect(try eventually { try Census(of: maps) == before })
            #expect(try Census(of: maps) == before)
        }
    }
}

/// What exists of one node; other nodes of the machine do not count.
struct Census: Equatable {
    var programs = 0
    var maps = 0
    var links = 0
    var descriptors = 0

    init(of ownMaps: Set<UInt32>) throws {
        let own = try LoadedPrograms.all().filter { !ownMaps.isDisjoint(with: $0.mapIDs) }
        let ids = Set(own.map(\.id))
        // Those that hold constants are not pinned: each load has its own.
        let used = ownMaps.union(own.flatMap(\.mapIDs))
        programs = own.count
        maps = used.count
        links = try LoadedPrograms.links(of: ids).count
        for raw in 0..<1024 {
            guard let text = try? SmallFile.readText("/proc/self/fdinfo/\(raw)") else { continue }
            for line in text.split(separator: "\n") {
                let words = line.split(whereSeparator: \.isWhitespace)
                guard words.count == 2, let number = UInt32(words[1]) else { continue }
                if words[0] == "map_id:", used.contains(number) { descriptors += 1 }
                if words[0] == "prog_id:", ids.contains(number) { descriptors += 1 }
            }
        }
    }
}
