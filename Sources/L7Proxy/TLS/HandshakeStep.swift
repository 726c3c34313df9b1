// SPDX-License-Identifier: Apache-2.0

import Identity
import LinuxIO
import Synchronization
import TLSEngine

/// One step of one connection's handshake, in which OpenSSL takes what has come and writes what that asks for: a millisecond, for
/// two signatures and what is around them.
///
/// It holds all that the step needs, so that any thread can make it: ``SecureChannel`` gives its session away meanwhile. Of one
/// thread at a time, which it is handed to by a queue: that is why it may be sent. Its memory is the worker's to make and to free.
final class HandshakeStep: @unchecked Sendable {
    /// Whose it is. It may have gone when the step is done.
    let connection: SlabHandle
    /// CLOCK_MONOTONIC in nanoseconds, when it was begun.
    let begunAt: UInt64
    private let now: UnixTime
    private let abandoned = Atomic(false)
    private var session: TLSSession?
    private var input = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    private var room = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    private(set) var inputHasEnded = false
    /// Bytes of the input that were used, and of the output that were made.
    private(set) var consumed = 0
    private var produced = 0
    private(set) var result: Result<TLSSession.Handshake, TLSError> = .success(.needsInput)

    init(_ connection: SlabHandle, at nanoseconds: UInt64, now: UnixTime) {
        self.connection = connection
        begunAt = nanoseconds
        self.now = now
    }

    deinit { free() }

    /// - Parameter input: Whole records, which are copied.
    func begin(_ session: consuming TLSSession, _ input: UnsafeRawBufferPointer, inputHasEnded: Bool) {
        self.session = consume session
        self.inputHasEnded = inputHasEnded
        self.input = .allocate(byteCount: max(1, input.count), alignment: 1)
        self.input.copyMemory(from: input)
        self.input = UnsafeMutableRawBufferPointer(rebasing: self.input[..<input.count])
        // What a block of the pool takes afterwards.
        room = .allocate(byteCount: BufferPool.blockSize, alignment: 16)
    }

    /// Nobody waits for it any more.
    func abandon() { abandoned.store(true, ordering: .relaxed) }

    var isAbandoned: Bool { abandoned.load(ordering: .relaxed) }

    /// Makes the step, unless it is abandoned.
    func make() {
        guard !isAbandoned else { return }
        var wire = TLSWire(input: UnsafeRawBufferPointer(input), inputHasEnded: inputHasEnded, output: room)
        do throws(TLSError) {
            result = .success(try session?.handshake(&wire, now: now) ?? .needsInput)
        } catch { result = .failure(error) }
        (consumed, produced) = (wire.consumed, wire.produced)
    }

    /// What is to be sent. Valid until ``free()``.
    var output: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: room[..<produced]) }

    func takeSession() -> TLSSession? { session.take() }

    /// Gives everything back: the worker does, when the step has ended.
    func free() {
        session = nil
        input.baseAddress?.deallocate()
        room.baseAddress?.deallocate()
        input = UnsafeMutableRawBufferPointer(start: nil, count: 0)
        room = input
        produced = 0
    }
}
