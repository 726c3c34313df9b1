// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import Testing

@testable import SockOps

extension KernelTests {
    @Suite struct LookupTests {
        private func attached(_ namespace: borrowing NetworkNamespace) throws -> [UInt32] {
            try BPFProgram.attached(to: namespace.rawDescriptor, as: .socketLookup)
        }

        @Test func aPodIsAttachedOnceAndDetached() throws {
            let node = try TestNode("lookup")
            let plane = try node.start()
            let namespace = try NetworkNamespace.makeNew()
            let cookie = try namespace.cookie()
            #expect(try plane.attachLookup(namespace, cookie: cookie))
            #expect(try !plane.attachLookup(namespace, cookie: cookie))
            #expect(try attached(namespace).count == 1)
            #expect(try plane.liveLookups() == [cookie])
            try plane.detachLookup(cookie: cookie)
            try plane.detachLookup(cookie: cookie)
            #expect(try attached(namespace).isEmpty)
            #expect(try plane.liveLookups().isEmpty)
        }

        @Test func aRestartAdoptsLivePodsAndForgetsDeadOnes() throws {
            let node = try TestNode("pods")
            let living = try NetworkNamespace.makeNew()
            let cookie = try living.cookie()
            let before: [UInt32]
            do {
                let plane = try node.start()
                let dying = try NetworkNamespace.makeNew()
                try plane.attachLookup(living, cookie: cookie)
                try plane.attachLookup(dying, cookie: dying.cookie())
                before = try attached(living)
            }
            let directory = node.configuration.linkDirectory
            #expect(try PinTree.names(directory).filter { $0.hasPrefix("netns-") }.count == 2)
            // The kernel ends a namespace from a work queue.
            #expect(try eventually { try node.start().adoption.lookups == [cookie] })
            #expect(try PinTree.names(directory).filter { $0.hasPrefix("netns-") } == ["netns-\(cookie)"])
            #expect(try attached(living).count == 1)
            #expect(try attached(living) != before)
        }

        @Test func aPodOfAnotherNodeIsRefused() throws {
            let node = try TestNode("owner")
            let other = try TestNode("thief")
            let plane = try node.start()
            let thief = try other.start()
            let namespace = try NetworkNamespace.makeNew()
            let cookie = try namespace.cookie()
            try plane.attachLookup(namespace, cookie: cookie)
            let error = #expect(throws: BPFError.self) { try thief.attachLookup(namespace, cookie: cookie) }
            #expect(error?.operation == .attach)
            #expect(error?.errnoCode == EBUSY)
            #expect(try attached(namespace).count == 1)
            try plane.detachLookup(cookie: cookie)
            #expect(try thief.attachLookup(namespace, cookie: cookie))
        }

        @Test func anAttachedProgramDoesNotKeepANamespaceAlive() throws {
            let node = try TestNode("alive")
            let plane = try node.start()
            let cookie = try attachToNewNamespace(plane)
            #expect(try eventually { try plane.liveLookups().isEmpty })
            #expect(!PinTree.exists(node.configuration.linkDirectory + "/netns-\(cookie)"))
        }

        /// The namespace has no descriptor any more when this returns.
        private func attachToNewNamespace(_ plane: borrowing DataPlane) throws -> UInt64 {
            let namespace = try NetworkNamespace.makeNew()
            let cookie = try namespace.cookie()
            try plane.attachLookup(namespace, cookie: cookie)
            return cookie
        }
    }
}
