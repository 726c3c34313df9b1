// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// What is forwarded is read again as the message that came in, less the fields of the connection.
@Suite struct RoundTripTests {
    /// Names that forwarding leaves out or writes anew.
    private static func isOfConnection(_ name: String) -> Bool {
        [
            "connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade", "http2-settings",
            "content-length", "host",
        ].contains(name.lowercased())
    }

    /// What the fields of `message` should be on the other side.
    private static func kept(_ message: ReadMessage) -> [ReadField] {
        var nominated: Set<String> = []
        for field in message.fields where field.name.lowercased() == "connection" {
            for option in field.value.lowercased().split(separator: ",") {
                nominated.insert(option.filter { $0 != " " && $0 != "\t" })
            }
        }
        return message.fields.filter { !isOfConnection($0.name) && !nominated.contains($0.name.lowercased()) }
    }

    @Test func requests() throws {
        var generator = MessageGenerator(seed: 1)
        var accepted = 0
        for _ in 0..<5000 {
            let text = generator.request()
            guard let message = Reading.of(.request, text).message else { continue }
            accepted += 1
            let head = try #require(Forwarding.request(Array(text.utf8))).get()
            let again = try #require(
                Reading.of(.request, [head + wireBody(message)]).message, "\(text.debugDescription)")
            #expect(again.first[0] == message.first[0])
            let path = message.first[2].isEmpty ? (message.first[0] == "OPTIONS" ? "*" : "/") : message.first[2]
            #expect(Array(again.first[2...]) == [path, message.first[3]])
            #expect(again.authority == message.authority)
            #expect(again.framing == message.framing)
            #expect(again.body == message.body)
            #expect(again.fields.filter { !Self.isOfConnection($0.name) } == Self.kept(message))
            #expect(again.options.contains(.acceptsTrailers) == message.options.contains(.acceptsTrailers))

            // A second proxy sends the same bytes on: one form was reached.
            #expect(try Forwarding.request(head)?.get() == head)
        }
        #expect(accepted > 2000)
    }

    @Test func responses() throws {
        var generator = MessageGenerator(seed: 2)
        var accepted = 0
        for _ in 0..<5000 {
            let text = generator.response()
            guard let message = Reading.of(.response(to: .get), text).message else { continue }
            accepted += 1
            let forwarded = try #require(Forwarding.response(text), "\(text.debugDescription)")
            var expected = message
            expected.framing = forwarded.framing
            let again = try #require(
                Reading.of(.response(to: .get), [Array(forwarded.text.utf8) + wireBody(expected)]).message)
            #expect(again.first == message.first)
            #expect(again.framing == forwarded.framing)
            #expect(again.body == message.body)
            #expect(again.fields.filter { !Self.isOfConnection($0.name) } == Self.kept(message))
        }
        #expect(accepted > 2000)
    }

    /// The body of `message` as its framing has it sent.
    private func wireBody(_ message: ReadMessage) -> [UInt8] {
        guard message.framing == .chunked else { return message.body }
        var wire: [UInt8] = []
        if !message.body.isEmpty {
            wire += Array("\(String(message.body.count, radix: 16))\r\n".utf8)
            wire += message.body
            wire += Array("\r\n".utf8)
        }
        wire += Array("0\r\n\r\n".utf8)
        return wire
    }
}
