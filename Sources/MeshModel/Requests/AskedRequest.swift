// SPDX-License-Identifier: Apache-2.0

/// A request as somebody writes it down to ask what would become of it.
public struct AskedRequest: Hashable, Sendable {
    public var method: String
    /// As it is sent, without the query. Not empty.
    public var path: String
    /// What follows the `?`; `nil`: there is none.
    public var query: String?
    /// Host, or `:authority`.
    public var authority: String
    /// All lines, Host among them if it was written.
    public var headers: [HeaderField]

    /// Path and query.
    public var target: String { query.map { "\(path)?\($0)" } ?? path }

    /// - Parameters:
    ///   - target: a path, perhaps with a query; `*` for OPTIONS.
    ///   - lines: `Name: value` each.
    ///   - authority: for a request whose lines have no Host.
    /// - Throws: ``AskedRequestError``, which says what is no request.
    public init(method: String, target: String, lines: [String], authority: String) throws(AskedRequestError) {
        guard HTTPToken.isToken(method) else {
            throw AskedRequestError("'\(method)' is no method", "write a name such as GET; methods have no spaces")
        }
        guard method != "CONNECT" else {
            throw AskedRequestError(
                "a CONNECT has no path", "the proxy answers it with 501: it leads connections itself")
        }
        guard target.hasPrefix("/") || (target == "*" && method == "OPTIONS") else {
            throw AskedRequestError(
                "'\(target)' is no path", "write a path that begins with /, without scheme and host")
        }
        guard target.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f && $0 != UInt8(ascii: "#") }) else {
            throw AskedRequestError(
                "'\(target)' has a character that no request has in its path",
                "escape spaces and control characters as %20; a client does not send what follows a #")
        }
        self.method = method
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        path = String(parts[0])
        query = parts.count > 1 ? String(parts[1]) : nil
        headers = []
        for line in lines { headers.append(try Self.field(line)) }
        let hosts = headers.filter { $0.name.asciiLowercased == "host" }
        guard hosts.count <= 1 else {
            throw AskedRequestError("there are \(hosts.count) lines of Host", "the proxy answers 400 then; write one")
        }
        self.authority = hosts.first?.value ?? authority
    }

    private static func field(_ line: String) throws(AskedRequestError) -> HeaderField {
        let hint = "write 'Name: value'"
        guard let colon = line.firstIndex(of: ":") else { throw AskedRequestError("'\(line)' is no header", hint) }
        let name = String(line[..<colon])
        guard HTTPToken.isToken(name) else { throw AskedRequestError("'\(name)' is no name of a header", hint) }
        let blanks: [UInt8] = [0x20, 0x09]
        let value = line[line.index(after: colon)...].utf8.drop { blanks.contains($0) }
        let end = value.lastIndex { !blanks.contains($0) }.map { value.index(after: $0) } ?? value.startIndex
        let text = String(decoding: value[..<end], as: UTF8.self)
        guard text.utf8.allSatisfy({ ($0 >= 0x20 || $0 == 0x09) && $0 != 0x7f }) else {
            throw AskedRequestError("the value of \(name) has a control character", hint)
        }
        return HeaderField(name, text)
    }

    /// The values of a header's lines.
    public func values(of name: String) -> [String] {
        headers.filter { $0.name.asciiLowercased == name.asciiLowercased }.map(\.value)
    }

    /// Lends the request's bytes to `body`, with a path of its own.
    func borrowed<Result>(
        path: [UInt8], _ body: (RouteRequest, HeaderFieldList) -> Result
    ) -> Result {
        // One buffer holds everything, at addresses that stand still for the call.
        var all: [UInt8] = []
        func place(_ bytes: some Collection<UInt8>) -> Range<Int> {
            let first = all.count
            all += bytes
            return first..<all.count
        }
        let method = place(method.utf8)
        let path = place(path)
        let query = query.map { place($0.utf8) }
        let lines = headers.map { (place($0.name.utf8), place($0.value.utf8)) }
        return all.withUnsafeBytes { bytes in
            let slice = { (range: Range<Int>) in UnsafeRawBufferPointer(rebasing: bytes[range]) }
            let request = RouteRequest(method: slice(method), path: slice(path), query: query.map(slice))
            let fields = lines.map { (name: slice($0.0), value: slice($0.1)) }
            return fields.withUnsafeBufferPointer { body(request, HeaderFieldList($0)) }
        }
    }
}

/// What of a text is no request.
public struct AskedRequestError: Error, Hashable, CustomStringConvertible {
    public let description: String
    /// What to write instead.
    public let hint: String

    init(_ description: String, _ hint: String) {
        self.description = description
        self.hint = hint
    }
}
