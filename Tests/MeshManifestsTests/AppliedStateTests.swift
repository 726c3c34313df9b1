// SPDX-License-Identifier: Apache-2.0

import Glibc
import MeshModel
import Synchronization
import Testing

@testable import MeshManifests

@Suite struct AppliedStateTests {
    private func change(_ name: String, _ port: Int?) -> ObjectChange {
        let object = port.map {
            Decoding.manifest(ObjectStoreTests.policy(name, port: String($0))).objects[0]
        }
        return ObjectChange(reference: ObjectStoreTests.reference(name), before: nil, after: object)
    }

    /// The ports of all applied policies by name.
    private func ports(_ loaded: AppliedState.Loaded) -> [String: String] {
        let store = ObjectStore(applied: loaded.applied)
        var ports: [String: String] = [:]
        for object in loaded.applied.objects {
            ports[object.reference.name] = ObjectStoreTests.port(store, object.reference.name)
        }
        return ports
    }

    @Test func whatIsCommittedIsThereAfterARestart() throws {
        let place = TemporaryDirectory()
        let path = place.path + "/deep/state"
        do {
            var (state, loaded) = try AppliedState.open(path)
            #expect(loaded.applied.objects.isEmpty && state.generation == 0)
            #expect(try state.commit([change("a", 1), change("b", 2)], time: 7, summary: "uid 0: \"apply\"") == 1)
            #expect(try state.commit([change("a", 3), change("b", nil), change("c", 4)], time: 8, summary: "") == 2)
            #expect(state.lateFailure == nil)
        }
        let (state, loaded) = try AppliedState.open(path)
        #expect(ports(loaded) == ["a": "3", "c": "4"])
        #expect(loaded.damage.isEmpty && state.generation == 2)
        #expect(state.generations.map(\.time) == [7, 8])
        #expect(state.generations[0].summary == "uid 0: \"apply\"")
        #expect(place.names(in: "deep/state/applied").count == 2)
        // The text is the author's, and errors in it would be given their place in the state directory.
        #expect(loaded.applied.objects[0].text.contains("ports: [{port: 3}]"))
        #expect(loaded.applied.objects[0].origin.file.hasPrefix("\(path)/applied/NetworkPolicy.default.a."))
        #expect(loaded.applied.objects[0].origin.line == 2)
    }

    // MARK: - Rollback

    @Test func rollbackGivesTheTextsOfThen() throws {
        let place = TemporaryDirectory()
        var (state, _) = try AppliedState.open(place.path)
        #expect(throws: RollbackError.nothingApplied) { try state.rollback(to: 0) }
        _ = try state.commit([change("a", 1)], time: 0, summary: "")
        _ = try state.commit([change("a", 2), change("b", 2)], time: 0, summary: "")
        _ = try state.commit([change("a", 1), change("b", nil), change("c", 3)], time: 0, summary: "")
        func back(_ target: UInt64) throws -> [String] {
            try state.rollback(to: target).map { "\($0.reference.name) \($0.text.map { _ in "text" } ?? "gone")" }
        }
        #expect(try back(2) == ["a text", "b text", "c gone"])
        #expect(try back(1) == ["c gone"], "a is as it was then")
        #expect(try back(0) == ["a gone", "c gone"])
        #expect(throws: RollbackError.notInThePast(3, newest: 3)) { try state.rollback(to: 3) }
        let text = try #require(try state.rollback(to: 2).first?.text)
        #expect(text == ObjectStoreTests.policy("a", port: "2"))
    }

    @Test func theHistoryIsBounded() throws {
        let place = TemporaryDirectory()
        var (state, _) = try AppliedState.open(place.path)
        state.keptGenerations = 5
        _ = try state.commit([change("old", 9)], time: 0, summary: "")
        for port in 1...9 { _ = try state.commit([change("a", port)], time: 0, summary: "") }
        #expect(place.names(in: "history").count == 10, "a commit leaves it to tidy()")
        try state.tidy()
        #expect(place.names(in: "history").count == 5 && state.generations.count == 5)
        #expect(throws: RollbackError.tooOld(4, oldest: 5)) { try state.rollback(to: 4) }
        #expect(try state.rollback(to: 5).count == 1)
        for port in 10...30 { _ = try state.commit([change("a", port)], time: 0, summary: "") }
        #expect(state.generations.count <= 10, "nobody tidies up, and it stays bounded")
        let (again, loaded) = try AppliedState.open(place.path)
        #expect(ports(loaded) == ["a": "30", "old": "9"])
        #expect(again.generation == state.generation)
    }

    // MARK: - Crashes and failures

