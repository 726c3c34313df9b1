// SPDX-License-Identifier: Apache-2.0

/// A final response that the proxy makes itself. The body says what the status says and nothing more: why a request was
/// refused is for the log, not for whoever sent it.
public struct HTTP1LocalReply: Sendable {
    /// 200...599.
    public let status: UInt16
    /// Whether it answers HEAD: then only the head is sent (RFC 9110 section 9.3.2).
    public let isHead: Bool
    public let closes: Bool

    public init(status: UInt16, toHead isHead: Bool = false, closes: Bool) {
        precondition(status >= 200 && status < 600, "a local reply is a final response")
        self.status = status
        self.isHead = isHead
        self.closes = closes
    }

    /// What answers a malformed request. The connection is closed, because where the next request begins is not known.
    public init(to defect: MalformedMessage) { self.init(status: defect.requestStatus, closes: true) }

    private var text: StaticString { StatusText.reason(status) }
    private var hasBody: Bool { status != 204 && status != 304 }

    /// Writes head and body.
    ///
    /// - Parameter addFields: Adds fields, `Date` or `Retry-After` for instance.
    /// - Returns: How many bytes were written, or why the reply must not be sent.
    public func write(
        into buffer: UnsafeMutableRawBufferPointer, addFields: (inout HTTP1HeadWriter) -> Void = { _ in }
    ) -> Result<Int, WriteFailure> {
        var writer = HTTP1HeadWriter(buffer)
        let bodyLength = hasBody ? text.utf8CodeUnitCount + 1 : 0
        writer.beginResponse(status: status, framing: hasBody ? .length(UInt64(bodyLength)) : .none, closes: closes)
        if hasBody { writer.field(.contentType, "text/plain") }
        addFields(&writer)
        switch writer.finish() {
        case .failure(let failure): return .failure(failure)
        case .success(let headLength):
            if isHead || !hasBody { return .success(headLength) }
            var body = ByteWriter(UnsafeMutableRawBufferPointer(rebasing: buffer[headLength...]))
            body.append(text)
            body.append(ASCII.lineFeed)
            if let failure = body.failure { return .failure(failure) }
            return .success(headLength + body.count)
        }
    }
}
