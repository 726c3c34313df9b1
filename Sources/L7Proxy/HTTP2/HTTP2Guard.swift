// SPDX-License-Identifier: Apache-2.0

/// Decides when a peer sends more frames without work in them than an honest one does (RFC 9113 section 10.5).
///
/// A value that does no I/O and has no clock: it is told what came and when. ``HTTP2FrameReader`` asks it about
/// each frame by its header, so that what it refuses costs nothing more; the session tells it the rest.
public struct HTTP2Guard: Sendable, BitwiseCopyable {
    /// So many at once, and so many in each second after.
    public struct Rate: Sendable, BitwiseCopyable, Equatable {
        public var burst: UInt32
        public var perSecond: UInt32

        public init(burst: UInt32, perSecond: UInt32) {
            self.burst = burst
            self.perSecond = perSecond
        }
    }

    /// How often a peer may do what; see the ``HTTP2Violation`` of the same name for the attack.
    public struct Rates: Sendable, BitwiseCopyable {
        /// RST_STREAM from a client. A browser that leaves a page cancels a hundred requests at once.
        public var resets = Rate(burst: 200, perSecond: 50)
        /// Streams that we reset because the peer broke them.
        public var provokedResets = Rate(burst: 100, perSecond: 10)
        /// SETTINGS, acknowledgements too.
        public var settings = Rate(burst: 32, perSecond: 2)
        /// PING, answers too. gRPC libraries measure bandwidth with one for each window of data.
        public var pings = Rate(burst: 200, perSecond: 50)
        /// Frames without content that end nothing.
        public var emptyFrames = Rate(burst: 100, perSecond: 20)
        /// PRIORITY and PRIORITY_UPDATE. Old browsers send some with each request.
        public var priorities = Rate(burst: 500, perSecond: 200)
        /// WINDOW_UPDATE. Each DATA frame that we send, and each request, allows ``windowUpdateCredit`` more.
        public var windowUpdates = Rate(burst: 2000, perSecond: 50)
        /// Frames of unknown types, and GOAWAY.
        public var unknownFrames = Rate(burst: 100, perSecond: 10)
        /// WINDOW_UPDATE frames that one DATA frame of ours, or one request, may be followed by.
        public var windowUpdateCredit: UInt32 = 4

        public init() {}
    }

    private let rates: Rates
    private var resets: HTTP2TokenBucket
    private var provoked: HTTP2TokenBucket
    private var settings: HTTP2TokenBucket
    private var pings: HTTP2TokenBucket
    private var empty: HTTP2TokenBucket
    private var priorities: HTTP2TokenBucket
    private var windowUpdates: HTTP2TokenBucket
    private var unknown: HTTP2TokenBucket

    /// - Parameter now: Milliseconds of a clock that does not go back.
    public init(_ rates: Rates = Rates(), now: UInt64) {
        self.rates = rates
        resets = HTTP2TokenBucket(rates.resets, now: now)
        provoked = HTTP2TokenBucket(rates.provokedResets, now: now)
        settings = HTTP2TokenBucket(rates.settings, now: now)
        pings = HTTP2TokenBucket(rates.pings, now: now)
        empty = HTTP2TokenBucket(rates.emptyFrames, now: now)
        priorities = HTTP2TokenBucket(rates.priorities, now: now)
        windowUpdates = HTTP2TokenBucket(rates.windowUpdates, now: now)
        unknown = HTTP2TokenBucket(rates.unknownFrames, now: now)
    }

    /// What costs the peer little and us something.
    public enum Event: Sendable, BitwiseCopyable {
        case reset, provokedReset, settings, ping, emptyFrame, priority, windowUpdate, unknownFrame
    }

    /// Takes note of `event` at the time `now`.
    ///
    /// - Returns: The violation, if it was one too many.
    public mutating func note(_ event: Event, now: UInt64) -> HTTP2Violation? {
        switch event {
        case .reset: resets.take(rates.resets, now: now) ? nil : .rapidReset
        case .provokedReset: provoked.take(rates.provokedResets, now: now) ? nil : .provokedResets
        case .settings: settings.take(rates.settings, now: now) ? nil : .settingsFlood
        case .ping: pings.take(rates.pings, now: now) ? nil : .pingFlood
        case .emptyFrame: empty.take(rates.emptyFrames, now: now) ? nil : .emptyFrameFlood
        case .priority: priorities.take(rates.priorities, now: now) ? nil : .priorityFlood
        case .windowUpdate: windowUpdates.take(rates.windowUpdates, now: now) ? nil : .windowUpdateFlood
        case .unknownFrame: unknown.take(rates.unknownFrames, now: now) ? nil : .unknownFrameFlood
        }
    }

    /// A DATA frame was sent, or a request came: the peer may answer it with WINDOW_UPDATE frames.
    public mutating func noteWork() { windowUpdates.credit(rates.windowUpdateCredit, rates.windowUpdates) }
}
