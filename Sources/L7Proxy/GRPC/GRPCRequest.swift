// SPDX-License-Identifier: Apache-2.0

/// Tells gRPC from other requests (grpc/doc/PROTOCOL-HTTP2.md, "Requests").
public enum GRPCRequest {
    /// Whether the request in `fields` is a call: a `content-type` of `application/grpc`, alone or before `+` or `;`.
    /// `application/grpc-web` is not: it is ordinary HTTP to a proxy.
    ///
    /// Whatever follows the `+` is the peers' affair: an unknown message format is passed on.
    ///
    /// - Parameter message: The memory that the offsets are for.
    public static func isCall(_ fields: borrowing FieldTable, in message: UnsafeRawPointer) -> Bool {
        guard let position = fields.first(.contentType) else { return false }
        return isContentType(fields[position].valueRange.bytes(in: message))
    }

    public static func isContentType(_ value: UnsafeRawBufferPointer) -> Bool {
        let length = 16
        guard value.count >= length,
            ASCII.equal(UnsafeRawBufferPointer(rebasing: value[..<length]), "application/grpc")
        else { return false }
        guard value.count > length else { return true }
        let next = value[length]
        return next == UInt8(ascii: "+") || next == ASCII.semicolon || ASCII.isBlank(next)
    }
}
