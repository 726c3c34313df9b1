// SPDX-License-Identifier: Apache-2.0

import LinuxIO

/// A stream socket with what was received and not yet used, and what is to be sent.
///
/// Readiness is remembered, because the poller reports it once. Not reading is the back pressure.
///
/// It ends when the kernel says that there is no more (EAGAIN), and not with a call that gives or takes less than it was
/// asked to, which epoll(7) takes for the same. A socket whose peer on this node has been redirected has two queues, and a
/// read gives what is in the first (tcp_bpf_recvmsg, net/ipv4/tcp_bpf.c): what has come by TCP behind that, before the
/// read, is announced by nothing any more. Nor does a read pass an urgent mark (tcp_recvmsg_locked, net/ipv4/tcp.c).
struct Channel: BitwiseCopyable {
    struct State: OptionSet, BitwiseCopyable {
        let rawValue: UInt8

        static let readable = State(rawValue: 1 << 0)
        static let writable = State(rawValue: 1 << 1)
        /// The peer's end was announced: reading goes on until it is met.
        static let endAnnounced = State(rawValue: 1 << 2)
        /// The peer's end was read.
        static let inputEnded = State(rawValue: 1 << 3)
        /// The connection broke: nothing can be sent, nothing more will come.
        static let broken = State(rawValue: 1 << 4)
        /// The poller has reported an error, or that both directions are over. What came before can still be read.
        static let hungUp = State(rawValue: 1 << 5)
        /// The last read has filled the block.
        static let readsMuch = State(rawValue: 1 << 6)
        /// More was to be sent than the output's block holds.
        static let sendsMuch = State(rawValue: 1 << 7)
    }

    enum Fill {
        case received(Int)
        /// Nothing has come since.
        case nothing
        /// The block is full of bytes that are still needed.
        case full
        case ended
        case broken
        /// All blocks are lent.
        case noMemory
    }

    enum Flush {
        case done
        /// The peer does not take more now.
        case blocked
        case broken
    }

    var descriptor: CInt = -1
    /// Of an end of a pair. Retained until it is closed.
    var mark: Unmanaged<LocalMark>?
    var state: State = []
    var input = Window()
    var output = Window()
    /// Of all time.
    var received: UInt64 = 0
    var sent: UInt64 = 0

    /// Takes note of what the poller reports.
    @inline(__always)
    mutating func note(_ event: Poller.Event) {
        if event.isReadable { state.insert(.readable) }
        if event.isWritable { state.insert(.writable) }
        if event.peerHasClosed { state.formUnion([.readable, .endAnnounced]) }
        // What came before the error can still be read; the error then comes by the read.
        if event.isBroken { state.formUnion([.readable, .writable, .endAnnounced, .hungUp]) }
    }

    /// Whether nothing is left of what the peer has sent, and nothing more will come.
    var isExhausted: Bool { input.isEmpty && !state.isDisjoint(with: [.inputEnded, .broken]) }

    var mayRead: Bool {
        @inline(__always) get { state.contains(.readable) && state.isDisjoint(with: [.inputEnded, .broken]) }
    }

    /// Reads once.
    ///
    /// - Parameter floor: Bytes at the front of the block that stay where they are; what was used behind them makes room.
    @inline(__always)
    mutating func fill(_ pool: inout BufferPool, floor: Int = 0) -> Fill {
        guard mayRead else {
            return state.contains(.broken) ? .broken : state.contains(.inputEnded) ? .ended : .nothing
        }
        guard input.borrow(&pool) else { return .noMemory }
        if input.isEmpty, input.start > floor {
            input.start = floor
            input.end = floor
        } else if input.room == 0 {
            input.compact(to: floor)
        }
        let room = input.room
        guard room > 0, let memory = input.space.baseAddress else { return .full }
        let count = StreamSocket.receive(descriptor, memory, room)
        if count > 0 {
            input.end &+= count
            received &+= UInt64(truncatingIfNeeded: count)
            return .received(count)
        }
        if count == 0 {
            if wasReset {
                state.insert(.broken)
                return .broken
            }
            state.insert(.inputEnded)
            return .ended
        }
        if count == StreamSocket.wouldBlock || count == StreamSocket.interrupted {
            if count == StreamSocket.wouldBlock { state.remove(.readable) }
            return .nothing
        }
        state.insert(.broken)
        return .broken
    }

    /// Sends what is in the output.
    @inline(__always)
    mutating func flush(more: Bool = false) -> Flush {
        while !output.isEmpty {
            guard let memory = output.bytes.baseAddress else { return .done }
            switch send(memory, output.count, more: more) {
            case -1: return .broken
            case 0: return .blocked
            case let count: output.start &+= count
            }
        }
        output.start = 0
        output.end = 0
        return .done
    }

    /// Sends memory as it is. - Returns: Bytes taken; 0 if the peer takes none now; -1 if the connection broke.
    @inline(__always)
    mutating func send(_ memory: UnsafeRawPointer, _ count: Int, more: Bool = false) -> Int {
        if state.contains(.broken) { return -1 }
        guard state.contains(.writable) else { return 0 }
        return noteSent(StreamSocket.send(descriptor, memory, count, more: more))
    }

    /// Takes note of what the socket has answered. - Returns: As ``send(_:_:more:)``.
    @inline(__always)
    mutating func noteSent(_ taken: Int) -> Int {
        if taken >= 0 {
            sent &+= UInt64(truncatingIfNeeded: taken)
            return taken
        }
        if taken == StreamSocket.wouldBlock {
            state.remove(.writable)
            return 0
        }
        if taken == StreamSocket.interrupted { return 0 }
        return -1
    }

    /// The peer owes nothing now: what it sends next is announced, and need not be looked for before. An end that was
    /// announced already is still met.
    @inline(__always)
    mutating func awaitNews() {
        if !state.contains(.endAnnounced) { state.remove(.readable) }
    }

    /// Gives blocks back that hold nothing.
    @inline(__always)
    mutating func relax(_ pool: inout BufferPool) {
        if input.isEmpty { input.giveBack(&pool) }
        if output.isEmpty { output.giveBack(&pool) }
    }

    /// Uses an end of a pair, which is its own from now on.
    mutating func adopt(_ end: LocalEnd) {
        descriptor = end.descriptor
        mark = Unmanaged.passRetained(end.mark)
    }

    /// Whether the other end of a pair was closed with a reset. It said so before it closed.
    private var wasReset: Bool { mark?._withUnsafeGuaranteedRef { $0.isReset } ?? false }

    /// Closes and gives everything back.
    mutating func close(_ pool: inout BufferPool, resetting: Bool = false) {
        input.giveBack(&pool)
        output.giveBack(&pool)
        guard descriptor >= 0 else { return }
        if let mark {
            if resetting { mark._withUnsafeGuaranteedRef { $0.reset() } }
            mark.release()
            self.mark = nil
        }
        if resetting { StreamSocket.reset(descriptor) } else { StreamSocket.close(descriptor) }
        descriptor = -1
        state = [.inputEnded, .broken]
    }
}
