// SPDX-License-Identifier: Apache-2.0

/// A stream of HTTP/2, and the session that it is of.
struct HTTP2Place: BitwiseCopyable {
    let session: Unmanaged<HTTP2Session>
    let stream: HTTP2Stream

    @inline(__always)
    func offer(_ bytes: UnsafeRawBufferPointer, isLast: Bool) {
        session._withUnsafeGuaranteedRef { $0.offerBody(stream, bytes, isLast: isLast) }
    }

    @inline(__always)
    func offerEnd() { offer(UnsafeRawBufferPointer(start: nil, count: 0), isLast: true) }

    @inline(__always)
    func consume(_ count: Int) { session._withUnsafeGuaranteedRef { $0.consume(stream, count) } }
}

/// Bodies of which a stream of HTTP/2 is one end.
///
/// What goes to a stream is lent to its session and has gone when the session says so: ``sent(_:_:)``. What comes from a
/// stream waits in a queue, and opens the sender's window again when it has gone.
extension BodyPump {
    /// Out of a connection of HTTP/1 into a stream.
    static func run<Tap: BodyTap>(
        from source: inout Channel, _ reader: inout HTTP1BodyReader, to sink: HTTP2Place,
        _ flow: inout BodyFlow, trailers: inout FieldTable, _ pool: inout BufferPool, tap: Tap = NoTap()
    ) -> Outcome {
        while true {
            if flow.offered > 0 { return .blocked }
            if flow.isDone { return .ended }
            if flow.pending > 0 {
                flow.offered = flow.pending
                flow.offersLast = reader.isComplete
                sink.offer(
                    UnsafeRawBufferPointer(rebasing: source.input.bytes[..<flow.pending]), isLast: flow.offersLast)
                return .blocked
            }
            let bytes = source.input.bytes
            switch reader.next(bytes, trailers: &trailers) {
            case .data(let offset, let count):
                source.input.start &+= offset
                flow.pending = count
                tap.take(source.input.bytes, count, &pool)
            case .complete(let consumed):
                guard finish(sink, &flow, trailers, bytes.baseAddress) else { return .malformed(.trailersTooLarge) }
                source.input.start &+= consumed
            case .failed(let defect): return .malformed(defect)
            case .needsMore(let consumed):
                source.input.start &+= consumed
                let floor = flow.keeps ? source.input.start : flow.floor
                switch source.fill(&pool, floor: floor) {
                case .received: break
                case .nothing: return .starved
                case .full:
                    guard flow.keeps else { return .malformed(.trailersTooLarge) }
                    flow.keeps = false
                case .broken: return .sourceBroken
                case .noMemory: return .noMemory
                case .ended:
                    guard case .complete = reader.endOfInput() else { return .malformed(.incomplete) }
                    flow.isDone = true
                    sink.offerEnd()
                }
            }
        }
    }

    /// - Returns: Whether the trailers were taken.
    private static func finish(
        _ sink: HTTP2Place, _ flow: inout BodyFlow, _ trailers: borrowing FieldTable, _ message: UnsafeRawPointer?
    ) -> Bool {
        flow.isDone = true
        guard flow.mayTrail, trailers.count > 0, let message else {
            sink.offerEnd()
            return true
        }
        return sink.session._withUnsafeGuaranteedRef { $0.offerTrailers(sink.stream, trailers, in: message) }
    }

    /// Out of a stream into a connection of HTTP/1.
    ///
    /// - Parameter source: `nil`: the queue is filled by nobody whose window would have to be opened.
    static func run(
        from source: HTTP2Place?, _ queue: inout BodyQueue, to sink: inout Channel,
        _ flow: inout BodyFlow, _ pool: inout BufferPool
    ) -> Outcome {
        while true {
            let front = queue.front
            if let data = front.baseAddress {
                let count = put(data, front.count, to: &sink, chunked: flow.writesChunks, &pool)
                if count <= 0 { return count == 0 ? .blocked : count == -1 ? .sinkBroken : .noMemory }
                advance(&queue, count, source, &flow, &pool)
                continue
            }
            if flow.isDone { return flushed(&sink, .ended) }
            guard flow.sourceEnded else { return flushed(&sink, .starved) }
            if let blocked = makeRoomForEnd(&sink, flow, &pool) { return blocked }
            let isWritten =
                if flow.trailed, let trailers = source?.stream.slot {
                    finish(&sink, &flow, trailers.pointee.trailers.fields, trailers.pointee.trailers.bytes)
                } else {
                    finish(&sink, &flow)
                }
            if !isWritten { return .malformed(.trailersTooLarge) }
        }
    }

    /// Out of a stream into another.
    ///
    /// - Parameter source: `nil`: as above.
    static func run(
        from source: HTTP2Place?, _ queue: inout BodyQueue, to sink: HTTP2Place, _ flow: inout BodyFlow
    ) -> Outcome {
        if flow.isDone { return .ended }
        let front = queue.front
        if !front.isEmpty {
            let isLast = flow.sourceEnded && !flow.trailed && front.count == queue.count
            // What has come behind it meanwhile goes with it.
            if front.count != flow.offered || isLast != flow.offersLast {
                flow.offered = front.count
                flow.offersLast = isLast
                sink.offer(front, isLast: isLast)
            }
            return .blocked
        }
        guard flow.sourceEnded else { return .starved }
        flow.isDone = true
        guard flow.trailed, let slot = source?.stream.slot else {
            sink.offerEnd()
            return .ended
        }
        let isTaken = sink.session._withUnsafeGuaranteedRef {
            $0.offerTrailers(sink.stream, slot.pointee.trailers.fields, in: slot.pointee.trailers.bytes)
        }
        return isTaken ? .ended : .malformed(.trailersTooLarge)
    }

    /// Forgets what has come by a stream.
    static func drop(
        from source: HTTP2Place, _ queue: inout BodyQueue, _ flow: inout BodyFlow, _ pool: inout BufferPool
    ) -> Outcome {
        let count = queue.count
        queue.removeAll(&pool)
        if count > 0 { source.consume(count) }
        flow.moved &+= UInt64(truncatingIfNeeded: count)
        return flow.sourceEnded ? .ended : .starved
    }

    /// A session has taken bytes that came out of a connection of HTTP/1.
    static func sent(_ count: Int, from source: inout Channel, _ flow: inout BodyFlow) {
        source.input.start &+= count
        flow.pending &-= count
        note(count, &flow)
    }

    /// A session has taken bytes that came out of a stream.
    static func sent(
        _ count: Int, from source: HTTP2Place?, _ queue: inout BodyQueue, _ flow: inout BodyFlow,
        _ pool: inout BufferPool
    ) {
        advance(&queue, count, source, &flow, &pool)
        flow.moved &-= UInt64(truncatingIfNeeded: count)
        note(count, &flow)
    }

    private static func note(_ count: Int, _ flow: inout BodyFlow) {
        flow.moved &+= UInt64(truncatingIfNeeded: count)
        flow.offered &-= count
        if flow.offered == 0, flow.offersLast { flow.isDone = true }
    }

    @inline(__always)
    private static func advance(
        _ queue: inout BodyQueue, _ count: Int, _ source: HTTP2Place?, _ flow: inout BodyFlow, _ pool: inout BufferPool
    ) {
        // So much can be sent again, as with HTTP/1: what fits into a block.
        if flow.keeps, queue.kept &+ count > BodyQueue.blockRoom { flow.keeps = false }
        queue.advance(count, keeps: flow.keeps, &pool)
        source?.consume(count)
        flow.moved &+= UInt64(truncatingIfNeeded: count)
    }
}
