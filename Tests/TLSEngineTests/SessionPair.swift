// SPDX-License-Identifier: Apache-2.0

import Identity
import TLSEngine
import Testing

/// One end of a connection in memory.
final class TestEnd {
    var session: TLSSession
    /// Received, not used.
    var input: [UInt8] = []
    var inputHasEnded = false
    /// Decrypted.
    var plain: [UInt8] = []
    /// Room that each call is given.
    var room = 1 << 16
    /// The peer has said that nothing follows.
    var hasEnded = false

    init(_ context: borrowing TLSContext, expecting peer: PeerExpectation, recordsPerKey: UInt64 = 0) throws {
        session = TLSSession(context, expecting: peer, recordsPerKey: recordsPerKey)
    }

    /// One call with what has been received; what it produces is returned.
    private func call(
        _ body: (inout TLSSession, inout TLSWire) throws(TLSError) -> Bool
    ) throws -> (again: Bool, sent: [UInt8]) {
        var output = [UInt8](repeating: 0, count: room)
        let received = input
        var wire = TLSWire(input: UnsafeRawBufferPointer(start: nil, count: 0), output: .init(start: nil, count: 0))
        let again = try received.withUnsafeBytes { bytes in
            try output.withUnsafeMutableBytes { space in
                wire = TLSWire(input: bytes, inputHasEnded: inputHasEnded, output: space)
                // What was produced is of use even if the call fails: an alert.
                defer { input.removeFirst(wire.consumed) }
                do throws(TLSError) { return try body(&session, &wire) } catch {
                    lastWords = Array(space[..<wire.produced])
                    throw error
                }
            }
        }
        return (again, Array(output[..<wire.produced]))
    }

    /// What was produced by the call that failed.
    private(set) var lastWords: [UInt8] = []

    /// - Returns: what to send, and whether the handshake is done.
    func handshake(at now: UnixTime = TestMesh.now) throws -> (done: Bool, sent: [UInt8]) {
        var sent: [UInt8] = []
        while true {
            var state = TLSSession.Handshake.done
            let step = try call { session, wire throws(TLSError) in
                state = try session.handshake(&wire, now: now)
                return state == .needsOutput
            }
            sent += step.sent
            if !step.again { return (state == .done, sent) }
        }
    }

    /// Decrypts all that was received. - Returns: what is to be sent for it.
    func read() throws -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 5000)
        var sent: [UInt8] = []
        while true {
            let step = try buffer.withUnsafeMutableBytes { space in
                try call { session, wire throws(TLSError) in
                    switch try session.read(&wire, into: space) {
                    case .transferred(let count):
                        plain += space[..<count]
                        return true
                    case .needsInput: return false
                    case .needsOutput: return true
                    case .endOfStream:
                        hasEnded = true
                        return false
                    }
                }
            }
            sent += step.sent
            if !step.again { return sent }
        }
    }

    func write(_ bytes: [UInt8]) throws -> [UInt8] {
        var sent: [UInt8] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            let step = try rest.withUnsafeBytes { bytes in
                try call { session, wire throws(TLSError) in
                    while case .transferred(let count) = try session.write(
                        &wire, UnsafeRawBufferPointer(rebasing: bytes[(bytes.count - rest.count)...]))
                    {
                        rest.removeFirst(count)
                        if rest.isEmpty { break }
                    }
                    return true
                }
            }
            #expect(!step.sent.isEmpty, "no record fits into \(room) bytes")
            sent += step.sent
        }
        return sent
    }

    func close() throws -> [UInt8] {
        try call { session, wire throws(TLSError) in try session.close(&wire) == .needsOutput }.sent
    }
}

/// Two ends that take turns.
struct SessionPair {
    let client: TestEnd
    let server: TestEnd
    /// Bytes that are handed over at once.
    var piece = Int.max

    init(_ client: TestEnd, _ server: TestEnd, piece: Int = .max) {
        self.client = client
        self.server = server
        self.piece = piece
    }

    /// Two workloads of one mesh.
    init(
        _ mesh: TestMesh, profile: TLSProfile = .standard, recordsPerKey: UInt64 = 0, piece: Int = .max
    ) throws {
        client = try TestEnd(
            mesh.context(.client, mesh.svid("web"), profile: profile), expecting: .anyOf([mesh.id("db")]),
            recordsPerKey: recordsPerKey)
        server = try TestEnd(
            mesh.context(.server, mesh.svid("db"), profile: profile), expecting: .memberOf(mesh.domain),
            recordsPerKey: recordsPerKey)
        self.piece = piece
    }

    /// Shakes hands. - Throws: the error of the end that refuses first; the other one's is in `otherError`.
    func handshake(at now: UnixTime = TestMesh.now) throws {
        var done = (client: false, server: false)
        var (up, down): ([UInt8], [UInt8]) = ([], [])
        for _ in 0..<100_000 {
            if !done.client {
                let step = try client.handshake(at: now)
                done.client = step.done
                up += step.sent
            }
            if !done.server {
                let step = try server.handshake(at: now)
                done.server = step.done
                down += step.sent
            }
            if done.client, done.server, up.isEmpty, down.isEmpty { return }
            give(&up, to: server)
            give(&down, to: client)
        }
        Issue.record("the handshake does not end")
    }

    private func give(_ bytes: inout [UInt8], to end: TestEnd) {
        let count = min(piece, bytes.count)
        end.input += bytes[..<count]
        bytes.removeFirst(count)
    }
}
