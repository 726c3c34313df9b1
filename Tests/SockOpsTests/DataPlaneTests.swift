// SPDX-License-Identifier: Apache-2.0

import CMeshABI
import Glibc
import LinuxIO
import Testing

@testable import SockOps

extension KernelTests {
    @Suite struct DataPlaneTests {
        @Test func aFreshStartAttachesAndPinsEverything() throws {
            let node = try TestNode("fresh")
            let plane = try node.start()
            #expect(plane.adoption.isEmpty)
            for program in MeshProgram.ofCgroups {
                let point = try #require(program.point)
                let ids = try node.attached(point, of: program.place)
                #expect(ids.count == 1, "\(program.name)")
                #expect(try BPFProgram(id: #require(ids.first)).name == program.kernelName)
            }
            #expect(try plane.maps.slots.programID(0) != nil)
            #expect(
                try PinTree.names(node.configuration.mapDirectory) == TestNode.object().maps.map(\.name).sorted())
            #expect(try PinTree.names(node.configuration.linkDirectory) == MeshProgram.ofCgroups.map(\.name).sorted())
        }

        @Test func aRestartAdoptsMapsAndReplacesProgramsInPlace() throws {
            let node = try TestNode("adopt")
            let old: [UInt32]
            do {
                let plane = try node.start()
                try plane.maps.workloads.set(77, mesh_workload())
                plane.maps.control.publish(9, to: \.generation)
                old = try node.attached(.connect4)
            }
            #expect(try node.attached(.connect4) == old)
            let plane = try node.start()
            #expect(try Set(plane.adoption.maps) == Set(TestNode.object().maps.map(\.name)))
            #expect(Set(plane.adoption.updated) == Set(MeshProgram.ofCgroups.map(\.name)))
            #expect(plane.adoption.replaced.isEmpty)
            #expect(try plane.maps.workloads.get(77) != nil)
            #expect(plane.maps.control.load(\.generation) == 9)
            let new = try node.attached(.connect4)
            #expect(new.count == 1)
            #expect(new != old)
        }

        @Test func aLinkWhoseCgroupHasGoneIsMadeAnew() throws {
            let node = try TestNode("recreated")
            do { _ = try node.start().adoption }
            try node.configuration.cgroup.remove()
            let plane = try node.start()
            // The record-only program is on the root, which has not gone.
            #expect(plane.adoption.updated == [MeshProgram.hostRecords.name])
            #expect(plane.adoption.replaced.count == MeshProgram.ofCgroups.count - 1)
            #expect(try node.attached(.sockOps).count == 1)
        }

        @Test func pinsOfProgramsThatAreNoMoreAreSwept() throws {
            let node = try TestNode("swept")
            do { _ = try node.start().adoption }
            let directory = try node.configuration.cgroup.open()
            let fixture = try Fixture.loaded()
            do {
                let stale = try BPFLink(
                    attaching: fixture.program("fixture_create"), to: directory.rawValue, at: .socketCreate,
                    targetName: "test")
                try stale.pin(node.configuration.linkDirectory + "/mesh_former")
                try fixture.map("fixture_hash").pin(node.configuration.mapDirectory + "/mesh_former")
            }
            #expect(try node.attached(.socketCreate).count == 2)
            let plane = try node.start()
            #expect(plane.adoption.updated.count == MeshProgram.ofCgroups.count)
            #expect(try node.attached(.socketCreate).count == 1)
            #expect(!PinTree.exists(node.configuration.mapDirectory + "/mesh_former"))
        }

