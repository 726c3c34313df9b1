// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Foundation
import Glibc
import LinuxIO
import Logging
import MeshModel
import Synchronization
import Testing

@testable import MeshAgent
@testable import MeshManifests

/// A disk that stands still, fails or works, as a test says.
private final class Disk: Sendable {
    private let gate = DispatchSemaphore(value: 0)
    private let isStanding = Atomic(false)
    private let isFailing = Atomic(false)

    func stand() { isStanding.store(true, ordering: .relaxed) }

    /// Lets all that stand now and later go on.
    func goOn() {
        isStanding.store(false, ordering: .relaxed)
        gate.signal()
    }

    func fail(_ fails: Bool) { isFailing.store(fails, ordering: .relaxed) }

    func step(_ step: DurableDirectory.Step, _ name: String) throws(StateFileError) {
        guard step == .synchronize || step == .synchronizeDirectory else { return }
        if isStanding.load(ordering: .relaxed) { gate.wait() }
        if isFailing.load(ordering: .relaxed) { throw StateFileError("fsync", name, code: EIO) }
    }
}

/// The path of a state directory that is made by who opens it.
private final class Place {
    let path = NSTemporaryDirectory() + "mesh-state-\(UUID().uuidString)"

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

@Suite struct StateWriterTests {
    private struct World {
        let loop: EventLoop
        let disk = Disk()
        let writer: StateWriter

        init(_ place: Place) throws {
            loop = try EventLoop()
            let (state, _) = try AppliedState.open(place.path) { [disk] (step, name) throws(StateFileError) in
                try disk.step(step, name)
            }
            var logger = Logger(label: "test")
            logger.logLevel = .critical
            writer = try StateWriter(state, on: loop, logger: logger)
        }

        /// What became of a change, in the order of the ends: `nil` for durable.
        func change(_ number: Int, _ ends: @escaping (Int, String?) -> Void) {
            writer.perform { [writer] in
                let reference = ObjectReference(
                    apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", namespace: "test", name: "p\(number)")
                do throws(StateFileError) {
                    try writer.stage([.init(reference: reference, before: nil, after: nil)], time: 0, summary: "")
                } catch {
                    return ends(number, "not changed: \(error)")
                }
                writer.settle()
                writer.whenSettled { ends(number, $0) }
            }
        }

        func turn(until isMet: () -> Bool) throws {
            let deadline = ContinuousClock.now + .seconds(10)
            while !isMet() {
                try #require(ContinuousClock.now < deadline)
                try loop.turn(waitingAtMost: .milliseconds(10))
            }
        }
    }

    @Test func changesWaitForTheDiskInTheirOrder() throws {
        let place = Place()
        let world = try World(place)
        var ended: [Int] = []
        world.disk.stand()
        for number in 1...3 { world.change(number) { number, _ in ended.append(number) } }
        for _ in 0..<3 { try world.loop.turn(waitingAtMost: .milliseconds(1)) }
        #expect(ended.isEmpty && world.writer.applied.generation == 1, "the others are not begun")
        world.disk.goOn()
        try world.turn { ended.count == 3 }
        #expect(ended == [1, 2, 3] && world.writer.applied.generation == 3)
        #expect(try AppliedState.open(place.path).state.generation == 3)
    }

    @Test func aDiskThatFailsIsToldAndTriedAgainByTheNextChange() throws {
        let place = Place()
        let world = try World(place)
        var ends: [String] = []
        func change(_ number: Int) throws -> String? {
            var end: String??
            world.change(number) { end = .some($1) }
            try world.turn { end != nil }
            return end ?? nil
        }
        world.disk.fail(true)
        ends.append(try change(1) ?? "durable")
        #expect(ends[0].contains("a failure of power") && world.writer.problem == ends[0])
        ends.append(try change(2) ?? "durable")
        #expect(ends[1].contains("not changed") && world.writer.applied.generation == 1)
        world.disk.fail(false)
        #expect(try change(3) == nil && world.writer.problem == nil && world.writer.applied.generation == 2)
    }

    @Test func oldGenerationsAreForgottenBesideTheLoop() throws {
        let place = Place()
        let world = try World(place)
        var count = 0
        for number in 1...120 {
            world.change(number) { count += $1 == nil ? 1 : 0 }
            try world.turn { count == number }
        }
        world.writer.finish()
        #expect(world.writer.applied.generations.count <= 100 && world.writer.applied.generation == 120)
        #expect(try AppliedState.open(place.path).state.generation == 120)
    }
}
