// SPDX-License-Identifier: Apache-2.0

import Identity
import LinuxIO
import TLSEngine

/// A stream socket whose bytes go through a TLS session: a ``Channel`` of records, and what was in them.
///
/// Plaintext is never kept here: it is decrypted in the place of the records, and used up at once, and encrypted from the
/// caller's memory into the channel's output, for which there must be room before. What an idle connection keeps is the
/// session's keys alone: blocks go back to the pool in ``relax(_:)``, after each turn, and what OpenSSL's ciphers need to the
/// heap, after each use while hardly anything moves: at first, and after a call of ``rest()`` that has found it so.
///
/// A socket whose keys the kernel has (kTLS) would be read and written in clear by ``receive(_:)`` and
/// ``send(_:)``; nothing else would change for whoever uses them.
struct SecureChannel: ~Copyable {
    enum Handshake {
        case done
        /// The peer has to send something, or to take something.
        case waiting
        case failed(TLSError)
        /// The socket broke, or ended.
        case broken
        case noMemory
    }

    /// What has come.
    struct Input {
        enum State {
            /// Nothing has come since, if there are no bytes.
            case nothing
            /// The peer has said that nothing follows.
            case ended
            case failed(TLSError)
            /// The socket broke, or ended without a word.
            case broken
            case noMemory
        }

        /// Decrypted; they come before ``state``.
        var bytes = UnsafeRawBufferPointer(start: nil, count: 0)
        var state: State

        init(_ state: State) { self.state = state }
    }

    /// Room in the output below which no record is begun.
    static let leastRoom = 2048

    var channel = Channel()
    private var session: TLSSession?
    /// Bytes that have gone through the session since ``rest()``, both ways.
    private var moved = 0
    /// So few have that what ciphers need is given back after each use.
    private var isResting = true
    /// What both ends say in an interval of pings to begin, or to be known alive: settings, windows, PINGs.
    private static let murmur = 256

    /// Whose the other end is; `nil` before its certificate was accepted.
    var peer: SPIFFEID? {
        switch session {
        case .some(let session): session.peer
        case .none: nil
        }
    }

    private var isServer: Bool {
        switch session {
        case .some(let session): session.role == .server
        case .none: false
        }
    }

    /// Begins on a connected socket. - Parameter descriptor: Owned from now on.
    mutating func begin(_ descriptor: CInt, _ session: consuming TLSSession) {
        channel = Channel()
        channel.descriptor = descriptor
        self.session = consume session
        moved = 0
        isResting = true
    }

    /// Begins a step of the handshake: what has come goes with the session into `step`, for whatever thread makes it.
    ///
    /// - Returns: `nil` if the step was begun; then ``end(_:_:)`` is next, and nothing else meanwhile but ``close(_:resetting:)``.
    mutating func begin(_ step: HandshakeStep, _ pool: inout BufferPool) -> Handshake? {
        // What the last step has made goes first: so there is room for what this one makes.
        switch channel.flush() {
        case .done: break
        case .blocked: return .waiting
        case .broken: return .broken
        }
        var hasEnded = false
        switch channel.fill(&pool) {
        case .received, .full, .nothing: break
        case .ended, .broken: hasEnded = true
        case .noMemory: return .noMemory
        }
        let input = channel.input.bytes
        let whole = hasEnded ? input.count : TLSRecords.whole(in: input)
        // Who has said nothing yet, or not all, costs no more than this.
        if whole == 0, !hasEnded, isServer || channel.received > 0 { return .waiting }
        guard let session = session.take() else { return .broken }
        step.begin(session, UnsafeRawBufferPointer(rebasing: input[..<whole]), inputHasEnded: hasEnded)
        return nil
    }

    /// Takes back what ``begin(_:_:)`` has given, and sends what the step has made.
    mutating func end(_ step: HandshakeStep, _ pool: inout BufferPool) -> Handshake {
        session = step.takeSession()
        channel.input.start &+= step.consumed
        // An alert too: the peer is told why.
        guard channel.output.borrow(&pool) else { return .noMemory }
        channel.output.space.copyMemory(from: step.output)
        channel.output.end &+= step.output.count
        let flushed = channel.flush()
        switch step.result {
        case .failure(let error):
            // What came meanwhile: unread it would make a reset of the end, which can overtake the alert.
            _ = channel.fill(&pool)
            return .failed(error)
        case .success(let state):
            if case .broken = flushed { return .broken }
            if state == .done {
                count(0)
                return .done
            }
            return step.inputHasEnded ? .broken : .waiting
        }
    }

