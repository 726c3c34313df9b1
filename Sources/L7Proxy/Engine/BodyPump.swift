// SPDX-License-Identifier: Apache-2.0

/// One direction of an exchange's body: what is known of it and what must be written around it.
struct BodyFlow: BitwiseCopyable {
    /// Bytes at the front of the source's input that are body and have not been moved.
    var pending = 0
    /// Whether the sink frames by chunks; otherwise bytes go as they are.
    var writesChunks = false
    /// All is in the sink's connection or its output.
    var isDone = false
    /// Bytes at the front of the source's block that must stay.
    var floor = 0
    /// Whether the body stays in the source's block to be sent again; ends when the block is full.
    var keeps = false
    /// Of the body, moved.
    var moved: UInt64 = 0
    /// A trailer section may follow.
    var mayTrail = false
    // Where a stream of HTTP/2 is the source: it has no more, and has sent trailers.
    var sourceEnded = false
    var trailed = false
    // Where a stream is the sink: bytes that its session was lent and has not taken, and whether nothing follows them.
    var offered = 0
    var offersLast = false
}

/// Moves a body from one connection to another without holding more of it than one block on each side.
enum BodyPump {
    enum Outcome {
        /// The body is complete.
        case ended
        /// The source has nothing more now.
        case starved
        /// The sink takes nothing more now.
        case blocked
        /// There may be more at once; others first.
        case yielded
        case malformed(MalformedMessage)
        case sourceBroken
        case sinkBroken
        case noMemory
    }

    /// Data up to this size is copied behind what waits to be sent, so that both go in one call: a call, and the message
    /// and the wake-up that it is to a peer on this node, cost more than the copy.
    private static let copiedAtMost = 16 * 1024
    /// Room for a last chunk with trailers: the limit of trailers, a third more for rewriting, and framing.
    private static let trailerRoom = 6 * 1024
    /// Reads of one call.
    private static let turns = 8

    /// - Parameter tap: Is shown each piece of the body before it goes.
    static func run<Tap: BodyTap>(
        from source: inout Channel, _ reader: inout HTTP1BodyReader, to sink: inout Channel,
        _ flow: inout BodyFlow, trailers: inout FieldTable, _ pool: inout BufferPool, tap: Tap = NoTap()
    ) -> Outcome {
        var turns = Self.turns
        while true {
            if flow.pending > 0 {
                guard let data = source.input.bytes.baseAddress else { return .blocked }
                let count = put(data, flow.pending, to: &sink, chunked: flow.writesChunks, &pool)
                if count <= 0 { return count == 0 ? .blocked : count == -1 ? .sinkBroken : .noMemory }
                source.input.start &+= count
                flow.pending &-= count
                flow.moved &+= UInt64(truncatingIfNeeded: count)
                continue
            }
            if flow.isDone { return flushed(&sink, .ended) }
            if let blocked = makeRoomForEnd(&sink, flow, &pool) { return blocked }
            let bytes = source.input.bytes
            switch reader.next(bytes, trailers: &trailers) {
            case .data(let offset, let count):
                source.input.start &+= offset
                flow.pending = count
                tap.take(source.input.bytes, count, &pool)
            case .complete(let consumed):
                if !finish(&sink, &flow, trailers, bytes.baseAddress) { return .noMemory }
                source.input.start &+= consumed
            case .failed(let defect): return .malformed(defect)
            case .needsMore(let consumed):
                source.input.start &+= consumed
                turns -= 1
                if turns == 0 { return flushed(&sink, .yielded) }
                let floor = flow.keeps ? source.input.start : flow.floor
                switch source.fill(&pool, floor: floor) {
                case .received: break
                case .nothing: return flushed(&sink, .starved)
                case .full:
                    guard flow.keeps else { return .malformed(.trailersTooLarge) }
                    flow.keeps = false
                case .broken: return .sourceBroken
                case .noMemory: return .noMemory
                case .ended:
                    guard case .complete = reader.endOfInput() else { return .malformed(.incomplete) }
                    trailers.removeAll()
                    if !finish(&sink, &flow, trailers, nil) { return .noMemory }
                }
            }
        }
    }

