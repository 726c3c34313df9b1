// SPDX-License-Identifier: Apache-2.0

/// Reads one HTTP/1.1 response after another from the bytes of a connection: their status and length count, no more.
///
/// Small on purpose, and not the product's parser: it must not share a mistake with what it measures.
struct HTTPResponse {
    private static let end: [UInt8] = [13, 10, 13, 10]
    private static let lengthName = Array("content-length:".utf8)
    /// More than any server under test sends.
    private static let longestHead = 16 << 10

    private var head: [UInt8] = []
    private var bodyLeft = 0
    private var isInBody = false
    /// Of the response that was completed last.
    private(set) var status = 0
    private(set) var bodyLength = 0

    init() { head.reserveCapacity(Self.longestHead) }

    /// Takes what has arrived. Requests are not pipelined, so bytes after the end of a response are an error.
    ///
    /// - Returns: Whether the response is complete.
    /// - Throws: ``LoadError`` for what is not a response with a Content-Length.
    mutating func take(_ bytes: UnsafeRawBufferPointer) throws(LoadError) -> Bool {
        var position = 0
        while !isInBody {
            guard position < bytes.count else { return false }
            guard head.count < Self.longestHead else { throw LoadError("http: a head of more than 16 KiB") }
            head.append(bytes[position])
            position += 1
            if head.last == 10, head.suffix(4).elementsEqual(Self.end) { try finishHead() }
        }
        let count = bytes.count - position
        guard count <= bodyLeft else { throw LoadError("http: \(count - bodyLeft) bytes after the end of a response") }
        bodyLeft -= count
        guard bodyLeft == 0 else { return false }
        isInBody = false
        head.removeAll(keepingCapacity: true)
        return true
    }

    private mutating func finishHead() throws(LoadError) {
        // "HTTP/1.1 200 …"
        guard head.count > 12, head.starts(with: Array("HTTP/1.1 ".utf8)), let code = Self.number(head[9..<12]) else {
            throw LoadError("http: no response: \(String(decoding: head.prefix(40), as: UTF8.self))")
        }
        status = code
        var length: Int?
        for line in head.split(separator: 10).dropFirst() {
            let name = line.prefix(Self.lengthName.count).map { $0 >= 65 && $0 <= 90 ? $0 | 32 : $0 }
            guard name == Self.lengthName else { continue }
            length = Self.number(line.dropFirst(name.count).filter { $0 > 32 })
        }
        guard let length else { throw LoadError("http: a response with status \(status) has no Content-Length") }
        bodyLength = length
        bodyLeft = length
        isInBody = true
    }

    private static func number(_ digits: some Sequence<UInt8>) -> Int? {
        var value = 0
        var isEmpty = true
        for digit in digits {
            guard digit >= 48, digit <= 57, value < 1 << 40 else { return nil }
            value = value * 10 + Int(digit - 48)
            isEmpty = false
        }
        return isEmpty ? nil : value
    }
}
