// SPDX-License-Identifier: Apache-2.0

/// Walks over the frame headers of received bytes before nghttp2 reads them (RFC 9113 section 4.1).
///
/// It does two things: it asks ``HTTP2Guard`` about each frame, so that a flood is stopped at the frame that is one too
/// many, whatever version of nghttp2 is installed; and it cuts the bytes into segments that hold at most one header
/// block and few frames, so that what nghttp2 reports about a segment fits into memory that is there already.
struct HTTP2FrameScanner: Sendable, BitwiseCopyable {
    /// How much to give to nghttp2 next, and what is wrong with the frame after it.
    struct Segment: Equatable {
        var length: Int
        var violation: HTTP2Violation?
    }

    /// The frames that one segment holds at most.
    static let framesInSegment = 16

    private static let headerLength = 9
    private enum Kind {
        static let data: UInt8 = 0
        static let headers: UInt8 = 1
        static let priority: UInt8 = 2
        static let resetStream: UInt8 = 3
        static let settings: UInt8 = 4
        static let pushPromise: UInt8 = 5
        static let ping: UInt8 = 6
        static let windowUpdate: UInt8 = 8
        static let continuation: UInt8 = 9
        /// RFC 9218 section 7.1.
        static let priorityUpdate: UInt8 = 16
    }
    private enum Flag {
        static let endStream: UInt8 = 0x1
        static let endHeaders: UInt8 = 0x4
        static let padded: UInt8 = 0x8
    }

    private let isServer: Bool
    private let frameLimit: UInt32
    private let blockLimit: UInt32
    private let continuationLimit: UInt8

    /// Of the client preface, not yet seen.
    private var prefaceLeft: Int
    /// Of the current frame's payload, not yet seen.
    private var payloadLeft: UInt32 = 0
    /// The frame header as far as it has come: length, type and flags in one word, the stream in the other.
    private var headerSeen = 0
    private var headerWord: UInt64 = 0
    private var streamWord: UInt32 = 0
    /// The next byte says how much of this DATA frame is padding.
    private var awaitsPadLength = false
    private var payloadLength: UInt32 = 0
    /// The stream whose header block is open, or 0.
    private var blockStream: UInt32 = 0
    private var blockBytes: UInt32 = 0
    private var continuations: UInt8 = 0
    private var endsBlock = false

    init(isServer: Bool, limits: HTTP2Limits) {
        self.isServer = isServer
        frameLimit = limits.frameBytes
        blockLimit = limits.headerBlockBytes
        continuationLimit = limits.continuations
        prefaceLeft = isServer ? HTTP2Preface.text.utf8CodeUnitCount : 0
    }

    /// The next segment of `bytes`, which continue what earlier segments held.
    ///
    /// - Returns: Its length, not zero unless `bytes` is empty or there is a violation. After a violation nothing more
    ///   may be given to nghttp2.
    mutating func next(_ bytes: UnsafeRawBufferPointer, guarded: inout HTTP2Guard, now: UInt64) -> Segment {
        guard let base = bytes.baseAddress else { return Segment(length: 0) }
        let count = bytes.count
        var offset = 0
        var frames = 0
        if prefaceLeft > 0 {
            offset = min(prefaceLeft, count)
            prefaceLeft &-= offset
        }
        while offset < count {
            if payloadLeft == 0 {
                let start = offset
                guard readHeader(base, &offset, count) else { break }
                if let violation = begin(&guarded, now) { return Segment(length: start, violation: violation) }
            }
            if awaitsPadLength, offset < count {
                awaitsPadLength = false
                let padding = UInt32((base + offset).load(as: UInt8.self)) &+ 1
                if padding == payloadLength, let violation = guarded.note(.emptyFrame, now: now) {
                    return Segment(length: offset, violation: violation)
                }
            }
            let taken = min(Int(payloadLeft), count &- offset)
            offset &+= taken
            payloadLeft &-= UInt32(truncatingIfNeeded: taken)
            guard payloadLeft == 0 else { break }
            headerSeen = 0
            frames &+= 1
            if endsBlock || frames == Self.framesInSegment {
                endsBlock = false
                break
            }
        }
        return Segment(length: offset)
    }

