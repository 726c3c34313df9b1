// SPDX-License-Identifier: Apache-2.0

/// A status of gRPC, as `grpc-status` carries it (grpc/doc/statuscodes.md).
public enum GRPCStatus: UInt8, CaseIterable, Sendable, BitwiseCopyable {
    case ok = 0
    case cancelled = 1
    case unknown = 2
    case invalidArgument = 3
    case deadlineExceeded = 4
    case notFound = 5
    case alreadyExists = 6
    case permissionDenied = 7
    case resourceExhausted = 8
    case failedPrecondition = 9
    case aborted = 10
    case outOfRange = 11
    case unimplemented = 12
    case `internal` = 13
    case unavailable = 14
    case dataLoss = 15
    case unauthenticated = 16
}

extension GRPCStatus {
    /// What a client makes of the value of `grpc-status`: UNKNOWN of what is no number of a status.
    init(text: UnsafeRawBufferPointer) {
        var number: UInt8? = text.isEmpty || text.count > 2 ? nil : 0
        for byte in text {
            guard let known = number, byte >= 0x30, byte <= 0x39 else {
                number = nil
                break
            }
            number = known * 10 + (byte - 0x30)
        }
        self = number.flatMap { GRPCStatus(rawValue: $0) } ?? .unknown
    }

    /// What a client makes of a response with this HTTP status and without `grpc-status`
    /// (grpc/doc/http-grpc-status-mapping.md); also what a local reply says in its place.
    public init(httpStatus: UInt16) {
        self =
            switch httpStatus {
            case 400: .internal
            case 401: .unauthenticated
            case 403: .permissionDenied
            case 404: .unimplemented
            case 429, 502, 503, 504: .unavailable
            default: .unknown
            }
    }

    /// What an RST_STREAM from the server means to a client (grpc/doc/PROTOCOL-HTTP2.md, "Errors").
    public init(reset code: HTTP2ErrorCode) {
        self =
            switch code {
            case .noError, .protocolError, .internalError, .flowControlError, .settingsTimeout, .frameSizeError,
                .compressionError, .connectError:
                .internal
            case .refusedStream: .unavailable
            case .cancel: .cancelled
            case .enhanceYourCalm: .resourceExhausted
            case .inadequateSecurity: .permissionDenied
            // STREAM_CLOSED has no mapping, for there is no call any more; others are not registered with gRPC.
            default: .unknown
            }
    }

    /// The RST_STREAM by which a server's call that ended so may be cut short (grpc/doc/PROTOCOL-HTTP2.md, "Errors").
    public var resetCode: HTTP2ErrorCode {
        switch self {
        case .ok: .noError
        case .cancelled, .deadlineExceeded: .cancel
        case .resourceExhausted: .enhanceYourCalm
        case .permissionDenied: .inadequateSecurity
        case .unavailable: .refusedStream
        default: .internalError
        }
    }

    /// Reads the value of `grpc-status`: a decimal number without leading zeros.
    ///
    /// - Returns: `nil` for what is no number; a number that is not known means ``unknown``
    ///   (grpc/doc/statuscodes.md).
    public init?(_ text: UnsafeRawBufferPointer) {
        guard !text.isEmpty, text.count <= 10, text.count == 1 || text[0] != 0x30 else { return nil }
        var number = 0
        for byte in text {
            guard ASCII.isDigit(byte) else { return nil }
            number = number * 10 + Int(byte - 0x30)
        }
        self = number <= 16 ? GRPCStatus(rawValue: UInt8(number)) ?? .unknown : .unknown
    }

    /// As `grpc-status` carries it.
    public var text: StaticString {
        switch self {
        case .ok: "0"
        case .cancelled: "1"
        case .unknown: "2"
        case .invalidArgument: "3"
        case .deadlineExceeded: "4"
        case .notFound: "5"
        case .alreadyExists: "6"
        case .permissionDenied: "7"
        case .resourceExhausted: "8"
        case .failedPrecondition: "9"
        case .aborted: "10"
        case .outOfRange: "11"
        case .unimplemented: "12"
        case .internal: "13"
        case .unavailable: "14"
        case .dataLoss: "15"
        case .unauthenticated: "16"
        }
    }
}
