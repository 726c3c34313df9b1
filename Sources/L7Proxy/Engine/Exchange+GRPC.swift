// SPDX-License-Identifier: Apache-2.0

/// How what happens to a request is told by HTTP/2 and gRPC.
extension Exchange {
    /// Takes over a limit for the whole request, in milliseconds from its begin, if it is shorter than one that is set.
    mutating func limitTime(_ milliseconds: UInt64) {
        let (deadline, isNever) = beganAt.addingReportingOverflow(milliseconds)
        guard !isNever else { return }
        requestDeadline = requestDeadline == 0 ? deadline : min(requestDeadline, deadline)
    }

    /// Takes over the time that a gRPC client gives the call (grpc/doc/PROTOCOL-HTTP2.md, "Timeout").
    mutating func limitTimeOfCall() {
        guard let message,
            let place = requestFields.first(.grpcTimeout),
            let nanoseconds = GRPCTimeout.nanoseconds(requestFields[place].valueRange.bytes(in: message))
        else { return }
        limitTime(nanoseconds / 1_000_000 + (nanoseconds % 1_000_000 > 0 ? 1 : 0))
    }

    /// What a gRPC client is told in place of a reply with `status`.
    func grpcReply(_ reason: ReasonCode, status: UInt16) -> GRPCLocalReply {
        let code: GRPCStatus =
            if reason == .backendReset, resetCode != .noError {
                GRPCStatus(reset: resetCode)
            } else {
                GRPCStatus(rawValue: ReplyReason(reason).grpcStatus) ?? .unknown
            }
        return GRPCLocalReply(code, message: StatusText.reason(status))
    }

    /// The status of the call, if it is among `fields`, which the backend has sent: in trailers, or in a head
    /// with nothing behind it (grpc/doc/PROTOCOL-HTTP2.md, "Responses").
    static func grpcStatus(_ fields: borrowing FieldTable, in message: UnsafeRawPointer) -> Int8? {
        guard let place = fields.first(.grpcStatus) else { return nil }
        return Int8(GRPCStatus(text: fields[place].valueRange.bytes(in: message)).rawValue)
    }

    /// Says how a call ended of which no status was received: as its client has to guess.
    mutating func settleGRPCStatus() {
        guard record.grpcStatus < 0 else { return }
        let status: GRPCStatus =
            if record.reason == .forwarded, record.status > 0 {
                GRPCStatus(httpStatus: record.status)
            } else if record.reason == .responseCut, resetCode != .noError {
                GRPCStatus(reset: resetCode)
            } else {
                GRPCStatus(rawValue: ReplyReason(record.reason).grpcStatus) ?? .unknown
            }
        record.grpcStatus = Int8(status.rawValue)
    }

    /// Why the client's stream is reset, where the response cannot be finished.
    var cutCode: HTTP2ErrorCode {
        switch record.reason {
        case .clientGone, .requestTimeout, .backendTimeout, .drainDeadline: .cancel
        // Some of the response was sent: that the backend would take the request again is of no use to the client.
        case .responseCut where resetCode != .noError && resetCode != .refusedStream: resetCode
        default: .internalError
        }
    }
}