    /// - Returns: Whether the header is whole.
    @inline(__always)
    private mutating func readHeader(_ base: UnsafeRawPointer, _ offset: inout Int, _ count: Int) -> Bool {
        if headerSeen == 0, count &- offset >= Self.headerLength {
            let start = base + offset
            headerWord =
                UInt64(UInt32(bigEndian: start.loadUnaligned(as: UInt32.self))) << 8
                | UInt64((start + 4).load(as: UInt8.self))
            streamWord = UInt32(bigEndian: (start + 5).loadUnaligned(as: UInt32.self))
            offset &+= Self.headerLength
            headerSeen = Self.headerLength
            return true
        }
        if headerSeen == 0 {
            headerWord = 0
            streamWord = 0
        }
        while offset < count, headerSeen < Self.headerLength {
            let byte = (base + offset).load(as: UInt8.self)
            if headerSeen < 5 {
                headerWord = headerWord << 8 | UInt64(byte)
            } else {
                streamWord = streamWord << 8 | UInt32(byte)
            }
            headerSeen &+= 1
            offset &+= 1
        }
        return headerSeen == Self.headerLength
    }

    /// A frame header is whole: notes what follows, and asks whether it may.
    private mutating func begin(_ guarded: inout HTTP2Guard, _ now: UInt64) -> HTTP2Violation? {
        let length = UInt32(truncatingIfNeeded: headerWord >> 16)
        let kind = UInt8(truncatingIfNeeded: headerWord >> 8)
        let flags = UInt8(truncatingIfNeeded: headerWord)
        let stream = streamWord & 0x7fff_ffff
        guard length <= frameLimit else { return .frameTooLarge }
        payloadLeft = length
        payloadLength = length
        if blockStream != 0, kind != Kind.continuation || stream != blockStream { return .brokenHeaderBlock }
        switch kind {
        case Kind.data:
            if flags & Flag.endStream != 0 { return nil }
            if length == 0 { return guarded.note(.emptyFrame, now: now) }
            awaitsPadLength = flags & Flag.padded != 0
            return nil
        case Kind.headers, Kind.pushPromise:
            blockBytes = 0
            continuations = 0
            guarded.noteWork()
            return continueBlock(length, flags, stream, &guarded, now)
        case Kind.continuation:
            guard blockStream != 0 else { return .brokenHeaderBlock }
            guard continuations < continuationLimit else { return .continuationFlood }
            continuations &+= 1
            return continueBlock(length, flags, stream, &guarded, now)
        case Kind.priority, Kind.priorityUpdate: return guarded.note(.priority, now: now)
        // A server that resets what a client asked for does itself no harm.
        case Kind.resetStream: return isServer ? guarded.note(.reset, now: now) : nil
        case Kind.settings: return guarded.note(.settings, now: now)
        case Kind.ping: return guarded.note(.ping, now: now)
        case Kind.windowUpdate: return guarded.note(.windowUpdate, now: now)
        default: return guarded.note(.unknownFrame, now: now)
        }
    }

    private mutating func continueBlock(
        _ length: UInt32, _ flags: UInt8, _ stream: UInt32, _ guarded: inout HTTP2Guard, _ now: UInt64
    ) -> HTTP2Violation? {
        blockBytes &+= length
        guard blockBytes <= blockLimit else { return .headerBlockTooLarge }
        if flags & Flag.endHeaders != 0 {
            blockStream = 0
            endsBlock = true
            return nil
        }
        // Stream 0 is an error that nghttp2 reports.
        blockStream = stream
        return length == 0 ? guarded.note(.emptyFrame, now: now) : nil
    }
}
