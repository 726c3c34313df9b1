// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import L7Proxy

/// Our sessions against h2, an independent implementation in Python, in both roles.
@Suite struct HTTP2PeerTests {
    private static let python = ProcessInfo.processInfo.environment["PYTHON"] ?? "/usr/bin/python3"

    /// Whether h2 is installed; `make test-root` does not take no for an answer.
    private static let canRun: Bool = {
        if getenv("MESH_REQUIRE_ROOT") != nil { return true }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: python)
        process.arguments = ["-c", "import h2"]
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return false }
        process.waitUntilExit()
        return process.terminationStatus == 0
    }()

    /// Takes turns with the program `Peer/h2_peer.py`.
    private final class Python {
        private let process = Process()
        private let input = Pipe()
        private let output = Pipe()

        init(_ arguments: [String]) throws {
            let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
                .appendingPathComponent("Peer/h2_peer.py").path
            process.executableURL = URL(fileURLWithPath: HTTP2PeerTests.python)
            process.arguments = [script] + arguments
            process.standardInput = input
            process.standardOutput = output
            try process.run()
        }

        deinit {
            try? input.fileHandleForWriting.close()
            process.waitUntilExit()
        }

        func turn(_ bytes: [UInt8]) throws -> [UInt8] {
            try input.fileHandleForWriting.write(contentsOf: H2Frames.big(UInt32(bytes.count)) + bytes)
            return try answer()
        }

        func summary() throws -> [String: Any] {
            try input.fileHandleForWriting.write(contentsOf: H2Frames.big(.max))
            let object = try JSONSerialization.jsonObject(with: Data(try answer()))
            return try #require(object as? [String: Any])
        }

        private func answer() throws -> [UInt8] {
            let length = Int(H2Frames.Sent.word(try read(4), 0))
            return length == 0 ? [] : try read(length)
        }

        private func read(_ count: Int) throws -> [UInt8] {
            var all: [UInt8] = []
            while all.count < count {
                let data = try output.fileHandleForReading.read(upToCount: count - all.count)
                all += try #require(data, "the peer has ended")
            }
            return all
        }
    }

    private func settle(_ peer: H2Peer, _ python: Python) throws {
        while true {
            peer.consumeAll()
            let up = peer.output()
            let down = try python.turn(up)
            if up.isEmpty, down.isEmpty { return }
            peer.receive(down)
        }
    }

    @Test(.enabled(if: canRun, "needs python3-h2: scripts/bootstrap.sh --test"))
    func ourClientAgainstItsServer() throws {
        let python = try Python(["server"])
        let peer = H2Peer.client()
        var random = SeededGenerator(seed: 5)
        var expected: [Int32: (fields: [[String]], body: [UInt8], trailers: [ReadField])] = [:]
        try settle(peer, python)
        for index in 0..<120 {
            let hasBody = index % 3 != 0
            let length = index % 40 == 1 ? 90_000 : [0, 1, 900, 5000][index % 4]
            let start = UInt8.random(in: 0...255, using: &random)
            let body = hasBody ? [UInt8](repeating: start, count: length) + [1, 2, 3] : []
            let value = many("v", Int.random(in: 0...300, using: &random))
            let head =
                "\(hasBody ? "POST" : "GET") /\(index)?q HTTP/1.1\r\nHost: h\(index % 7)\r\nX-Index: \(index)\r\nX-Value: \(value)\r\nConnection: x-hop\r\nX-Hop: 1\r\nTE: trailers\r\n\r\n"
            let hasTrailers = hasBody && index % 5 == 0
            let stream = try #require(peer.request(head, body: hasBody ? body : nil, isLast: !hasTrailers))
            if hasTrailers { #expect(peer.trailers(stream, [("X-Sum", "\(index)"), ("grpc-status", "0")])) }
            expected[stream.id] = (
                [
                    [":method", hasBody ? "POST" : "GET"], [":scheme", "http"], [":path", "/\(index)?q"],
                    [":authority", "h\(index % 7)"], ["x-index", "\(index)"], ["x-value", value], ["te", "trailers"],
                ], body, hasTrailers ? [ReadField("x-sum", "\(index)"), ReadField("grpc-status", "0")] : []
            )
            if index % 20 == 19 { try settle(peer, python) }
        }
        try settle(peer, python)
        for (id, sent) in expected {
            let message = try #require(peer.recorder.streams[id])
            #expect(message.first[0] == "200" && message.closed == .noError)
            let echo = try #require(message.fields.first { $0.name == "x-echo" })
            #expect(try JSONDecoder().decode([[String]].self, from: Data(echo.value.utf8)) == sent.fields)
            #expect(message.body == sent.body && message.trailers == sent.trailers)
        }
        let summary = try python.summary()
        #expect(summary["requests"] as? Int == 120 && summary["resets"] as? Int == 0)
        #expect(peer.session.failure == nil)
    }

    private struct Echo: Encodable {
        var method: String
        var target: String
        var authority: String
        var fields: [[String]]
    }

    @Test(.enabled(if: canRun, "needs python3-h2: scripts/bootstrap.sh --test"), arguments: [1, 2])
    func ourServerAgainstItsClient(seed: Int) throws {
        let python = try Python(["client", "80", "\(seed)"])
        let peer = H2Peer.server()
        var answered: Set<Int32> = []
        for _ in 0..<2000 {
            peer.consumeAll()
            let up = peer.output()
            let down = try python.turn(up)
            #expect(peer.receive(down) == .open, "\(String(describing: peer.session.failure))")
            for (id, stream) in peer.recorder.live
            where peer.recorder.streams[id]?.isWhole == true && !answered.contains(id) {
                answered.insert(id)
                let message = peer.recorder.streams[id]!
                let echo = Echo(
                    method: message.first[0], target: message.first[1], authority: message.authority,
                    fields: message.fields.map { [$0.name, $0.value] })
                let json = String(decoding: try JSONEncoder().encode(echo), as: UTF8.self)
                // Only ASCII goes into the field: the rest is escaped as JSON allows.
                let ascii = json.unicodeScalars.map { $0.isASCII ? String($0) : "\\u00" + String($0.value, radix: 16) }
                    .joined()
                peer.respond(stream, 200, [("x-echo", ascii)], body: message.body, isLast: message.trailers.isEmpty)
                if !message.trailers.isEmpty {
                    #expect(peer.trailers(stream, message.trailers.map { ($0.name, $0.value) }))
                }
            }
            if up.isEmpty, down.isEmpty, !peer.session.wantsToSend { break }
        }
        let summary = try python.summary()
        #expect(summary["requests"] as? Int == 80)
        #expect(summary["differences"] as? [String] == [])
        #expect(answered.count == 80)
    }
}