    /// Reads and decrypts whole records: those that one block holds. They are decrypted in place, and lent until the next call
    /// of this or of ``relax(_:)``.
    mutating func receive(_ pool: inout BufferPool) -> Input {
        while true {
            let input = channel.input.isEmpty ? Input(.nothing) : decrypt()
            if case .nothing = input.state, input.bytes.isEmpty {} else { return input }
            switch channel.fillMuch(&pool) {
            case .received: continue
            case .nothing: return Input(.nothing)
            case .ended, .broken, .full: return Input(.broken)
            case .noMemory: return Input(.noMemory)
            }
        }
    }

    private mutating func decrypt() -> Input {
        let memory = channel.input.mutableBytes
        var input = Input(.nothing)
        var count = 0
        var wire = wire()
        do throws(TLSError) {
            reading: while wire.consumed < wire.input.count {
                // What was in records stands where they stood: it is shorter than they were.
                let space = UnsafeMutableRawBufferPointer(rebasing: memory[count...])
                switch try session?.read(&wire, into: space) {
                case .transferred(let read): count &+= read
                case .needsInput: break reading
                case .endOfStream:
                    input.state = .ended
                    break reading
                // An answer to a KeyUpdate goes with the next record that is written: reading asks for no room.
                case .needsOutput, nil:
                    input.state = .broken
                    break reading
                }
            }
        } catch { input.state = .failed(error) }
        take(wire)
        self.count(count)
        input.bytes = UnsafeRawBufferPointer(rebasing: memory[..<count])
        return input
    }

    /// What one call of the session may use.
    private func wire() -> TLSWire {
        let input = channel.input.bytes
        return TLSWire(
            input: UnsafeRawBufferPointer(rebasing: input[..<TLSRecords.whole(in: input)]), output: channel.output.space
        )
    }

    private mutating func take(_ wire: TLSWire) {
        channel.input.start &+= wire.consumed
        channel.output.end &+= wire.produced
    }

    // MARK: Sending

    /// Bytes that ``send(_:)`` takes now, of one record; 0 if the output must be flushed first.
    mutating func room(_ pool: inout BufferPool) -> Int {
        if channel.state.contains(.sendsMuch), channel.output.isEmpty { channel.output.enlarge(&pool) }
        guard channel.output.borrow(&pool) else { return 0 }
        let room = channel.output.room
        return room < Self.leastRoom ? 0 : min(TLSSession.maximumRecord, room &- TLSSession.leastRoom)
    }

    /// Encrypts bytes into the output. - Precondition: They are not more than ``room(_:)``.
    mutating func send(_ bytes: UnsafeRawBufferPointer) -> TLSError? {
        var wire = TLSWire(input: UnsafeRawBufferPointer(start: nil, count: 0), output: channel.output.space)
        defer {
            channel.output.end &+= wire.produced
            count(bytes.count)
        }
        do throws(TLSError) {
            let progress = try session?.write(&wire, bytes)
            precondition(progress == .transferred(bytes.count), "a record was begun that does not fit")
            return nil
        } catch { return error }
    }

    /// Adds close_notify to the output, or the alert that says why reading has failed, if there is room for it.
    mutating func sayGoodbye(_ pool: inout BufferPool) {
        guard room(&pool) > 0 else { return }
        var wire = TLSWire(input: UnsafeRawBufferPointer(start: nil, count: 0), output: channel.output.space)
        _ = try? session?.close(&wire)
        channel.output.end &+= wire.produced
    }

    // MARK: Rest and end

    /// Gives blocks back that hold nothing.
    mutating func relax(_ pool: inout BufferPool) { channel.relax(&pool) }

    /// Gives back what ciphers need if hardly anything has gone through the session since the last call.
    mutating func rest() {
        isResting = moved <= Self.murmur
        moved = 0
        count(0)
    }

    /// Takes note of bytes that have gone through the session.
    private mutating func count(_ bytes: Int) {
        moved &+= bytes
        if moved > Self.murmur {
            isResting = false
        } else if isResting, channel.input.isEmpty {
            session?.releaseBuffers()
        }
    }

    /// Why the peer would not be accepted any more; `nil` if it would.
    func peerRejection(trusting peers: VerifiedPeers) -> SVIDRejection? {
        switch session {
        case .some(let session): session.peerRejection(trusting: peers)
        case .none: nil
        }
    }

    mutating func close(_ pool: inout BufferPool, resetting: Bool = false) {
        channel.close(&pool, resetting: resetting)
        session = nil
    }
}
