// SPDX-License-Identifier: Apache-2.0

import CMeshABI
import Glibc
import LinuxIO
import Testing

@testable import SockOps

extension KernelTests {
    @Suite struct VersionTests {
        @Test func anotherLayoutIsTakenOverFromWithoutAGap() throws {
            let node = try TestNode("versions")
            let namespace = try NetworkNamespace.makeNew()
            let cookie = try namespace.cookie()
            func lookups() throws -> Int {
                try BPFProgram.attached(to: namespace.rawDescriptor, as: .socketLookup).count
            }
            do { try node.start().attachLookup(namespace, cookie: cookie) }
            // What an agent of layout 0 would have left.
            let old = node.configuration.bpffs + "/v0"
            #expect(rename(node.configuration.versionDirectory, old) == 0)

            let plane = try node.start()
            #expect(plane.adoption.isEmpty)
            #expect(try plane.otherVersions() == [old])
            // The node's own old program is no other node's.
            try plane.requireUnclaimed(namespace, cookie: cookie)
            #expect(plane.namespaceExists(cookie) == nil)
            #expect(try plane.attachLookup(namespace, cookie: cookie))
            #expect(plane.namespaceExists(cookie) == true)
            #expect(try plane.otherVersionLookups() == [cookie])
            #expect(try plane.otherVersionMembers().isEmpty)
            #expect(try node.attached(.connect4).count == 2)
            #expect(try lookups() == 2)

            try plane.detachOtherVersions()
            #expect(try node.attached(.connect4).count == 1)
            #expect(try lookups() == 1)
            #expect(PinTree.exists(old + "/maps/mesh_sockets"))
            let control = try MappedValue<mesh_control>(MapHandle(pinned: old + "/maps/mesh_control"))
            #expect(control.load(\.flags) & MESH_CTL_RETIRED.rawValue != 0)
            #expect(plane.maps.control.load(\.flags) & MESH_CTL_RETIRED.rawValue == 0)
            #expect(try ProgramArray(MapHandle(pinned: old + "/maps/mesh_slots")).programID(0) == nil)

            try plane.removeOtherVersions()
            #expect(!PinTree.exists(old))
            #expect(try plane.otherVersions() == [])
            #expect(try plane.maps.slots.programID(0) != nil)
        }

        @Test func uninstallRemovesEveryLayout() throws {
            let node = try TestNode("all-versions")
            do { _ = try node.start().adoption }
            #expect(rename(node.configuration.versionDirectory, node.configuration.bpffs + "/v0") == 0)
            do { _ = try node.start().adoption }
            #expect(try node.attached(.sockOps).count == 2)
            #expect(try Uninstaller(node.configuration).run { _ in } == [])
        }
    }
}
