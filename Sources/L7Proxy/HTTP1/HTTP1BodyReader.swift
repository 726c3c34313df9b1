// SPDX-License-Identifier: Apache-2.0

/// Finds the body of one message, and its end, in what follows the head (RFC 9112 sections 6.3 and 7.1).
///
/// Body bytes are pointed at, not copied. Of the chunked coding only the data and the trailers come out: sizes and
/// extensions are the previous hop's (section 7.1.1) and are never forwarded.
public struct HTTP1BodyReader: Sendable, BitwiseCopyable {
    /// What came next. Offsets and counts are from the first byte given to ``next(_:trailers:)``.
    public enum Event: Equatable, Sendable {
        /// `count` bytes of body begin at `offset`. Give the bytes after them to the next call.
        case data(offset: Int, count: Int)
        /// The first `consumed` bytes are done with; give the rest again when there are more.
        case needsMore(consumed: Int)
        /// The message ended after `consumed` bytes; what follows is the next message's. Trailers, if there are any,
        /// are offsets from the first byte given.
        case complete(consumed: Int)
        /// Where the message ends will never be known: answer, and close the connection.
        case failed(MalformedMessage)
    }

    private enum Phase: Equatable {
        case empty
        case counted(remaining: UInt64)
        case untilClose
        case chunkLine(ChunkLine)
        case chunkData(remaining: UInt64)
        /// CR and LF after a chunk's data, of which `seen` have come.
        case chunkEnd(seen: UInt8)
        case trailers
        case complete
        case failed(MalformedMessage)
    }

    private let limits: HTTP1Limits
    private let isResponse: Bool
    private var phase: Phase
    private var extensionBytes: UInt32 = 0
    private var lines = LineCursor()

    /// - Precondition: `framing` is not ``BodyFraming/tunnel``: that is no message's body.
    public init(_ framing: BodyFraming, ofResponse isResponse: Bool = false, limits: HTTP1Limits = HTTP1Limits()) {
        self.limits = limits
        self.isResponse = isResponse
        switch framing {
        case .none: phase = .empty
        case .length(let count): phase = count == 0 ? .empty : .counted(remaining: count)
        case .chunked: phase = .chunkLine(ChunkLine())
        case .untilClose: phase = .untilClose
        case .tunnel: preconditionFailure("a tunnel has no body")
        }
    }

    /// Whether ``next(_:trailers:)`` has answered, or will answer to no bytes at all, that the message is complete.
    public var isComplete: Bool { phase == .complete || phase == .empty }

    /// How many more bytes are certain to be body: they may be moved without being looked at, then ``skip(_:)``ped.
    public var knownRemaining: UInt64 {
        switch phase {
        case .counted(let remaining), .chunkData(let remaining): remaining
        case .untilClose: .max
        default: 0
        }
    }

    /// Takes note of `count` bytes of body that did not go through ``next(_:trailers:)``.
    ///
    /// - Precondition: There are no more of them than ``knownRemaining``.
    public mutating func skip(_ count: UInt64) {
        precondition(count <= knownRemaining, "more bytes skipped than the body has")
        switch phase {
        case .counted(let remaining):
            phase = remaining == count ? .complete : .counted(remaining: remaining - count)
        case .chunkData(let remaining):
            phase = remaining == count ? .chunkEnd(seen: 0) : .chunkData(remaining: remaining - count)
        default: break
        }
    }

    /// The connection ended. - Returns: What to make of that: ``Event/complete(consumed:)`` only if the body ends so.
    public mutating func endOfInput() -> Event {
        switch phase {
        case .empty, .complete, .untilClose:
            phase = .complete
            return .complete(consumed: 0)
        case .failed(let defect): return .failed(defect)
        // RFC 9112 section 8: incomplete, and never to be passed on as if it were complete.
        default: return fail(.incomplete)
        }
    }

    /// Goes on where the last call stopped.
    ///
    /// - Parameters:
    ///   - bytes: What has been received and is not consumed. Call until it answers something else than data.
    ///   - trailers: Emptied when a trailer section starts. May be the table of the head, if that is done with.
    public mutating func next(_ bytes: UnsafeRawBufferPointer, trailers: inout FieldTable) -> Event {
        var offset = 0
        while true {
            switch phase {
            case .empty, .complete:
                phase = .complete
                return .complete(consumed: offset)
            case .failed(let defect): return .failed(defect)
            case .counted, .chunkData, .untilClose:
                let available = min(UInt64(bytes.count - offset), knownRemaining)
                if available == 0 { return .needsMore(consumed: offset) }
                skip(available)
                return .data(offset: offset, count: Int(available))
            case .chunkLine(var line):
                switch line.parse(bytes, from: &offset, extensionBudget: limits.chunkExtensionBytes - extensionBytes) {
                case .failure(let defect): return fail(defect)
                case .success(nil):
                    phase = .chunkLine(line)
                    return .needsMore(consumed: offset)
                case .success(let size?):
                    extensionBytes += line.extensionBytes
                    if size > 0 {
                        phase = .chunkData(remaining: size)
                    } else {
                        trailers.removeAll()
                        lines = LineCursor()
                        phase = .trailers
                    }
                }
            case .chunkEnd(let seen):
                guard offset < bytes.count else { return .needsMore(consumed: offset) }
                let expected = seen == 0 ? ASCII.carriageReturn : ASCII.lineFeed
                guard bytes[offset] == expected else { return fail(.missingChunkEnd) }
                offset += 1
                phase = seen == 0 ? .chunkEnd(seen: 1) : .chunkLine(ChunkLine())
            case .trailers:
                return parseTrailers(bytes, from: offset, into: &trailers)
            }
        }
    }

    private mutating func fail(_ defect: MalformedMessage) -> Event {
        phase = .failed(defect)
        return .failed(defect)
    }

    /// The trailer section is parsed like a head (RFC 9112 section 7.1.2), so its bytes stay until it is whole.
    private mutating func parseTrailers(
        _ bytes: UnsafeRawBufferPointer, from offset: Int, into trailers: inout FieldTable
    ) -> Event {
        let section = UnsafeRawBufferPointer(rebasing: bytes[offset...])
        guard let base = section.baseAddress else { return .needsMore(consumed: offset) }
        while true {
            switch lines.next(section, limit: Int(limits.trailerBytes)) {
            case .incomplete: return .needsMore(consumed: offset)
            case .tooLong: return fail(.trailersTooLarge)
            case .failed(let defect): return fail(defect)
            case .line(let start, let end):
                if start == end {
                    phase = .complete
                    trailers.shift(by: offset)
                    return .complete(consumed: offset + Int(lines.lineStart))
                }
                let defect = FieldLine.parse(
                    base, start: start, end: end, section: isResponse ? .response : .trailers,
                    isFirst: trailers.count == 0,
                    nameLimit: limits.fieldNameBytes, into: &trailers)
                if let defect { return fail(defect) }
                let last = trailers.count - 1
                if FieldNameSet.refusedInTrailers.contains(trailers[last].name) { return fail(.forbiddenTrailer) }
                if FieldNameSet.droppedInTrailers.contains(trailers[last].name) { trailers.drop(last) }
            }
        }
    }
}

extension FieldTable {
    /// Moves the origin of all offsets `distance` bytes towards the front.
    fileprivate mutating func shift(by distance: Int) {
        guard distance > 0 else { return }
        for position in 0..<count {
            fields[position].nameOffset += UInt32(distance)
            fields[position].valueOffset += UInt32(distance)
        }
    }
}