    /// Reads a body out of a connection of HTTP/1 and forgets it.
    static func drop(
        from source: inout Channel, _ reader: inout HTTP1BodyReader, _ flow: inout BodyFlow,
        trailers: inout FieldTable, _ pool: inout BufferPool
    ) -> Outcome {
        var turns = Self.turns
        while true {
            switch reader.next(source.input.bytes, trailers: &trailers) {
            case .data(let offset, let count):
                source.input.start &+= offset &+ count
                flow.moved &+= UInt64(truncatingIfNeeded: count)
            case .complete(let consumed):
                source.input.start &+= consumed
                return .ended
            case .failed(let defect): return .malformed(defect)
            case .needsMore(let consumed):
                source.input.start &+= consumed
                turns -= 1
                if turns == 0 { return .yielded }
                switch source.fill(&pool) {
                case .received: break
                case .nothing: return .starved
                case .full: return .malformed(.trailersTooLarge)
                case .broken: return .sourceBroken
                case .noMemory: return .noMemory
                case .ended:
                    guard case .complete = reader.endOfInput() else { return .malformed(.incomplete) }
                    return .ended
                }
            }
        }
    }

    @inline(__always)
    static func flushed(_ sink: inout Channel, _ outcome: Outcome) -> Outcome {
        if case .broken = sink.flush() { return .sinkBroken }
        return outcome
    }

    /// Sees to it that the end of a chunked body fits. - Returns: Why not, or `nil`.
    @inline(__always)
    static func makeRoomForEnd(_ sink: inout Channel, _ flow: BodyFlow, _ pool: inout BufferPool) -> Outcome? {
        guard flow.writesChunks, sink.output.room < trailerRoom else { return nil }
        guard sink.output.borrow(&pool) else { return .noMemory }
        guard sink.output.room < trailerRoom else { return nil }
        switch sink.flush() {
        case .done: return nil
        case .blocked: return .blocked
        case .broken: return .sinkBroken
        }
    }

    /// Puts some of the bytes into the sink's connection or its output.
    ///
    /// - Returns: How many; 0: it takes none now; -1: it is broken; -2: there is no memory.
    @inline(__always)
    static func put(
        _ data: UnsafeRawPointer, _ available: Int, to sink: inout Channel, chunked: Bool, _ pool: inout BufferPool
    ) -> Int {
        var count = available
        if chunked {
            let overhead = HTTP1ChunkWriter.longestBegin + 2
            guard sink.output.borrow(&pool) else { return -2 }
            if sink.output.room < min(count, 1024) + overhead {
                switch sink.flush() {
                case .done: break
                case .blocked: return 0
                case .broken: return -1
                }
            }
            count = min(count, sink.output.room - overhead)
            sink.output.end &+= HTTP1ChunkWriter.begin(count, into: sink.output.space)
            append(data, count, to: &sink.output)
            append(UnsafeRawPointer(HTTP1ChunkWriter.end.utf8Start), 2, to: &sink.output)
            return count
        }
        if !sink.output.isEmpty, count <= copiedAtMost, count <= sink.output.room {
            append(data, count, to: &sink.output)
            return count
        }
        switch sink.flush(more: true) {
        case .done: return sink.send(data, count)
        case .blocked: return 0
        case .broken: return -1
        }
    }

    @inline(__always)
    private static func append(_ bytes: UnsafeRawPointer, _ count: Int, to window: inout Window) {
        window.space.baseAddress?.copyMemory(from: bytes, byteCount: count)
        window.end &+= count
    }

    /// Writes the end of a chunked body. - Returns: Whether there was room, which ``trailerRoom`` has made sure of.
    @inline(__always)
    static func finish(
        _ sink: inout Channel, _ flow: inout BodyFlow,
        _ trailers: borrowing FieldTable, _ message: UnsafeRawPointer?
    ) -> Bool {
        guard flow.writesChunks, let message, trailers.count > 0 else { return finish(&sink, &flow) }
        flow.isDone = true
        return end(&sink, HTTP1ChunkWriter.finish(trailers, in: message, into: sink.output.space))
    }

    @inline(__always)
    static func finish(_ sink: inout Channel, _ flow: inout BodyFlow) -> Bool {
        flow.isDone = true
        guard flow.writesChunks else { return true }
        return end(&sink, HTTP1ChunkWriter.finish(into: sink.output.space))
    }

    @inline(__always)
    private static func end(_ sink: inout Channel, _ written: Result<Int, WriteFailure>) -> Bool {
        guard case .success(let count) = written else { return false }
        sink.output.end &+= count
        return true
    }
}
