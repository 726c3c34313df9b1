// SPDX-License-Identifier: Apache-2.0

import L7Proxy

enum Kind: Equatable {
    case request
    case response(to: L7Proxy.Method)
}

/// A message that was accepted, and how it is sent on.
struct Message: Equatable {
    enum Reading: Equatable {
        case complete(Message)
        case incomplete
        case failed(MalformedMessage)
    }

    var body: [UInt8] = []
    /// Bytes of the message.
    var length = 0
    /// Head, body and trailers as the proxy writes them; `nil` for what is not a message on a connection that goes on.
    var forwarded: [UInt8]?

    /// Small limits, so that the fuzzer reaches them.
    private static let limits = {
        var limits = HTTP1Limits()
        limits.headBytes = 2048
        limits.targetBytes = 256
        limits.fieldNameBytes = 64
        limits.chunkExtensionBytes = 128
        limits.trailerBytes = 256
        return limits
    }()

    /// Reads one message whose bytes come in pieces, in buffers of exactly their size.
    ///
    /// - Parameter isOurs: The proxy has written it: with a line or two more than came in, which is within no bounds.
    static func read(_ kind: Kind, _ pieces: [[UInt8]], isOurs: Bool = false) -> Reading {
        let limits = isOurs ? HTTP1Limits() : limits
        var fields = FieldTable(capacity: isOurs ? 30 : 20)
        var requests = HTTP1RequestParser(limits: limits)
        var responses = HTTP1ResponseParser(limits: limits, for: .get, expectsUpgrade: true)
        if case .response(let method) = kind { responses.reset(for: method, expectsUpgrade: true) }
        var message = Message()
        var head: [UInt8]?
        var framing = BodyFraming.none
        var reader: HTTP1BodyReader?
        var buffer: [UInt8] = []
        for piece in pieces {
            buffer = buffer + piece
            if reader == nil {
                let progress = buffer.withUnsafeBytes {
                    kind == .request ? requests.parse($0, into: &fields) : responses.parse($0, into: &fields)
                }
                switch progress {
                case .incomplete: continue
                case .failed(let defect): return .failed(defect)
                case .complete(let length):
                    let received = kind == .request ? requests.head.framing : responses.head.framing
                    (head, framing) = write(kind, requests.head, responses.head, &fields, buffer)
                    message.length = length
                    buffer.removeFirst(length)
                    if received == .tunnel { return .complete(message) }
                    reader = HTTP1BodyReader(received, ofResponse: kind != .request, limits: limits)
                }
            }
            var isWaiting = false
            while !isWaiting {
                let bytes = buffer
                switch bytes.withUnsafeBytes({ reader!.next($0, trailers: &fields) }) {
                case .failed(let defect): return .failed(defect)
                case .needsMore(let consumed):
                    message.length += consumed
                    buffer.removeFirst(consumed)
                    isWaiting = true
                case .data(let offset, let count):
                    message.body += bytes[offset..<offset + count]
                    message.length += offset + count
                    buffer.removeFirst(offset + count)
                case .complete(let consumed):
                    message.length += consumed
                    message.forwarded = head.map { $0 + wireBody(message.body, framing, fields, bytes) }
                    return .complete(message)
                }
            }
        }
        guard reader != nil, case .complete = reader!.endOfInput() else { return .incomplete }
        message.forwarded = head.map { $0 + wireBody(message.body, framing, fields, []) }
        return .complete(message)
    }

    /// Forwards the head; a room of the promised size must do.
    private static func write(
        _ kind: Kind, _ request: RequestHead, _ response: ResponseHead, _ fields: inout FieldTable, _ bytes: [UInt8]
    ) -> (head: [UInt8]?, framing: BodyFraming) {
        let length = kind == .request ? request.length : response.length
        var out = [UInt8](repeating: 0, count: HTTP1HeadWriter.bound(forwarding: length))
        var framing = request.framing
        let result = bytes.withUnsafeBytes { message in
            out.withUnsafeMutableBytes {
                var writer = HTTP1HeadWriter($0)
                if kind == .request {
                    writer.beginRequest(request, &fields, in: message.baseAddress!)
                } else {
                    framing = writer.beginResponse(response, &fields, in: message.baseAddress!)
                }
                return writer.finish()
            }
        }
        guard case .success(let count) = result else { preconditionFailure("a head was not forwarded: \(result)") }
        // After an interim response another one follows: it is no message of its own.
        if kind != .request, response.isInterim { return (nil, framing) }
        return (Array(out[..<count]), framing)
    }

    private static func wireBody(
        _ body: [UInt8], _ framing: BodyFraming, _ trailers: borrowing FieldTable, _ bytes: [UInt8]
    ) -> [UInt8] {
        guard framing == .chunked else { return body }
        var out = [UInt8](repeating: 0, count: 4096)
        var wire: [UInt8] = []
        if !body.isEmpty {
            let count = out.withUnsafeMutableBytes { HTTP1ChunkWriter.begin(body.count, into: $0) }
            wire += out[..<count]
            wire += body
            wire += Array("\r\n".utf8)
        }
        let end = bytes.withUnsafeBytes { message in
            out.withUnsafeMutableBytes { room in
                // A body that ended with its connection has no trailers; the table still holds the head then.
                bytes.isEmpty
                    ? HTTP1ChunkWriter.finish(into: room)
                    : HTTP1ChunkWriter.finish(trailers, in: message.baseAddress!, into: room)
            }
        }
        guard case .success(let count) = end else { preconditionFailure("trailers were not forwarded: \(end)") }
        wire += out[..<count]
        return wire
    }
}
