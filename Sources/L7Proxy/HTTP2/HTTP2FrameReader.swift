// SPDX-License-Identifier: Apache-2.0

/// Cuts received bytes into frames (RFC 9113 section 4.1), and asks ``HTTP2Guard`` about each as soon as its header has come, so
/// that a flood ends at the frame that is one too many.
struct HTTP2FrameReader: Sendable, BitwiseCopyable {
    /// The frames that are read before what they said is told.
    static let framesInSegment = 16

    private let isServer: Bool
    private let frameLimit: UInt32
    private let blockLimit: UInt32
    private let continuationLimit: UInt8

    /// Of the client preface, not yet seen.
    private(set) var prefaceLeft: Int
    /// The frame that is read, if ``isInFrame``.
    private(set) var frame = HTTP2Frame(length: 0, kind: 0, flags: 0, stream: 0)
    private(set) var isInFrame = false
    /// Of its payload, not yet seen.
    var payloadLeft = 0
    /// The frame header as far as it has come: length, type and flags in one word, the stream in the other.
    private var headerSeen = 0
    private var headerWord: UInt64 = 0
    private var streamWord: UInt32 = 0
    /// The stream whose header block is open, or 0.
    private var blockStream: Int32 = 0
    private var blockBytes: UInt32 = 0
    private var continuations: UInt8 = 0

    init(isServer: Bool, limits: HTTP2Limits) {
        self.isServer = isServer
        frameLimit = limits.frameBytes
        blockLimit = limits.headerBlockBytes
        continuationLimit = limits.continuations
        prefaceLeft = isServer ? HTTP2Preface.text.utf8CodeUnitCount : 0
    }

    /// Reads what has come of the client's preface (RFC 9113 section 3.4).
    ///
    /// - Returns: Whether it is that so far.
    mutating func readPreface(_ bytes: UnsafeRawBufferPointer, _ offset: inout Int) -> Bool {
        let start = HTTP2Preface.text.utf8CodeUnitCount - prefaceLeft
        let count = min(prefaceLeft, bytes.count)
        for place in 0..<count where bytes[place] != HTTP2Preface.text.utf8Start[start + place] { return false }
        prefaceLeft &-= count
        offset = count
        return true
    }

    /// Reads what has come of the next frame's header.
    ///
    /// - Returns: Whether it is whole: ``frame`` is the frame, whose payload comes now.
    @inline(__always)
    mutating func readHeader(_ base: UnsafeRawPointer, _ offset: inout Int, _ count: Int) -> Bool {
        if headerSeen == 0, count &- offset >= HTTP2Frame.headerLength {
            let start = base + offset
            headerWord =
                UInt64(UInt32(bigEndian: start.loadUnaligned(as: UInt32.self))) << 8
                | UInt64((start + 4).load(as: UInt8.self))
            streamWord = UInt32(bigEndian: (start + 5).loadUnaligned(as: UInt32.self))
            offset &+= HTTP2Frame.headerLength
        } else {
            guard readSplitHeader(base, &offset, count) else { return false }
        }
        headerSeen = 0
        isInFrame = true
        frame = HTTP2Frame(
            length: UInt32(truncatingIfNeeded: headerWord >> 16), kind: UInt8(truncatingIfNeeded: headerWord >> 8),
            flags: UInt8(truncatingIfNeeded: headerWord), stream: Int32(bitPattern: streamWord & 0x7fff_ffff))
        payloadLeft = Int(frame.length)
        return true
    }

    private mutating func readSplitHeader(_ base: UnsafeRawPointer, _ offset: inout Int, _ count: Int) -> Bool {
        if headerSeen == 0 {
            headerWord = 0
            streamWord = 0
        }
        while offset < count, headerSeen < HTTP2Frame.headerLength {
            let byte = (base + offset).load(as: UInt8.self)
            if headerSeen < 5 {
                headerWord = headerWord << 8 | UInt64(byte)
            } else {
                streamWord = streamWord << 8 | UInt32(byte)
            }
            headerSeen &+= 1
            offset &+= 1
        }
        return headerSeen == HTTP2Frame.headerLength
    }

    /// The payload of ``frame`` is whole.
    @inline(__always)
    mutating func endFrame() { isInFrame = false }

    /// Asks whether ``frame`` may come, by its header alone.
    @inline(__always)
    mutating func check(_ guarded: inout HTTP2Guard, _ now: UInt64) -> HTTP2Violation? {
        guard frame.length <= frameLimit else { return .frameTooLarge }
        if blockStream != 0, frame.kind != HTTP2Frame.Kind.continuation || frame.stream != blockStream {
            return .brokenHeaderBlock
        }
        switch frame.kind {
        case HTTP2Frame.Kind.data:
            return frame.length == 0 && !frame.has(HTTP2Frame.Flag.endStream)
                ? guarded.note(.emptyFrame, now: now) : nil
        case HTTP2Frame.Kind.headers, HTTP2Frame.Kind.pushPromise:
            blockBytes = 0
            continuations = 0
            guarded.noteWork()
            return continueBlock(&guarded, now)
        case HTTP2Frame.Kind.continuation:
            guard blockStream != 0 else { return .brokenHeaderBlock }
            guard continuations < continuationLimit else { return .continuationFlood }
            continuations &+= 1
            return continueBlock(&guarded, now)
        case HTTP2Frame.Kind.priority, HTTP2Frame.Kind.priorityUpdate: return guarded.note(.priority, now: now)
        // A server that resets what a client asked for does itself no harm.
        case HTTP2Frame.Kind.resetStream: return isServer ? guarded.note(.reset, now: now) : nil
        case HTTP2Frame.Kind.settings: return guarded.note(.settings, now: now)
        case HTTP2Frame.Kind.ping: return guarded.note(.ping, now: now)
        case HTTP2Frame.Kind.windowUpdate: return guarded.note(.windowUpdate, now: now)
        default: return guarded.note(.unknownFrame, now: now)
        }
    }

    @inline(__always)
    private mutating func continueBlock(_ guarded: inout HTTP2Guard, _ now: UInt64) -> HTTP2Violation? {
        blockBytes &+= frame.length
        guard blockBytes <= blockLimit else { return .headerBlockTooLarge }
        if frame.has(HTTP2Frame.Flag.endHeaders) {
            blockStream = 0
            return nil
        }
        // On stream 0 it is an error of another kind.
        blockStream = frame.stream
        return frame.length == 0 ? guarded.note(.emptyFrame, now: now) : nil
    }
}
