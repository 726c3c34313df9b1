// SPDX-License-Identifier: Apache-2.0

/// The state of one connection (RFC 9113), in memory that stays where it is.
///
/// What is read is recorded as events, which the session tells after a frame or some, so that the session's functions can be
/// called meanwhile. Decisions about messages are the head readers', about how often what may come the guard's.
struct HTTP2Core: ~Copyable {
    let isServer: Bool
    let limits: HTTP2Limits
    /// Held by the session.
    let pool: Unmanaged<HTTP2MemoryPool>
    var guarded: HTTP2Guard
    var events = HTTP2EventQueue()
    /// Milliseconds, of the call that is going on.
    var now: UInt64

    // What comes.
    var reader: HTTP2FrameReader
    var decoder: HPACKDecoder
    var gather: HTTP2Gather
    /// Of the DATA frame that is read: whose it is, if anybody wants it, and what of it is content, then padding.
    var dataStream: UnsafeMutablePointer<HTTP2StreamSlot>?
    var awaitsPadLength = false
    var contentLeft = 0
    /// Of the header block that is read.
    var blockEndsStream = false
    /// What the peer may send before what it has sent is consumed, and what of that is consumed and not announced.
    var received = 0
    var credit = 0
    let connectionWindow: Int
    let ownStreamWindow: Int
    /// Windows of streams that the peer counts with: it has not heard of ours before it has acknowledged our SETTINGS.
    var streamWindow: Int
    /// SETTINGS of ours that are not acknowledged.
    var settingsUnderWay = 0
    /// The peer's first SETTINGS have come.
    var hasSettings = false

    // What goes.
    var encoder: HPACKEncoder
    var outbox: HTTP2Outbox
    /// Acknowledgements in the outbox since it was last empty.
    var acknowledgements = 0
    var ready = HTTP2SlotList<HTTP2ReadyRow>()
    var ending = HTTP2SlotList<HTTP2EndingRow>()
    var sendWindow = HTTP2Core.defaultWindow
    /// The peer's SETTINGS.
    var peer = HTTP2PeerSettings()
    /// DATA frames go here during a call of `send`.
    var output = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    var outputCount = 0
    /// A frame was made in place during the call.
    var hasFramed = false

    // Streams.
    var table: HTTP2StreamTable
    /// Those that are in use, newest first: open ones, and those whose end has not been reported.
    private(set) var streams: UnsafeMutablePointer<HTTP2StreamSlot>?
    private(set) var streamCount = 0
    /// The next number of a stream that we open; the highest that the peer has opened, and that we have looked at.
    var nextStream: Int32 = 1
    var lastOpened: Int32 = 0
    var lastProcessed: Int32 = 0

    // The end.
    /// Found within a header block; acted upon when it has been read.
    var violation: HTTP2Violation?
    var failure: HTTP2Failure?
    /// We have ended the connection and wait for what is left to be sent.
    var isTerminated = false
    /// The peer has sent a GOAWAY, with that stream as the last.
    var peerLastStream: Int32?
    var isTelling = false
    var drain = Drain.no
    /// How far an orderly end has come (RFC 9113 section 6.8).
    enum Drain {
        case no
        /// The peer was told that there will be an end; requests under way are still taken.
        case noticed
        /// The last stream is known to the peer.
        case final
    }

    /// RFC 9113 sections 6.5.2 and 6.9.2.
    static let defaultWindow = 65_535
    static let largestWindow = 0x7fff_ffff
    static let lastStream: Int32 = 0x7fff_ffff

    init(isServer: Bool, limits: HTTP2Limits, pool: HTTP2MemoryPool, now: UInt64) {
        self.isServer = isServer
        self.limits = limits
        self.pool = Unmanaged.passUnretained(pool)
        self.now = now
        guarded = HTTP2Guard(limits.rates, now: now)
        reader = HTTP2FrameReader(isServer: isServer, limits: limits)
        decoder = HPACKDecoder(limit: Int(limits.tableBytes), pool: self.pool)
        encoder = HPACKEncoder(limit: limits.compressorTableBytes, pool: self.pool)
        gather = HTTP2Gather(pool: self.pool)
        outbox = HTTP2Outbox(pool: self.pool)
        table = HTTP2StreamTable(pool: self.pool)
        ownStreamWindow = min(Int(limits.streamWindow), Self.largestWindow)
        connectionWindow = min(Int(limits.connectionWindow), Self.largestWindow)
        streamWindow = max(Self.defaultWindow, ownStreamWindow)
        open()
    }

