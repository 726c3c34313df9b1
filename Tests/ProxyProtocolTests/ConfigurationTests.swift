// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import MeshModel
import ProxyProtocol
import TestSupport
import Testing

struct ConfigurationTests {
    typealias Outcome = ConfigurationReceiver.Outcome

    private static func key(_ name: String) -> RecordKey { RecordKey(.service, name) }

    private static func deliver(_ messages: [AgentMessage], to receiver: inout ConfigurationReceiver) -> [Outcome] {
        messages.map { message in
            switch message {
            case .begin(let base, let generation): receiver.begin(base: base, generation: generation)
            case .put(let key, let value): receiver.set(key, value)
            case .delete(let key): receiver.set(key, nil)
            case .commit(let generation): receiver.commit(generation)
            default: .violation("not a part of a change")
            }
        }
    }

    private static func snapshot(of bytes: [UInt8]) throws -> SharedDescriptor {
        try SealedMemory.make("test", bytes)
    }

    /// Whatever the sequence of states, the receiver has the sender's after each commit, and nothing before it.
    @Test func changesAddUp() {
        var random = SplitMix64(seed: 5)
        var receiver = ConfigurationReceiver()
        var state = ConfigurationState()
        for generation in 1...200 as ClosedRange<UInt64> {
            var next = ConfigurationState(generation: generation, records: state.records)
            for _ in 0..<Int.random(in: 0...4, using: &random) {
                let name = random.pick(["a", "b", "c", "d", "e"])
                next.records[Self.key(name)] = random.chance(30) ? nil : [UInt8.random(in: 0...3, using: &random)]
            }
            let change = ConfigurationChange(from: state, to: next)
            #expect(change.records.allSatisfy { state.records[$0.key] != $0.value })
            let outcomes = Self.deliver(change.messages, to: &receiver)
            #expect(outcomes.dropLast().allSatisfy { $0 == .incomplete })
            #expect(outcomes.last == .complete(next))
            #expect(receiver.state == next)
            state = next
        }
    }

    @Test func aChangeIsNothingBeforeItsCommit() {
        var receiver = ConfigurationReceiver()
        _ = Self.deliver([.begin(base: 0, generation: 1), .put(Self.key("a"), [1])], to: &receiver)
        #expect(receiver.state == ConfigurationState())
        receiver.abandonChange()
        #expect(
            Self.deliver([.begin(base: 0, generation: 5), .commit(5)], to: &receiver)
                == [.incomplete, .complete(ConfigurationState(generation: 5))])
    }

    static let violations: [(messages: [AgentMessage], reason: String)] = [
        ([.commit(1)], "a commit of generation 1, which was not begun"),
        ([.put(key("a"), [])], "a record outside of a change"),
        ([.begin(base: 0, generation: 1), .begin(base: 0, generation: 1)], "a change begins inside another one"),
        ([.begin(base: 4, generation: 5)], "a change is from generation 4, and 0 is here"),
        ([.begin(base: 0, generation: 0)], "generation 0 follows 0"),
        ([.begin(base: 0, generation: 1), .delete(key("a"))], "service a is deleted and not there"),
        (
            [.begin(base: 0, generation: 1), .put(key("a"), []), .put(key("a"), [])],
            "service a occurs twice in a change"
        ),
        ([.begin(base: 0, generation: 2), .commit(3)], "a commit of generation 3, which was not begun"),
        (
            [.begin(base: 0, generation: 1), .put(key("a"), [1, 2, 3]), .put(key("b"), [1, 2, 3, 4])],
            "a change of more than 8 bytes"
        ),
        (
            [.begin(base: 0, generation: 1), .put(key("a"), []), .put(key("b"), []), .put(key("c"), []), .commit(1)],
            "more than 2 records"
        ),
    ]

    @Test(arguments: violations) func whatIsOutOfOrderOrTooMuchIsRefused(messages: [AgentMessage], reason: String) {
        var limits = LinkLimits()
        (limits.changeBytes, limits.records) = (8, 2)
        var receiver = ConfigurationReceiver(limits: limits)
        #expect(Self.deliver(messages, to: &receiver).last == .violation(reason))
    }

    // MARK: - Snapshots

    @Test func aSnapshotReplacesEverything() throws {
        var records = RandomRecords(seed: 6)
        var receiver = ConfigurationReceiver()
        _ = Self.deliver([.begin(base: 0, generation: 1), .put(Self.key("old"), [1]), .commit(1)], to: &receiver)
        let state = ConfigurationState(generation: 9, (0..<100).map { _ in records.record() })
        #expect(receiver.snapshot(9, in: try Self.snapshot(of: state.wire)) == .complete(state))
        #expect(try ProxyConfiguration(state).generation == 9)
        // It goes on with changes.
        let next = ConfigurationState(generation: 10)
        #expect(
            Self.deliver(ConfigurationChange(from: state, to: next).messages, to: &receiver).last == .complete(next))
    }

    @Test func anUnsealedFileIsNotRead() throws {
        var ends: [CInt] = [-1, -1]
        #expect(pipe(&ends) == 0)
        let (readable, writable) = (SharedDescriptor(adopting: ends[0]), SharedDescriptor(adopting: ends[1]))
        _ = writable
        var receiver = ConfigurationReceiver()
        guard case .violation(let text) = receiver.snapshot(1, in: readable) else { return #expect(Bool(false)) }
        #expect(text.hasPrefix("a snapshot cannot be read: fcntl(F_GET_SEALS)"))
        let file = SharedDescriptor(try OwnedDescriptor(open: "/proc/self/exe", flags: O_RDONLY))
        guard case .violation = receiver.snapshot(1, in: file) else { return #expect(Bool(false)) }
        #expect(receiver.state == ConfigurationState())
    }

    @Test func noPrefixOfASnapshotIsOne() throws {
        var records = RandomRecords(seed: 7)
        let wire = ConfigurationState(generation: 9, (0..<5).map { _ in records.record() }).wire
        for length in 0..<wire.count {
            #expect(throws: WireError.self) { try ConfigurationState(wire: Array(wire[..<length])) }
        }
        var receiver = ConfigurationReceiver()
        guard case .violation = receiver.snapshot(9, in: try Self.snapshot(of: Array(wire.dropLast()))) else {
            return #expect(Bool(false))
        }
        #expect(
            receiver.snapshot(8, in: try Self.snapshot(of: wire))
                == .violation("a snapshot announced as generation 8 is 9"))
        guard case .complete = receiver.snapshot(9, in: try Self.snapshot(of: wire)) else {
            return #expect(Bool(false))
        }
        #expect(
            receiver.snapshot(9, in: try Self.snapshot(of: wire))
                == .violation("a snapshot of generation 9 follows 9"))
    }

    @Test func aSnapshotBeyondTheLimitIsNotMapped() throws {
        var limits = LinkLimits()
        limits.snapshotBytes = 100
        var receiver = ConfigurationReceiver(limits: limits)
        let file = try Self.snapshot(of: [UInt8](repeating: 0, count: 101))
        guard case .violation(let text) = receiver.snapshot(1, in: file) else { return #expect(Bool(false)) }
        #expect(text.contains("101 bytes, more than 100"))
    }
}