    /// Stops at the nth step, and at every later one: a dead machine does not clean up.
    private final class World: Sendable {
        private let remaining: Mutex<Int>
        private let code: CInt
        private let onlyOnce: Bool

        init(steps: Int, code: CInt = EIO, onlyOnce: Bool = false) {
            remaining = Mutex(steps)
            self.code = code
            self.onlyOnce = onlyOnce
        }

        func step(_ step: DurableDirectory.Step, _ name: String) throws(StateFileError) {
            let left = remaining.withLock { value in
                value -= 1
                return value
            }
            if left == 0 || (left < 0 && !onlyOnce) { throw StateFileError("\(step)", name, code: code) }
        }
    }

    @Test(arguments: [false, true])
    func aCrashAtAnyStepLeavesTheOldOrTheNewState(_ failsOnce: Bool) throws {
        let old = ["a": "1", "b": "1"]
        let new = ["a": "2", "c": "2"]
        var outcomes: Set<[String: String]> = []
        var steps = 0
        var finished = false
        while !finished {
            steps += 1
            let place = TemporaryDirectory()
            var (first, _) = try AppliedState.open(place.path)
            _ = try first.commit([change("a", 1), change("b", 1)], time: 0, summary: "")

            // Opening is part of what may be interrupted.
            let world = World(steps: steps, onlyOnce: failsOnce)
            var committed = false
            do {
                var (state, _) = try AppliedState.open(
                    place.path,
                    interruption: { step, name throws(StateFileError) in
                        try world.step(step, name)
                    })
                _ = try state.commit([change("a", 2), change("b", nil), change("c", 2)], time: 0, summary: "")
                committed = true
                finished = state.lateFailure == nil
            } catch {}

            let (after, loaded) = try AppliedState.open(place.path)
            let ports = ports(loaded)
            outcomes.insert(ports)
            #expect(loaded.damage.isEmpty, "step \(steps)")
            #expect(ports == new || (ports == old && !committed), "step \(steps): \(ports)")
            #expect(after.generation == (ports == new ? 2 : 1), "step \(steps)")
            let files = place.names(in: "applied") + place.names(in: "history")
            #expect(!files.contains { $0.hasSuffix(".tmp") }, "step \(steps)")
            #expect(place.names(in: "applied").count == 2, "step \(steps)")
        }
        #expect(outcomes == [old, new])
        #expect(steps > 10)
    }

    @Test func aCrashWhileTidyingLosesNothing() throws {
        var outcomes: Set<[String: String]> = []
        var finished = false
        var steps = 0
        while !finished {
            steps += 1
            let place = TemporaryDirectory()
            var (first, _) = try AppliedState.open(place.path)
            _ = try first.commit([change("a", 1), change("b", 1)], time: 0, summary: "")
            _ = try first.commit([change("a", nil), change("b", 2)], time: 0, summary: "")
            let world = World(steps: steps)
            let interruption = { @Sendable (step: DurableDirectory.Step, name: String) throws(StateFileError) in
                try world.step(step, name)
            }
            do {
                var (state, _) = try AppliedState.open(place.path, interruption: interruption)
                _ = try state.commit([change("b", 3)], time: 0, summary: "")
                state.keptGenerations = 1
                try state.tidy()
                finished = true
            } catch {}
            let (_, loaded) = try AppliedState.open(place.path)
            outcomes.insert(ports(loaded))
            #expect(loaded.damage.isEmpty, "step \(steps)")
        }
        #expect(outcomes == [["b": "2"], ["b": "3"]])
    }

    /// The files in `applied` are not made durable one by one: after a power failure any of them may be empty.
    @Test func tornFilesOfRecentObjectsAreRepaired() throws {
        let place = TemporaryDirectory()
        var (state, _) = try AppliedState.open(place.path)
        _ = try state.commit([change("a", 1), change("b", 1)], time: 0, summary: "")
        _ = try state.commit([change("a", 2)], time: 0, summary: "")
        let names = place.names(in: "applied")
        _ = try state.commit([change("b", nil)], time: 0, summary: "")
        for name in names { place.write("applied/\(name)", "") }
        let (_, loaded) = try AppliedState.open(place.path)
        #expect(ports(loaded) == ["a": "2"])
        #expect(loaded.damage.isEmpty)
        #expect(place.names(in: "applied").count == 1)
        #expect(place.names(in: "quarantine").isEmpty)
    }