    deinit {
        var next = streams
        while let slot = next {
            next = slot.pointee.next
            pool._withUnsafeGuaranteedRef { $0.giveBack(slot) }
        }
    }

    mutating func note(_ event: HTTP2Guard.Event) {
        if let found = guarded.note(event, now: now), violation == nil { violation = found }
    }

    /// For heads that are written here, trailers above all: they are encoded at once.
    var writer: UnsafeMutablePointer<HTTP2HeadWriter> {
        pool._withUnsafeGuaranteedRef { $0.writer(fields: Int(limits.trailerFields)) }
    }

    /// Whether there is something to send. A stream whose window is shut does not count.
    @inline(__always)
    var wantsToSend: Bool { !outbox.isEmpty || !isTerminated && !ready.isEmpty && sendWindow > 0 }

    /// Whether nothing that could come would be looked at.
    @inline(__always)
    var isDeaf: Bool { isTerminated || table.count == 0 && (drain == .final || peerLastStream != nil) }
}

// MARK: - Streams

extension HTTP2Core {
    /// - Parameter id: As on the wire.
    mutating func openStream(_ id: Int32) -> UnsafeMutablePointer<HTTP2StreamSlot> {
        let slot = pool._withUnsafeGuaranteedRef { $0.takeStream(limits) }
        slot.pointee.id = id
        slot.pointee.sendWindow = peer.initialWindow
        slot.pointee.next = streams
        slot.pointee.previous = nil
        streams?.pointee.previous = slot
        streams = slot
        streamCount &+= 1
        table.insert(slot)
        return slot
    }

    /// Gives the slot back; its stream has been reported as closed, or was never reported.
    mutating func forget(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>) {
        let next = slot.pointee.next
        if let previous = slot.pointee.previous { previous.pointee.next = next } else { streams = next }
        next?.pointee.previous = slot.pointee.previous
        slot.pointee.next = nil
        slot.pointee.previous = nil
        streamCount &-= 1
        pool._withUnsafeGuaranteedRef { $0.giveBack(slot) }
    }

    /// The stream is over for both sides.
    mutating func close(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>, _ code: HTTP2ErrorCode) {
        guard !slot.pointee.isClosed else { return }
        slot.pointee.isClosed = true
        slot.pointee.body = UnsafeRawBufferPointer(start: nil, count: 0)
        ready.remove(slot)
        ending.remove(slot)
        table.remove(slot)
        if dataStream == slot { dataStream = nil }
        // RFC 9113 section 6.9.1: what nobody will consume must not keep the connection's window shut.
        if slot.pointee.unconsumed > 0 {
            consume(slot.pointee.unconsumed)
            slot.pointee.unconsumed = 0
        }
        if slot.pointee.isReported {
            events.append(.closed(HTTP2Stream(slot), code == .noError ? slot.pointee.brokenCode : code))
        } else {
            forget(slot)
        }
    }

    /// The peer's message is whole.
    @inline(__always)
    mutating func endRemote(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>) {
        slot.pointee.remoteEnded = true
        if slot.pointee.localEnded { close(slot, .noError) }
    }

    /// END_STREAM of ours has left.
    @inline(__always)
    mutating func endLocal(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>) {
        slot.pointee.localEnded = true
        if slot.pointee.remoteEnded, !slot.pointee.resetMade { close(slot, .noError) }
    }

    /// Whether the peer could not have a stream of that number yet (RFC 9113 section 5.1.1).
    @inline(__always)
    func isIdle(_ id: Int32) -> Bool {
        let isPeers = (id & 1 == 1) == isServer
        return isPeers ? id > lastOpened : isServer || nextStream > 0 && id >= nextStream
    }
}
