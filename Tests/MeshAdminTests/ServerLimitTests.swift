// SPDX-License-Identifier: Apache-2.0

import AdminTestSupport
import Glibc
import LinuxIO
import Testing

@testable import MeshAdmin

/// A client that says what a test wants it to say, byte by byte.
private struct RawClient: ~Copyable {
    private let stream: UnixStream

    init(_ socket: String) throws {
        stream = try UnixStream(connectingTo: socket, timeout: .seconds(20))
    }

    func send(_ text: String) throws {
        try Array(text.utf8).withUnsafeBytes { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                guard case .bytes(let count) = try stream.write(UnsafeRawBufferPointer(rebasing: rest)) else { return }
                rest = rest.dropFirst(count)
            }
        }
    }

    /// Reads nothing; says whether the server closes within ten seconds.
    func waitForHangup() -> Bool {
        var entry = pollfd(fd: stream.descriptor, events: 0, revents: 0)
        return poll(&entry, 1, 10_000) == 1 && entry.revents & Int16(POLLHUP) != 0
    }

    /// Everything until the server closes.
    func readToEnd() throws -> String {
        var text: [UInt8] = []
        while try stream.waitUntilReadable(atMost: .seconds(10)) {
            let ended = try withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { buffer in
                guard case .bytes(let count) = try stream.read(into: buffer) else { return true }
                text += buffer.prefix(count)
                return false
            }
            if ended { return String(decoding: text, as: UTF8.self) }
        }
        Issue.record("the server did not close the connection: \(String(decoding: text, as: UTF8.self))")
        return String(decoding: text, as: UTF8.self)
    }
}

@Suite(.serialized) struct ServerLimitTests {
    static let hello = "{\"hello\":{\"protocol\":1,\"name\":\"raw\"}}\n"

    @Test(
        .timeLimit(.minutes(1)),
        arguments: [
            ("nonsense\n", "invalidRequest"),
            ("{\"hello\":{\"protocol\":2,\"name\":\"raw\"}}\n", "versionMismatch"),
            (hello + "nonsense\n", "invalidRequest"),
            (hello + "{\"id\":1}\n", "invalidRequest"),
            (hello + String(repeating: "x", count: 5000), "tooLarge"),
        ])
    func aMessageThatCannotBeReadEndsTheConnectionWithTheReason(sent: String, code: String) throws {
        var limits = AdminLimits()
        limits.writerRequest = 4096
        let agent = try FakeAgent(limits: limits)
        let client = try RawClient(agent.socket)
        try client.send(sent)
        let answer = try client.readToEnd()
        #expect(answer.contains("{\"error\":{\"code\":\"\(code)\""), "\(answer)")
        _ = try agent.stop()
    }

    @Test(.timeLimit(.minutes(1))) func aMethodThatIsNotKnownIsAnErrorOfTheCall() throws {
        let agent = try FakeAgent()
        let client = try RawClient(agent.socket)
        try client.send(Self.hello + "{\"id\":9,\"method\":\"dance\",\"arguments\":{}}\nnonsense\n")
        let answer = try client.readToEnd()
        #expect(answer.contains("\"id\":9}") && answer.contains("has no method 'dance'"), "\(answer)")
        _ = try agent.stop()
    }

    @Test(.timeLimit(.minutes(1))) func aSecondCallWhileOneIsAnsweredIsRefused() throws {
        let agent = try FakeAgent()
        let client = try RawClient(agent.socket)
        let follow = "{\"id\":1,\"method\":\"flows\",\"arguments\":{\"follow\":true,\"filter\":{}}}\n"
        try client.send(Self.hello + follow + follow)
        #expect(try client.readToEnd().contains("while another is being answered"))
        _ = try agent.join()
    }

    @Test(.timeLimit(.minutes(1))) func aPeerThatSaysNothingIsDisconnected() throws {
        var limits = AdminLimits()
        limits.helloTimeout = .milliseconds(50)
        let agent = try FakeAgent(limits: limits)
        let silent = try RawClient(agent.socket)
        #expect(try silent.readToEnd() == "")
        _ = try agent.stop()
        limits = AdminLimits()
        limits.idleTimeout = .milliseconds(50)
        let patient = try FakeAgent(limits: limits)
        let idle = try RawClient(patient.socket)
        try idle.send(Self.hello)
        #expect(try idle.readToEnd().contains("\"node\":\"n1\""))
        _ = try patient.stop()
    }

    @Test(.timeLimit(.minutes(1))) func aReaderThatStallsInAListIsDisconnected() throws {
        var limits = AdminLimits()
        limits.stalledTimeout = .milliseconds(100)
        let agent = try FakeAgent(limits: limits)
        let client = try RawClient(agent.socket)
        let call = "{\"id\":1,\"method\":\"workloads\",\"arguments\":{\"namespace\":\"100000\",\"all\":false}}\n"
        try client.send(Self.hello + call)
        let gaveUp = client.waitForHangup()
        #expect(gaveUp, "the server gave up before the client read anything")
        let isWhole = try client.readToEnd().hasSuffix("{\"end\":true,\"id\":1}\n")
        #expect(!isWhole)
        #expect(try agent.stop().clients == 0)
    }

    @Test(.timeLimit(.minutes(1))) func moreClientsThanAllowedAreToldSo() throws {
        var limits = AdminLimits()
        limits.clients = 2
        limits.clientsReservedForRoot = 0
        let agent = try FakeAgent(limits: limits)
        let first = try RawClient(agent.socket)
        let second = try RawClient(agent.socket)
        try first.send(Self.hello)
        try second.send(Self.hello)
        let error = #expect(throws: AdminError.self) { _ = try agent.client() }
        #expect(error?.code == .busy)
        _ = consume first
        _ = consume second
        var accepted = false
        for _ in 0..<10_000 where !accepted {
            accepted = (try? agent.client()) != nil
            if !accepted { usleep(1000) }
        }
        #expect(accepted, "a place that became free is given away again")
        _ = try agent.stop()
    }

    /// Whatever prefix of a call arrives first, the answer is the same.
    @Test(.timeLimit(.minutes(1))) func aCallMayArriveInPieces() throws {
        let agent = try FakeAgent()
        let text = Self.hello + "{\"id\":1,\"method\":\"generations\",\"arguments\":{}}\n"
        var answers: Set<String> = []
        for cut in stride(from: 0, through: text.utf8.count, by: 1) {
            let client = try RawClient(agent.socket)
            try client.send(String(text.utf8.prefix(cut)) ?? "")
            if cut % 7 == 0 { usleep(500) }
            try client.send((String(text.utf8.dropFirst(cut)) ?? "") + "{}\n")
            answers.insert(try client.readToEnd())
        }
        #expect(answers.count == 1)
        #expect(answers.first?.contains("\"end\":true") == true)
        _ = try agent.stop()
    }
}
