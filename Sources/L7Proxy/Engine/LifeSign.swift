// SPDX-License-Identifier: Apache-2.0

/// Whether the peer of a connection of HTTP/2 is still there: asked by PING (RFC 9113 section 6.7) when it owes a response
/// and nothing has come from it for a while.
///
/// Decides and does nothing. Servers of gRPC end a connection on which PINGs come often without a message of theirs in
/// between: by default at the third one that is less than five minutes after the last (grpc/doc/keepalive.md). So there
/// is one PING soon after the last message, and further ones are rare.
struct LifeSign: BitwiseCopyable {
    /// Milliseconds.
    struct Times: BitwiseCopyable {
        /// Without a byte, until the first PING; 0: there is none.
        var quiet: UInt64
        /// From PING to PING without a message in between.
        var interval: UInt64
        /// From a PING to the next byte.
        var answer: UInt64
    }

    enum Step: Equatable {
        /// Look again after so many milliseconds.
        case wait(UInt64)
        /// Send a PING, and look again after so many milliseconds.
        case ping(UInt64)
        /// No answer has come.
        case dead
    }

    /// Bytes that had been received when they were last looked at, and since when there are no more.
    private var heard: UInt64 = 0
    private var quietSince: UInt64 = 0
    /// The PING whose answer is awaited; 0: there is none.
    private var askedAt: UInt64 = 0
    private var lastPing: UInt64 = 0
    /// PINGs since the peer's last message.
    private var pings: UInt32 = 0

    /// HEADERS or DATA have come.
    @inline(__always)
    mutating func messageCame() { pings = 0 }

    /// - Parameters:
    ///   - received: Bytes of the connection so far.
    ///   - isOwed: Whether the peer owes a response.
    ///   - maySend: Whether a PING would leave at once, and not wait behind what the peer does not read.
    ///   - now: Milliseconds of a clock that does not go back; not 0.
    mutating func look(received: UInt64, isOwed: Bool, maySend: Bool, now: UInt64, _ times: Times) -> Step {
        if received != heard || quietSince == 0 {
            heard = received
            quietSince = now
            askedAt = 0
        }
        if askedAt > 0 {
            let passed = now - askedAt
            return passed >= times.answer ? .dead : .wait(times.answer - passed)
        }
        guard isOwed, maySend else { return .wait(times.quiet) }
        var due = quietSince + times.quiet
        if pings > 0 { due = max(due, lastPing + times.interval) }
        guard now >= due else { return .wait(min(due - now, times.quiet)) }
        askedAt = now
        lastPing = now
        pings += 1
        return .ping(times.answer)
    }
}
