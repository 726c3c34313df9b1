// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import Testing

@testable import SockOps

extension KernelTests {
    @Suite struct BPFObjectTests {
        @Test func aRefusalCarriesTheVerifiersReason() throws {
            let error = #expect(throws: BPFError.self) { _ = try Fixture.file("refused.bpf.o").load().name }
            #expect(error?.operation == .load)
            #expect(error?.errnoCode == EACCES)
            #expect(error?.log.contains { $0.contains("invalid mem access 'map_value_or_null'") } == true)
            #expect(error?.log.contains { $0.contains("refused_create") } == true)
        }

        @Test func bytesThatAreNoObjectAreRefused() {
            let error = #expect(throws: BPFError.self) {
                _ = try BPFObjectFile(elf: Array("not an ELF file".utf8), name: "junk").name
            }
            #expect(error?.operation == .open)
            #expect(error?.subject == "object junk")
            #expect(throws: BPFError.self) { _ = try BPFObjectFile(path: "/nowhere/x.bpf.o").name }
        }

        @Test func aConstantIsSeenByThePrograms() throws {
            let file = try Fixture.file()
            #expect(throws: BPFError.self) { try file.setConstant("fixture_nothing", to: UInt32(0)) }
            #expect(throws: BPFError.self) { try file.setConstant("fixture_verdict", to: UInt64(0)) }
            try file.setConstant("fixture_verdict", to: UInt32(0))
            let object = try file.load()
            let group = try TestCgroup("constant")
            let directory = try group.cgroup.open()
            let link = try BPFLink(
                attaching: object.program("fixture_create"), to: directory.rawValue, at: .socketCreate,
                targetName: group.cgroup.path)
            // Verdict 0: a socket made inside is refused.
            #expect(throws: SystemError("socket", errnoCode: EPERM)) { try InCgroup.makeSocket(group.cgroup) }
            try link.detach()
            try InCgroup.makeSocket(group.cgroup)
        }

        @Test func mapsAreReusedOnlyIfTheyAreAlike() throws {
            let pins = try PinDirectory("reuse")
            let first = try Fixture.loaded()
            try first.map("fixture_hash").pin("\(pins.path)/hash")
            try BPFMap<UInt32, Pair>(first.map("fixture_hash")).set(1, Pair(first: 5, second: 6))

            let file = try Fixture.file()
            try file.reuse(MapHandle(pinned: "\(pins.path)/hash"), as: "fixture_hash")
            let second = try file.load()
            #expect(try BPFMap<UInt32, Pair>(second.map("fixture_hash")).get(1) == Pair(first: 5, second: 6))
            #expect(try second.map("fixture_hash").id == first.map("fixture_hash").id)
            #expect(try second.map("fixture_lru").id != first.map("fixture_lru").id)

            let other = try Fixture.file()
            let error = #expect(throws: BPFError.self) {
                try other.reuse(MapHandle(pinned: "\(pins.path)/hash"), as: "fixture_lru")
            }
            #expect(error?.operation == .reuse)
            #expect(error?.detail == "it has type 1, not 9, entries 512, not 64")

            let bigger = try Fixture.file()
            try bigger.setCapacity(1024, of: "fixture_hash")
            #expect(throws: BPFError.self) {
                try bigger.reuse(MapHandle(pinned: "\(pins.path)/hash"), as: "fixture_hash")
            }
        }

        @Test func aVerdictJoinsTheSockhashAndTheSlot() throws {
            let object = try Fixture.loaded()
            let sockets = try SocketHash(object.map("fixture_socks"))
            let slots = try ProgramArray(object.map("fixture_slots"))
            let verdict = try object.program("fixture_msg")
            try sockets.attach(object.program("fixture_stub"))
            #expect(try sockets.keys().isEmpty)
            #expect(try slots.programID(0) == nil)
            try slots.set(0, verdict)
            #expect(try slots.programID(0) == verdict.id)
            try slots.clear(0)
            try slots.clear(0)
            #expect(try slots.programID(0) == nil)
            let error = #expect(throws: BPFError.self) { try slots.set(1, verdict) }
            #expect(error?.errnoCode == E2BIG)
        }

        @Test func theObjectIsFoundBesideTheExecutable() throws {
            #expect(
                ObjectLocator.candidates("x.o", executable: "/usr/local/bin/mesh-agent") == [
                    "/usr/local/bin/../../bpf/x.o", "/usr/local/bin/../bpf/x.o", "/usr/local/bin/../lib/sockmesh/x.o",
                ])
            let error = #expect(throws: BPFError.self) { try ObjectLocator.find("absent.bpf.o") }
            #expect(error?.description.contains("make bpf") == true)
        }
    }
}
