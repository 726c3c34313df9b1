// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// What a client says when it asks for a tunnel.
public struct HBONERequest {
    /// The endpoint that was chosen.
    public var destination: IPAddress
    public var port: UInt16
    /// Whose connection it carries.
    public var source: IPAddress
    public var sourcePort: UInt16
    /// The Service that the source was going to, `web.shop.svc.cluster.local`; empty if it was none. Lent.
    public var service = UnsafeRawBufferPointer(start: nil, count: 0)
    /// ``HBONEBaggage/text(_:)`` of the source; may be empty. Lent.
    public var baggage = UnsafeRawBufferPointer(start: nil, count: 0)
    /// Of this connection; has nothing to do with traces of the application.
    public var trace: TraceContext

    public init(
        to destination: IPAddress, port: UInt16, from source: IPAddress, sourcePort: UInt16, trace: TraceContext
    ) {
        self.destination = destination
        self.port = port
        self.source = source
        self.sourcePort = sourcePort
        self.trace = trace
    }
}

/// Writes the head of a CONNECT. One of a worker is used again and again: its memory holds what the head lends.
public struct HBONERequestWriter: ~Copyable {
    /// Enough for two addresses in quotes, the longest host name, and a `traceparent`.
    private static let capacity = 512
    private let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.capacity, alignment: 1)

    public init() {}

    deinit { memory.deallocate() }

    /// Begins and finishes `head` with the request; it is to be given to a session before the next call.
    ///
    /// - Returns: How many fields it has, or why it must not be sent.
    public mutating func write(
        _ request: HBONERequest, to head: inout HTTP2HeadWriter
    ) -> Result<Int, WriteFailure> {
        var out = ByteWriter(memory)
        out.append(request.destination, port: request.port)
        let authority = out.count
        out.append("for=\"")
        out.append(request.source, port: request.sourcePort)
        out.append("\"")
        if !request.service.isEmpty {
            out.append(";host=")
            out.appendToken(request.service)
        }
        let forwarded = out.count
        if let failure = out.failure { return .failure(failure) }
        let trace = UnsafeMutableRawBufferPointer(rebasing: memory[forwarded...])
        guard trace.count >= TraceContext.length else { return .failure(.noRoom) }
        request.trace.write(into: trace)

        // RFC 9113 section 8.5: neither scheme nor path.
        head.begin()
        head.append(pseudo: HPACKStaticTable.method, ASCII.bytes(of: "CONNECT"))
        head.append(pseudo: HPACKStaticTable.authority, UnsafeRawBufferPointer(rebasing: memory[..<authority]))
        head.field(.forwarded, UnsafeRawBufferPointer(rebasing: memory[authority..<forwarded]))
        if !request.baggage.isEmpty { head.field(.baggage, request.baggage) }
        head.field(.traceparent, UnsafeRawBufferPointer(rebasing: trace[..<TraceContext.length]))
        return head.finish()
    }
}

extension ByteWriter {
    /// Appends `10.0.0.1:80` or `[fd00::1]:80`.
    fileprivate mutating func append(_ address: IPAddress, port: UInt16) {
        if address.isIPv4 {
            for shift in stride(from: UInt64(24), through: 0, by: -8) {
                append(decimal: address.low >> shift & 0xff)
                if shift > 0 { append(UInt8(ascii: ".")) }
            }
        } else {
            // Once for a connection: the canonical text (RFC 5952) is worth the string.
            var text = address.description
            append(UInt8(ascii: "["))
            text.withUTF8 { append(UnsafeRawBufferPointer($0)) }
            append(UInt8(ascii: "]"))
        }
        append(ASCII.colon)
        append(decimal: UInt64(port))
    }
}