    @Test func aFailedCommitChangesNothing() throws {
        let place = TemporaryDirectory()
        let world = World(steps: 11, code: ENOSPC, onlyOnce: true)
        var (state, _) = try AppliedState.open(
            place.path,
            interruption: { step, name throws(StateFileError) in
                try world.step(step, name)
            })
        var failures = 0
        for port in 1...20 {
            let before = state.generation
            do {
                _ = try state.commit([change("a", port)], time: 0, summary: "")
            } catch {
                failures += 1
                #expect(state.generation == before)
                #expect(
                    error.description.hasSuffix(
                        "No space left on device (no space left; free some)"))
                _ = try state.commit([change("a", port)], time: 0, summary: "")
            }
        }
        #expect(state.generation == 20)
        #expect(failures <= 1)
        let (_, loaded) = try AppliedState.open(place.path)
        #expect(ports(loaded) == ["a": "20"])
    }

    @Test func anUnusableDirectoryIsAnError() throws {
        let place = TemporaryDirectory()
        place.write("file", "")
        #expect(throws: StateFileError("make directory", "\(place.path)/file/history", code: ENOTDIR)) {
            try AppliedState.open("\(place.path)/file")
        }
        #expect(throws: StateFileError.self) { try AppliedState.open("/proc/self/nothing") }
    }

    // MARK: - Before the disk has it

    @Test func aProcessThatDiesBeforeTheDiskHasAChangeHasMadeIt() throws {
        let place = TemporaryDirectory()
        do {
            var (state, _) = try AppliedState.open(place.path)
            try state.commit([change("a", 1)], time: 0, summary: "")
            try state.stage([change("a", 2), change("b", 2)], time: 0, summary: "")
            #expect(!state.isSettled && state.generation == 2)
            #expect(place.names(in: "history") == ["0000000001.json", "0000000002.json.staged"])
        }
        for _ in 1...2 {
            let (state, loaded) = try AppliedState.open(place.path)
            #expect(ports(loaded) == ["a": "2", "b": "2"] && loaded.damage.isEmpty)
            #expect(state.isSettled && state.generation == 2)
            #expect(place.names(in: "history") == ["0000000001.json", "0000000002.json"])
        }
    }

    /// The machine's power fails before the disk has the change: any prefix of the file may be there, or zeros.
    @Test func aChangeThatPowerTookAwayHasNotHappened() throws {
        let place = TemporaryDirectory()
        var (state, _) = try AppliedState.open(place.path)
        try state.commit([change("a", 1)], time: 0, summary: "")
        try state.commit([change("a", 2)], time: 0, summary: "")
        try state.stage([change("a", nil), change("b", 3)], time: 0, summary: "")
        let staged = "history/0000000003.json.staged"
        let whole = try DurableDirectory(path: place.path).read(staged)
        let applied = place.names(in: "applied")
        for length in 0..<whole.count {
            for torn in [Array(whole[..<length]), whole[..<length] + Array(repeating: 0, count: whole.count - length)] {
                place.write(staged, String(decoding: torn, as: UTF8.self))
                let (after, loaded) = try AppliedState.open(place.path)
                #expect(ports(loaded) == ["a": "2"] && loaded.damage.isEmpty, "\(length) bytes")
                #expect(after.generation == 2 && after.generations.count == 2, "\(length) bytes")
                #expect(place.names(in: "history").count == 2 && place.names(in: "applied") == applied)
            }
        }
    }

    @Test(arguments: [DurableDirectory.Step.synchronize, .rename, .synchronizeDirectory])
    func aDiskThatFailsIsToldAndTriedAgain(_ failing: DurableDirectory.Step) throws {
        let place = TemporaryDirectory()
        let fails = Mutex(false)
        var (state, _) = try AppliedState.open(
            place.path,
            interruption: { step, name throws(StateFileError) in
                if step == failing, fails.withLock({ $0 }) { throw StateFileError("\(step)", name, code: EIO) }
            })
        try state.commit([change("a", 1)], time: 0, summary: "")
        try state.stage([change("a", 2)], time: 0, summary: "")
        fails.withLock { $0 = true }
        for _ in 1...2 { #expect(throws: StateFileError.self) { try state.settle() } }
        #expect(throws: StateFileError.self) { try state.stage([change("a", 3)], time: 0, summary: "") }
        #expect(!state.isSettled && state.generation == 2, "no change is made on one that may be lost")
        fails.withLock { $0 = false }
        try state.commit([change("b", 3)], time: 0, summary: "")
        #expect(state.isSettled && state.lateFailure == nil)
        #expect(place.names(in: "history") == (1...3).map { "000000000\($0).json" })
        #expect(ports(try AppliedState.open(place.path).loaded) == ["a": "2", "b": "3"])
    }

    // MARK: - Damage

    @Test(arguments: ["applied", "history", "last-good"])
    func aDamagedFileIsMovedAwayAndTheRestIsUsed(_ directory: String) throws {
        let place = TemporaryDirectory()
        var (state, _) = try AppliedState.open(place.path)
        _ = try state.commit([change("a", 1)], time: 0, summary: "")
        state.keptGenerations = 3
        for port in 1...4 { _ = try state.commit([change("b", port)], time: 0, summary: "") }
        try state.tidy()
        let good = Decoding.manifest(ObjectStoreTests.policy("g") + "---\n" + ObjectStoreTests.policy("h")).objects
        try state.remember(good)

        let victim = try #require(place.names(in: directory).first)
        let file = "\(directory)/\(victim)"
        var bytes = try DurableDirectory(path: place.path + "/" + directory).read(victim)
        bytes[bytes.count / 2] ^= 1
        place.write(file, String(decoding: bytes, as: UTF8.self))

        let (_, loaded) = try AppliedState.open(place.path)
        #expect(
            loaded.damage.map(\.description) == [
                "\(place.path)/\(file): the file is damaged: its checksum is wrong "
                    + "(it was moved to \(place.path)/quarantine/\(victim).1; check what is applied)"
            ])
        #expect(place.names(in: "quarantine") == ["\(victim).1"])
        #expect(ports(loaded)["b"] == "4")
        #expect((ports(loaded)["a"] == nil) == (directory == "applied"))
        #expect(loaded.lastGood.count == (directory == "last-good" ? 1 : 2))
        let (_, again) = try AppliedState.open(place.path)
        #expect(again.damage.isEmpty)
    }

    @Test(arguments: [1, 2, 3])
    func aDamagedGenerationDoesNotBringBackOldTexts(_ number: Int) throws {
        let place = TemporaryDirectory()
        var (state, _) = try AppliedState.open(place.path)
        for port in 1...3 { _ = try state.commit([change("a", port)], time: 0, summary: "") }
        place.write("history/000000000\(number).json", "damage")
        let (after, loaded) = try AppliedState.open(place.path)
        #expect(ports(loaded) == ["a": "3"])
        #expect(loaded.damage.count == 1)
        #expect(after.generation == 3)
        #expect(after.generations.map(\.number) == (number == 3 ? [] : Array(UInt64(number + 1)...3)))
        #expect(try AppliedState.open(place.path).state.generation == 3)
    }

    @Test func anythingElseInTheDirectoryIsMovedAwayToo() throws {
        let place = TemporaryDirectory()
        _ = try AppliedState.open(place.path)
        place.write("applied/foo.yaml", "x")
        place.makeDirectory("applied/sub")
        place.write("applied/left.tmp", "x")
        let (_, loaded) = try AppliedState.open(place.path)
        #expect(loaded.damage.count == 2)
        #expect(place.names(in: "applied").isEmpty)
        #expect(place.names(in: "quarantine") == ["foo.yaml.1", "sub.1"])
    }

    // MARK: - Last good versions

    @Test func lastGoodVersionsKeepTheirOrigin() throws {
        let place = TemporaryDirectory()
        let file = "/etc/my \"config\"/a.yaml"
        let objects = ManifestDecoder(unknownKinds: .warn).decode(
            Array(("# c\n" + ObjectStoreTests.policy("a") + "---\n" + ObjectStoreTests.policy("b")).utf8), file: file
        ).objects
        var (state, _) = try AppliedState.open(place.path)
        try state.remember(objects)
        var (next, loaded) = try AppliedState.open(place.path)
        #expect(loaded.lastGood.map(\.origin.description) == ["\(file):2", "\(file):7"])
        #expect(loaded.lastGood.map(\.text) == objects.map(\.text))
        try next.remember([objects[1]])
        #expect(try AppliedState.open(place.path).loaded.lastGood.map(\.reference.name) == ["b"])
    }

    @Test func aLongNameFitsIntoAFileName() throws {
        let place = TemporaryDirectory()
        let name = String(repeating: "a", count: 253)
        var (state, _) = try AppliedState.open(place.path)
        _ = try state.commit([change(name, 1)], time: 0, summary: "")
        #expect(try AppliedState.open(place.path).loaded.applied.objects.map(\.reference.name) == [name])
    }
}

extension AppliedState {
    /// Makes changes and waits for the disk.
    @discardableResult
    fileprivate mutating func commit(
        _ changes: [ObjectChange], time: Int64, summary: String
    ) throws(StateFileError) -> UInt64 {
        try stage(changes, time: time, summary: summary)
        try settle()
        return generation
    }
}
