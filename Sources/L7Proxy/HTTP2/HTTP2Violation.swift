// SPDX-License-Identifier: Apache-2.0

/// What a peer did that no honest peer does, or not so often. Each names the attack that it stops.
public enum HTTP2Violation: UInt8, Error, CaseIterable, Sendable, BitwiseCopyable {
    /// Requests made and cancelled at once (CVE-2023-44487, "rapid reset").
    case rapidReset
    /// Streams broken so that we reset them: rapid reset by another's hand (CVE-2025-8671, "MadeYouReset").
    case provokedResets
    /// CVE-2019-9515.
    case settingsFlood
    /// CVE-2019-9512.
    case pingFlood
    /// Frames without content and without an end: DATA, HEADERS, CONTINUATION (CVE-2019-9518).
    case emptyFrameFlood
    /// PRIORITY and PRIORITY_UPDATE frames (CVE-2019-9513).
    case priorityFlood
    /// WINDOW_UPDATE frames, many more than we have sent DATA for (CVE-2019-9511).
    case windowUpdateFlood
    /// Frames of types that nobody has agreed on (RFC 9113 section 5.5 has them ignored, and 10.5 counted).
    case unknownFrameFlood
    /// More CONTINUATION frames than a header block needs (CVE-2024-27316).
    case continuationFlood
    /// A header block longer than is accepted, before it is decoded.
    case headerBlockTooLarge
    /// A header list that decodes to many times what was announced (CVE-2016-6581).
    case headerListTooLarge
    /// Answers that are asked for and not read, of streams that are reset meanwhile (CVE-2019-9514).
    case unreadAnswers
    /// A frame longer than SETTINGS_MAX_FRAME_SIZE (RFC 9113 section 4.2).
    case frameTooLarge
    /// A frame inside another stream's header block, or CONTINUATION outside one (RFC 9113 section 6.10).
    case brokenHeaderBlock

    /// What the GOAWAY says (RFC 9113 sections 4.2, 6.10 and 10.5).
    public var code: HTTP2ErrorCode {
        switch self {
        case .frameTooLarge: .frameSizeError
        case .brokenHeaderBlock: .protocolError
        default: .enhanceYourCalm
        }
    }
}

extension HTTP2Violation: CustomStringConvertible {
    public var description: String {
        switch self {
        case .rapidReset: "too many streams were reset by the peer (rapid reset, CVE-2023-44487)"
        case .provokedResets: "too many streams had to be reset for errors of the peer (CVE-2025-8671)"
        case .settingsFlood: "too many SETTINGS frames (CVE-2019-9515)"
        case .pingFlood: "too many PING frames (CVE-2019-9512)"
        case .emptyFrameFlood: "too many frames without content (CVE-2019-9518)"
        case .priorityFlood: "too many PRIORITY frames (CVE-2019-9513)"
        case .windowUpdateFlood: "more WINDOW_UPDATE frames than data asks for (CVE-2019-9511)"
        case .unknownFrameFlood: "too many frames of unknown types"
        case .continuationFlood: "too many CONTINUATION frames in a header block (CVE-2024-27316)"
        case .headerBlockTooLarge: "a header block is longer than the limit"
        case .headerListTooLarge: "a header list decodes to more than four times the limit (CVE-2016-6581)"
        case .unreadAnswers: "too many answers wait to be read (CVE-2019-9514)"
        case .frameTooLarge: "a frame is longer than SETTINGS_MAX_FRAME_SIZE"
        case .brokenHeaderBlock: "a header block is interrupted, or continued where none is open"
        }
    }
}
