// SPDX-License-Identifier: Apache-2.0

/// Why a message, or the connection it came by, cannot be used.
///
/// Each is final for its connection: after it, where the next message begins is not known, so the answer is sent and
/// the connection closed (RFC 9112 sections 2.2, 6.3 and 11.2).
public enum MalformedMessage: UInt8, Error, CaseIterable, Sendable, BitwiseCopyable {
    // The first line (RFC 9112 sections 2.2, 3 and 4).
    case invalidMethod, methodTooLong, invalidRequestLine, invalidTarget, targetTooLong
    case invalidVersion, unsupportedVersion, invalidStatusLine, tooManyEmptyLines
    /// A target's form does not go with its method (RFC 9112 section 3.2).
    case targetFormNotAllowed

    // Lines and fields (RFC 9112 sections 2.2 and 5).
    case bareCarriageReturn, bareLineFeed, controlCharacter
    case missingColon, emptyFieldName, invalidFieldName, whitespaceBeforeColon, whitespaceBeforeFirstField, foldedLine
    case headTooLarge, tooManyFields, fieldNameTooLong

    // Host (RFC 9112 section 3.2, RFC 9110 section 7.2).
    case missingHost, repeatedHost, invalidHost

    // Connection and expectations (RFC 9110 sections 7.6.1 and 10.1.1).
    case invalidConnection, tooManyConnectionOptions, invalidUpgrade

    // Framing (RFC 9112 sections 6 and 7).
    case invalidContentLength, conflictingContentLength
    case invalidTransferEncoding, chunkedNotFinal, repeatedChunked, unknownTransferCoding
    case transferEncodingInHTTP10, transferEncodingWithContentLength, bodyOfConnect
    case invalidChunkSize, chunkSizeTooLarge, chunkExtensionsTooLarge, invalidChunkExtension, missingChunkEnd
    case trailersTooLarge, forbiddenTrailer
    /// The connection ended inside the message (RFC 9112 section 8).
    case incomplete

    // Responses only.
    case unexpectedSwitchingProtocols, tooManyInterimResponses

    // HTTP/2 only (RFC 9113 sections 8.2.2 and 8.3).
    case invalidPseudoField, repeatedPseudoField, missingPseudoField, connectionField
    /// `Host` names another authority than `:authority` (RFC 9113 section 8.3.1).
    case conflictingHost
    /// A name, a value, or the order of frames (RFC 9113 sections 8.1 and 8.2.1).
    case invalidHTTP2Message

    /// The status code of the answer to a request like this. For a response it is always 502 (RFC 9112 section 6.3).
    public var requestStatus: UInt16 {
        switch self {
        case .targetTooLong: 414  // RFC 9112 section 3
        case .headTooLarge, .tooManyFields, .fieldNameTooLong, .trailersTooLarge, .tooManyConnectionOptions:
            431  // RFC 6585 section 5
        case .methodTooLong, .unknownTransferCoding: 501  // RFC 9112 sections 3 and 6.1
        case .unsupportedVersion: 505  // RFC 9110 section 15.6.6
        default: 400
        }
    }
}
