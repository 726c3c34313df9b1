// SPDX-License-Identifier: Apache-2.0

import L7Proxy

/// What a connection keeps between messages, and one operation of each kind on it.
struct Workbench: ~Copyable {
    private let request = Self.memory(of: Messages.request)
    private let response = Self.memory(of: Messages.response)
    private let chunks = Self.memory(of: Messages.chunks)
    private let address = Self.memory(of: "10.42.17.133")
    private let trace = Self.memory(of: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    private let output = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 16)
    private var requestFields = FieldTable(capacity: 100)
    private var responseFields = FieldTable(capacity: 100)
    private var requests = HTTP1RequestParser()
    private var responses = HTTP1ResponseParser(for: .get)

    /// Lives as long as the program.
    private static func memory(of text: String) -> UnsafeRawBufferPointer {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: text.utf8.count, alignment: 16)
        memory.copyBytes(from: text.utf8)
        return UnsafeRawBufferPointer(memory)
    }

    mutating func parseRequest() -> Int {
        requests.reset()
        guard case .complete(let length) = requests.parse(request, into: &requestFields) else { preconditionFailure() }
        return length &+ requestFields.count
    }

    mutating func forwardRequest() -> Int {
        _ = parseRequest()
        var writer = HTTP1HeadWriter(output)
        writer.beginRequest(requests.head, &requestFields, in: request.baseAddress.unsafelyUnwrapped)
        writer.field(.xForwardedFor, address)
        writer.field(.traceparent, trace)
        guard case .success(let length) = writer.finish() else { preconditionFailure() }
        return length
    }

    mutating func parseResponse() -> Int {
        responses.reset(for: .get)
        guard case .complete(let length) = responses.parse(response, into: &responseFields) else {
            preconditionFailure()
        }
        return length &+ responseFields.count
    }

    mutating func forwardResponse() -> Int {
        _ = parseResponse()
        var writer = HTTP1HeadWriter(output)
        let framing = writer.beginResponse(responses.head, &responseFields, in: response.baseAddress.unsafelyUnwrapped)
        precondition(framing == .length(1024))
        guard case .success(let length) = writer.finish() else { preconditionFailure() }
        return length
    }

    mutating func readChunks() -> Int {
        var reader = HTTP1BodyReader(.chunked)
        var offset = 0
        var sum = 0
        while true {
            let rest = UnsafeRawBufferPointer(rebasing: chunks[offset...])
            switch reader.next(rest, trailers: &requestFields) {
            case .data(let start, let count):
                sum &+= count
                offset &+= start &+ count
            case .complete: return sum
            case .needsMore, .failed: preconditionFailure()
            }
        }
    }
}
