// SPDX-License-Identifier: Apache-2.0

/// A response that the proxy makes itself to a gRPC call: a head with trailers in it and nothing else, for that is where
/// a client looks for the reason (grpc/doc/PROTOCOL-HTTP2.md, "Trailers-Only").
public struct GRPCLocalReply: Sendable {
    public let status: GRPCStatus
    /// For whoever reads the client's log. It goes to the client: nothing confidential.
    public let message: StaticString

    public init(_ status: GRPCStatus, message: StaticString) {
        self.status = status
        self.message = message
    }

    /// In place of a local reply with `httpStatus`, which a gRPC client would have to guess from.
    public init(httpStatus: UInt16) {
        self.init(GRPCStatus(httpStatus: httpStatus), message: StatusText.reason(httpStatus))
    }

    /// Writes the head of an HTTP/2 response, which ends the stream.
    ///
    /// - Parameter scratch: Lent until the head was given to a session; three bytes for each of the message's.
    public func begin(
        _ writer: inout HTTP2HeadWriter, scratch: UnsafeMutableRawBufferPointer
    ) -> Result<Int, WriteFailure> {
        writer.beginResponse(status: 200)
        writer.field(.contentType, "application/grpc")
        writer.field(.grpcStatus, status.text)
        if message.utf8CodeUnitCount > 0 {
            let text = UnsafeRawBufferPointer(start: message.utf8Start, count: message.utf8CodeUnitCount)
            guard let count = GRPCMessage.encode(text, into: scratch) else { return .failure(.noRoom) }
            writer.field(.grpcMessage, UnsafeRawBufferPointer(rebasing: scratch[..<count]))
        }
        return writer.finish()
    }
}

/// The coding of `grpc-message` (grpc/doc/PROTOCOL-HTTP2.md, "Status-Message").
public enum GRPCMessage {
    /// Percent-encodes what is not printable ASCII, and `%`.
    ///
    /// - Parameter text: UTF-8, of any length.
    /// - Returns: How many bytes were written, or `nil` if there was no room.
    public static func encode(_ text: UnsafeRawBufferPointer, into buffer: UnsafeMutableRawBufferPointer) -> Int? {
        var count = 0
        for byte in text {
            if byte >= 0x20, byte <= 0x7e, byte != ASCII.percent {
                guard count < buffer.count else { return nil }
                buffer[count] = byte
                count += 1
            } else {
                guard count + 3 <= buffer.count else { return nil }
                buffer[count] = ASCII.percent
                buffer[count + 1] = digit(byte >> 4)
                buffer[count + 2] = digit(byte & 15)
                count += 3
            }
        }
        return count
    }

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x37 + value }
}