        @Test func nodesOverlappingAnotherAreRefused() throws {
            let node = try TestNode("overlap", path: "a/node")
            let plane = try node.start()
            for path in ["a/node", "a", "a/node/pods/x"] {
                let other = node.neighbour("other", path: path)
                let error = #expect(throws: BPFError.self) {
                    _ = try DataPlane(other, object: TestNode.object()).adoption
                }
                #expect(error?.operation == .start)
                #expect(error?.errnoCode == EBUSY)
                #expect(
                    error?.description.contains(
                        "of another Sockmesh node is attached to \(plane.configuration.cgroup.path)") == true)
                #expect(!PinTree.exists(other.bpffs))
            }
            #expect(!Cgroup(path: plane.configuration.cgroup.path + "/pods/x").exists)
        }

        @Test func nodesSideBySideShareTheRoot() throws {
            let node = try TestNode("beside", path: "a")
            let plane = try node.start()
            let other = node.neighbour("b", path: "b")
            do {
                let beside = try DataPlane(other, object: TestNode.object())
                #expect(beside.adoption.isEmpty)
                #expect(try node.attached(.sockOps, of: .rootCgroup).count == 2)
            }
            #expect(try Uninstaller(other).run { _ in } == [])
            #expect(try node.attached(.sockOps, of: .rootCgroup).count == 1)
            #expect(try plane.maps.slots.programID(0) != nil)
        }

        @Test func aMapOfAnotherLayoutIsRefusedAndLeftAlone() throws {
            let node = try TestNode("layout")
            do { _ = try node.start().adoption }
            let before = try node.attached(.connect4)
            let error = #expect(throws: BPFError.self) {
                let other = try TestNode.object()
                try other.setCapacity(16, of: "mesh_workloads")
                _ = try DataPlane(node.configuration, object: other).adoption
            }
            #expect(error?.operation == .reuse)
            #expect(error?.detail?.contains("entries 4096, not 16") == true)
            #expect(error?.detail?.contains("meshctl uninstall") == true)
            #expect(try node.attached(.connect4) == before)
        }

        @Test func aFreshStartThatFailsLeavesNothing() throws {
            let node = try TestNode("failing")
            // It has none of the maps: the start fails after the load.
            let error = #expect(throws: BPFError.self) {
                _ = try DataPlane(node.configuration, object: Fixture.file()).adoption
            }
            #expect(error?.operation == .find)
            #expect(try Uninstaller(node.configuration).remains() == [])
        }

        @Test func theKernelsVerdictCanBeAsked() throws {
            let node = try TestNode("ask")
            let plane = try node.start()
            var world = mesh_address()
            world.identity = (MESH_IDENTITY_WORLD.rawValue, MESH_IDENTITY_WORLD.rawValue)
            var address = mesh_ip()
            address.word = (0, 0, UInt32(0xffff).bigEndian, UInt32(0x0a00_0001).bigEndian)
            var pod = mesh_address()
            pod.identity = (300, 300)
            try plane.maps.addresses.set(address, pod)
            plane.maps.control.publish(4, to: \.generation)
            var question = mesh_query()
            question.destination = address
            question.port = 80
            question.protocol = 6
            let answer = try plane.ask(question)
            #expect(answer.generation == 4)
            #expect(answer.destination_identity == 300)
            #expect(answer.source_identity == MESH_IDENTITY_WORLD.rawValue)
            #expect(UInt32(answer.verdict) == MESH_VERDICT_ALLOW.rawValue)
            #expect(answer.port == 80)
        }

        @Test func anEndIsReapedOnlyForItsOwnSocket() throws {
            let node = try TestNode("reap")
            let plane = try node.start()
            var request = mesh_reap()
            request.end.local_port = 1
            request.end.remote_port = 2
            var end = mesh_end()
            end.cookie = 5
            end.netns = 77
            var usage = mesh_usage()
            usage.ends = 1
            try plane.maps.ends.set(request.end, end)
            try plane.maps.usage.set(77, usage)
            request.cookie = 6
            #expect(try !plane.reap(request))
            #expect(try plane.maps.ends.get(request.end) != nil)
            request.cookie = 5
            #expect(try plane.reap(request))
            #expect(try plane.maps.ends.get(request.end) == nil)
            #expect(try plane.maps.usage.get(77)?.ends == 0)
            #expect(try !plane.reap(request))
        }

        @Test func theKillSwitchEmptiesTheSlotAndReleasingFillsIt() throws {
            let node = try TestNode("kill")
            let plane = try node.start()
            try plane.killSwitch()
            #expect(try plane.maps.slots.programID(0) == nil)
            try plane.releaseKillSwitch()
            #expect(try plane.maps.slots.programID(0) != nil)
        }
    }
}
