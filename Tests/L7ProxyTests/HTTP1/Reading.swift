// SPDX-License-Identifier: Apache-2.0

@testable import L7Proxy

/// A field as text, to compare what was read.
struct ReadField: Equatable, CustomStringConvertible {
    var name: String
    var value: String

    init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }

    var description: String { "\(name): \(value)" }
}

/// One message as a next reader would understand it.
struct ReadMessage: Equatable {
    /// Method and target, or status and reason.
    var first: [String] = []
    var minorVersion: UInt8 = 1
    var authority = ""
    var options: HeadOptions = []
    var framing: BodyFraming = .none
    var fields: [ReadField] = []
    var body: [UInt8] = []
    var trailers: [ReadField] = []
    /// Bytes of the message.
    var length = 0
}

/// What became of some bytes.
enum Reading: Equatable {
    case complete(ReadMessage)
    case incomplete
    case failed(MalformedMessage)

    var message: ReadMessage? {
        if case .complete(let message) = self { message } else { nil }
    }

    var defect: MalformedMessage? {
        if case .failed(let defect) = self { defect } else { nil }
    }
}

/// What a message answers, and how it is read.
enum Kind: Equatable, Sendable {
    case request
    case response(to: L7Proxy.Method, expectsUpgrade: Bool = false)

    var isResponse: Bool { self != .request }
}

extension Reading {
    /// Reads one message whose bytes come in pieces, as a connection does: the buffer grows and moves between calls.
    ///
    /// - Parameters:
    ///   - pieces: The bytes, in order.
    ///   - endsInput: The connection ends after them.
    static func of(
        _ kind: Kind, _ pieces: [[UInt8]], limits: HTTP1Limits = HTTP1Limits(), fieldLimit: Int = 100,
        endsInput: Bool = true
    ) -> Reading {
        var reader = PieceReader(kind, limits: limits, fieldLimit: fieldLimit)
        for piece in pieces {
            if let result = reader.feed(piece) { return result }
        }
        return endsInput ? reader.end() : .incomplete
    }

    static func of(_ kind: Kind, _ text: String, limits: HTTP1Limits = HTTP1Limits(), fieldLimit: Int = 100) -> Reading
    {
        of(kind, [Array(text.utf8)], limits: limits, fieldLimit: fieldLimit)
    }
}

/// Drives head parser and body reader over a growing buffer.
private struct PieceReader: ~Copyable {
    private let kind: Kind
    private let limits: HTTP1Limits
    private var fields: FieldTable
    private var requests: HTTP1RequestParser
    private var responses: HTTP1ResponseParser
    private var body: HTTP1BodyReader?
    private var buffer: [UInt8] = []
    private var message = ReadMessage()

    init(_ kind: Kind, limits: HTTP1Limits, fieldLimit: Int) {
        self.kind = kind
        self.limits = limits
        fields = FieldTable(capacity: fieldLimit)
        requests = HTTP1RequestParser(limits: limits)
        if case .response(let method, let expectsUpgrade) = kind {
            responses = HTTP1ResponseParser(limits: limits, for: method, expectsUpgrade: expectsUpgrade)
        } else {
            responses = HTTP1ResponseParser(limits: limits, for: .get)
        }
    }

    /// - Returns: The reading, once it is final.
    mutating func feed(_ piece: [UInt8]) -> Reading? {
        // A new array each time: the parser must not keep an address.
        buffer = buffer + piece
        if body == nil {
            switch parseHead() {
            case .incomplete: return nil
            case .failed(let defect): return .failed(defect)
            case .complete(let length):
                noteHead()
                message.length = length
                buffer.removeFirst(length)
                if message.framing == .tunnel { return .complete(message) }
                body = HTTP1BodyReader(message.framing, ofResponse: kind.isResponse, limits: limits)
            }
        }
        return readBody()
    }

    mutating func end() -> Reading {
        guard body != nil else { return .incomplete }
        switch body!.endOfInput() {
        case .complete: return .complete(message)
        case .failed(.incomplete): return .incomplete
        case .failed(let defect): return .failed(defect)
        case .data, .needsMore: preconditionFailure("more after the end")
        }
    }

    private mutating func parseHead() -> HeadProgress {
        // Exactly as large as the data, so that a read beyond it is found by the sanitizer and by valgrind.
        buffer.withUnsafeBytes {
            kind == .request ? requests.parse($0, into: &fields) : responses.parse($0, into: &fields)
        }
    }

    private mutating func noteHead() {
        let bytes = buffer
        func text(_ range: ByteRange) -> String {
            bytes.withUnsafeBytes { latin1(range.bytes(in: $0.baseAddress!)) }
        }
        if kind == .request {
            let head = requests.head
            message.first = [text(head.methodRange), text(head.target), text(head.path), text(head.query)]
            message.authority = text(head.authority)
            (message.minorVersion, message.options, message.framing) = (head.minorVersion, head.options, head.framing)
        } else {
            let head = responses.head
            message.first = ["\(head.status)", text(head.reason)]
            (message.minorVersion, message.options, message.framing) = (head.minorVersion, head.options, head.framing)
        }
        message.fields = (0..<fields.count).map { ReadField(text(fields[$0].nameRange), text(fields[$0].valueRange)) }
    }

    private mutating func readBody() -> Reading? {
        while true {
            let bytes = buffer
            let event = bytes.withUnsafeBytes { body!.next($0, trailers: &fields) }
            switch event {
            case .failed(let defect): return .failed(defect)
            case .data(let offset, let count):
                message.body += bytes[offset..<offset + count]
                message.length += offset + count
                buffer.removeFirst(offset + count)
            case .needsMore(let consumed):
                message.length += consumed
                buffer.removeFirst(consumed)
                return nil
            case .complete(let consumed):
                message.length += consumed
                if message.framing == .chunked { message.trailers = keptTrailers(bytes) }
                return .complete(message)
            }
        }
    }

    private func keptTrailers(_ bytes: [UInt8]) -> [ReadField] {
        var kept: [ReadField] = []
        for position in 0..<fields.count where !fields[position].isDropped {
            let field = fields[position]
            bytes.withUnsafeBytes {
                kept.append(
                    ReadField(
                        latin1(field.nameRange.bytes(in: $0.baseAddress!)),
                        latin1(field.valueRange.bytes(in: $0.baseAddress!))))
            }
        }
        return kept
    }
}

/// One character for each byte, so that no two messages look alike that are not.
private func latin1(_ bytes: UnsafeRawBufferPointer) -> String {
    String(String.UnicodeScalarView(bytes.map { UnicodeScalar($0) }))
}

/// `text`, so many times.
func many(_ text: String, _ count: Int) -> String { String(repeating: text, count: count) }
