// SPDX-License-Identifier: Apache-2.0

import Identity
import LinuxIO
import TLSEngine

/// Frames over TLS over a stream socket, in a loop: what an authority and its nodes have between them.
///
/// Belongs to the thread of its loop. Ends once, with a reason or without one, and calls nothing after that.
final class TLSChannel {
    private enum State {
        case connecting, handshaking, open, closing, ended
    }

    /// Bytes received and not yet decrypted, at which reading stops.
    private static let mostReceived = 64 << 10
    /// Bytes that wait to be sent, at which a peer that does not read is left.
    private static let mostWaiting = 3 * AuthorityAnswer.maximumBytes

    /// The handshake is done. ``peer`` says who is there.
    var onOpen: () -> Void = {}
    var onFrame: ([UInt8]) -> Void = { _ in }
    /// - Parameter reason: Why; `nil` if this end or the peer has closed as it should be.
    var onEnd: (_ reason: String?) -> Void = { _ in }

    private let loop: EventLoop
    private let descriptor: OwnedDescriptor
    private var session: TLSSession
    private var frames: FrameReader
    private var state: State
    private var watch: EventLoop.Watch?
    private var deadline: EventLoop.Timer?
    private var inputHasEnded = false
    /// Records.
    private var received: [UInt8] = []
    private var sending: [UInt8] = []
    /// Not encrypted yet.
    private var waiting: [UInt8] = []

    /// - Parameters:
    ///   - socket: non-blocking; connected, or connecting for a client.
    ///   - limit: longest frame of the peer, in bytes.
    init(
        _ socket: consuming OwnedDescriptor, _ context: borrowing TLSContext, expecting peer: PeerExpectation,
        frameLimit limit: Int, on loop: EventLoop
    ) {
        self.loop = loop
        state = context.role == .client ? .connecting : .handshaking
        session = TLSSession(context, expecting: peer)
        frames = FrameReader(limit: limit)
        descriptor = socket
    }

    deinit {
        if let watch { loop.unwatch(watch) }
        if let deadline { loop.cancel(deadline) }
    }

    /// Who the peer is; `nil` if it has shown no certificate.
    var peer: SPIFFEID? { session.peer }

    /// Whether it is not known yet who the peer is.
    var isShakingHands: Bool { state == .connecting || state == .handshaking }

    /// Why the peer's certificate would not be accepted any more; `nil` if it would, or if none has been accepted.
    func peerRejection(trusting peers: VerifiedPeers) -> SVIDRejection? {
        guard !isShakingHands, session.peer != nil else { return nil }
        return session.peerRejection(trusting: peers)
    }

    /// Begins; ``onEnd`` is not called before this returns.
    func start() throws(SystemError) {
        watch = try loop.watch(descriptor.rawValue, for: [.readable, .writable]) { [weak self] readiness in
            self?.turn(isReadable: readiness != .writable)
        }
    }

    /// Ends the channel at that time, unless it is called again before.
    func setDeadline(_ delay: Duration, _ reason: String) {
        if let deadline { loop.cancel(deadline) }
        deadline = loop.schedule(after: delay) { [weak self] in self?.end(reason) }
    }

    /// Sends a frame, or as much of it as there is room for now, and the rest when there is.
    func send(_ body: [UInt8]) {
        guard state == .open else { return }
        waiting += FrameReader.frame(body)
        guard waiting.count + sending.count <= Self.mostWaiting else {
            return end("the peer does not read its answers")
        }
        flush()
    }

    /// Says that nothing follows, sends what waits, and ends.
    func close() {
        guard state == .open else { return end(nil) }
        state = .closing
        flush()
    }

    /// Ends now.
    func end(_ reason: String?) {
        guard state != .ended else { return }
        state = .ended
        if let watch { loop.unwatch(watch) }
        if let deadline { loop.cancel(deadline) }
        (watch, deadline) = (nil, nil)
        onEnd(reason)
    }

    // MARK: - Work

    private func turn(isReadable: Bool) {
        if state == .connecting {
            let error = StreamSocket.pendingError(descriptor.rawValue)
            guard error == 0 else { return end("connect: \(SystemError.message(of: CInt(-error)))") }
            state = .handshaking
        }
        if isReadable, !receive() { return }
        do throws(TLSError) {
            if state == .handshaking { try shakeHands() }
            if state == .open { try readFrames() }
        } catch {
            // An alert, for the peer's log.
            _ = sendRecords()
            return end(error.description)
        }
        if state == .open, inputHasEnded { return end("the peer ended the connection without saying so") }
        if state == .handshaking, inputHasEnded { return end("the peer ended the connection in the handshake") }
        flush()
    }

