// SPDX-License-Identifier: Apache-2.0

/// Failures that are made on purpose, to see what clients make of them.
public struct FaultInjection: Hashable, Sendable, BitwiseCopyable {
    /// Of a million.
    public struct Share: Hashable, Sendable, BitwiseCopyable {
        public let perMillion: UInt32

        /// - Returns: `nil` above a million.
        public init?(perMillion: UInt32) {
            guard perMillion <= 1_000_000 else { return nil }
            self.perMillion = perMillion
        }

        @inline(__always)
        func selects(_ random: UInt64) -> Bool { Draw.below(1_000_000, random) < UInt64(perMillion) }
    }

    public struct Delay: Hashable, Sendable, BitwiseCopyable {
        public var nanoseconds: UInt64
        public var share: Share

        public init(nanoseconds: UInt64, share: Share) {
            self.nanoseconds = nanoseconds
            self.share = share
        }
    }

    public enum Answer: Hashable, Sendable, BitwiseCopyable {
        /// Of a response without content.
        case status(UInt16)
        /// `grpc-status` of a response that has only trailers.
        case grpcStatus(UInt8)
    }

    public struct Abort: Hashable, Sendable, BitwiseCopyable {
        public var answer: Answer
        public var share: Share

        public init(_ answer: Answer, share: Share) {
            self.answer = answer
            self.share = share
        }
    }

    /// What happens to one request: the delay first, then the answer, if there is one; else it goes on.
    public struct Decision: Hashable, Sendable, BitwiseCopyable {
        public var delayNanoseconds: UInt64 = 0
        public var answer: Answer?
    }

    public var delay: Delay?
    public var abort: Abort?

    public init(delay: Delay? = nil, abort: Abort? = nil) {
        self.delay = delay
        self.abort = abort
    }

    /// Delay and abort are drawn apart: a request may meet both.
    @inline(__always)
    public func decide(random: UInt64) -> Decision {
        var decision = Decision()
        if let delay, delay.share.selects(random) { decision.delayNanoseconds = delay.nanoseconds }
        if let abort, abort.share.selects(Draw.next(random)) { decision.answer = abort.answer }
        return decision
    }
}