    /// - Returns: Whether the connection still is.
    private func receive() -> Bool {
        withUnsafeTemporaryAllocation(byteCount: 16 << 10, alignment: 1) { buffer in
            guard let start = buffer.baseAddress else { return true }
            while received.count < Self.mostReceived, !inputHasEnded {
                let count = StreamSocket.receive(descriptor.rawValue, start, buffer.count)
                if count == StreamSocket.wouldBlock { return true }
                if count == StreamSocket.interrupted { continue }
                guard count >= 0 else {
                    end("receive: \(SystemError.message(of: CInt(-count)))")
                    return false
                }
                if count == 0 { inputHasEnded = true }
                received.append(contentsOf: UnsafeRawBufferPointer(start: start, count: count))
            }
            return true
        }
    }

    private func shakeHands() throws(TLSError) {
        while true {
            switch try call({ session, wire throws(TLSError) in try session.handshake(&wire, now: .now) }) {
            case .done:
                state = .open
                return onOpen()
            case .needsInput: return
            case .needsOutput: continue
            }
        }
    }

    private func readFrames() throws(TLSError) {
        var plain = [UInt8](repeating: 0, count: TLSSession.maximumRecord)
        while state == .open {
            let progress = try call { session, wire throws(TLSError) in
                var result = TLSSession.Progress.needsInput
                var failure: TLSError?
                plain.withUnsafeMutableBytes { space in
                    do throws(TLSError) { result = try session.read(&wire, into: space) } catch { failure = error }
                }
                if let failure { throw failure }
                return result
            }
            switch progress {
            case .transferred(let count):
                plain[..<count].withUnsafeBytes { frames.append($0) }
                try takeFrames()
            case .needsOutput: continue
            case .needsInput: return
            case .endOfStream: return end(nil)
            }
        }
    }

    private func takeFrames() throws(TLSError) {
        do throws(FrameReader.Oversized) {
            while state == .open, let frame = try frames.next() { onFrame(frame) }
        } catch { throw TLSError("read", reason: error.description) }
    }

    /// Encrypts and sends what waits, and says what to wait for.
    private func flush() {
        guard state == .open || state == .closing || state == .handshaking else { return }
        do throws(TLSError) {
            while state != .handshaking, !waiting.isEmpty, sending.count < Self.mostReceived { try encryptOne() }
            if state == .closing, waiting.isEmpty {
                _ = try call { session, wire throws(TLSError) in try session.close(&wire) }
            }
        } catch { return end(error.description) }
        guard sendRecords() else { return }
        if state == .closing, waiting.isEmpty, sending.isEmpty { return end(nil) }
        guard let watch else { return }
        // What ends, or has ended, is not read any more.
        let reads = state != .closing && !inputHasEnded
        let interest: EventLoop.Readiness =
            !reads ? .writable : sending.isEmpty && waiting.isEmpty ? .readable : [.readable, .writable]
        do throws(SystemError) { try loop.rewatch(watch, for: interest) } catch { end("\(error)") }
    }

    private func encryptOne() throws(TLSError) {
        let record = Array(waiting.prefix(TLSSession.maximumRecord))
        let progress = try call { session, wire throws(TLSError) in
            var result = TLSSession.Progress.needsOutput
            var failure: TLSError?
            record.withUnsafeBytes { bytes in
                do throws(TLSError) { result = try session.write(&wire, bytes) } catch { failure = error }
            }
            if let failure { throw failure }
            return result
        }
        // There is room for a record and more, and nothing of TLS 1.3 makes a writer wait for input.
        guard case .transferred(let count) = progress else { throw TLSError("write", reason: "nothing can be written") }
        waiting.removeFirst(count)
    }

    /// - Returns: Whether the connection still is.
    private func sendRecords() -> Bool {
        var sent = 0
        defer { sending.removeFirst(sent) }
        while sent < sending.count {
            let count = sending.withUnsafeBytes { bytes in
                bytes.baseAddress.map { StreamSocket.send(descriptor.rawValue, $0 + sent, bytes.count - sent) } ?? 0
            }
            if count == StreamSocket.wouldBlock { return true }
            if count == StreamSocket.interrupted { continue }
            guard count > 0 else {
                end("send: \(SystemError.message(of: CInt(-count)))")
                return false
            }
            sent += count
        }
        return true
    }

    /// Lends the session what was received, and keeps what it produces.
    private func call<Value>(
        _ body: (inout TLSSession, inout TLSWire) throws(TLSError) -> Value
    ) throws(TLSError) -> Value {
        var result: Result<Value, TLSError>?
        var consumed = 0
        received.withUnsafeBytes { input in
            withUnsafeTemporaryAllocation(byteCount: 32 << 10, alignment: 1) { output in
                var wire = TLSWire(input: input, inputHasEnded: inputHasEnded, output: output)
                result = Result { () throws(TLSError) in try body(&session, &wire) }
                consumed = wire.consumed
                sending.append(contentsOf: UnsafeRawBufferPointer(rebasing: output[..<wire.produced]))
            }
        }
        received.removeFirst(consumed)
        guard let result else { preconditionFailure("the call was made") }
        return try result.get()
    }
}

@available(*, unavailable)
extension TLSChannel: Sendable {}
