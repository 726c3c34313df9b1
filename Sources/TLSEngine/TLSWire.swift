// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL

/// What a session may read and write during one call: the caller's own memory, with records in it.
public struct TLSWire: BitwiseCopyable {
    /// What was received and not used before.
    public let input: UnsafeRawBufferPointer
    /// Nothing will follow ``input``.
    public let inputHasEnded: Bool
    /// Room for what is to be sent.
    public let output: UnsafeMutableRawBufferPointer
    /// Bytes of ``input`` that were used.
    public internal(set) var consumed = 0
    /// Bytes of ``output`` that were filled.
    public internal(set) var produced = 0

    public init(input: UnsafeRawBufferPointer, inputHasEnded: Bool = false, output: UnsafeMutableRawBufferPointer) {
        self.input = input
        self.inputHasEnded = inputHasEnded
        self.output = output
    }

    /// Bytes of ``output`` that are free.
    @inline(__always)
    var room: Int { output.count &- produced }
}

/// OpenSSL's way to the wire: a BIO that copies to and from the memory of the call that is going on.
///
/// In the place of a socket, so that the worker reads and writes sockets as it does for connections in clear. Handshakes go
/// through it, and nothing else.
enum TLSWireBIO {
    /// Made once for the process.
    private static let method: Method = Method()

    /// OpenSSL never changes a method after it was made.
    private struct Method: @unchecked Sendable {
        let pointer: OpaquePointer?

        init() {
            pointer = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "mesh wire")
            guard let pointer else { return }
            BIO_meth_set_read(pointer, TLSWireBIO.read)
            BIO_meth_set_write(pointer, TLSWireBIO.write)
            BIO_meth_set_ctrl(pointer, TLSWireBIO.control)
        }
    }

    /// - Parameter state: Stays where it is for as long as the BIO lives.
    static func make(_ state: UnsafeMutablePointer<TLSSessionState>) -> OpaquePointer? {
        guard let method = method.pointer, let bio = BIO_new(method) else { return nil }
        BIO_set_data(bio, state)
        BIO_set_init(bio, 1)
        return bio
    }

    @inline(__always)
    private static func state(_ bio: OpaquePointer?) -> UnsafeMutablePointer<TLSSessionState>? {
        BIO_get_data(bio)?.assumingMemoryBound(to: TLSSessionState.self)
    }

    private static let read: @convention(c) (OpaquePointer?, UnsafeMutablePointer<CChar>?, CInt) -> CInt = {
        bio, buffer, length in
        mesh_bio_clear_retry(bio)
        guard let buffer, let state = state(bio) else { return -1 }
        let count = min(Int(length), state.pointee.wire.input.count &- state.pointee.wire.consumed)
        guard count > 0, let start = state.pointee.wire.input.baseAddress else {
            if state.pointee.wire.inputHasEnded { return 0 }
            mesh_bio_retry_read(bio)
            return -1
        }
        UnsafeMutableRawPointer(buffer).copyMemory(from: start + state.pointee.wire.consumed, byteCount: count)
        state.pointee.wire.consumed &+= count
        return CInt(truncatingIfNeeded: count)
    }

    private static let write: @convention(c) (OpaquePointer?, UnsafePointer<CChar>?, CInt) -> CInt = {
        bio, buffer, length in
        mesh_bio_clear_retry(bio)
        guard let buffer, let state = state(bio) else { return -1 }
        let count = min(Int(length), state.pointee.wire.room)
        guard count > 0, let start = state.pointee.wire.output.baseAddress else {
            mesh_bio_retry_write(bio)
            return -1
        }
        (start + state.pointee.wire.produced).copyMemory(from: UnsafeRawPointer(buffer), byteCount: count)
        state.pointee.wire.produced &+= count
        return CInt(truncatingIfNeeded: count)
    }

    private static let control: @convention(c) (OpaquePointer?, CInt, Int, UnsafeMutableRawPointer?) -> Int = {
        bio, command, _, _ in
        switch command {
        case BIO_CTRL_FLUSH, BIO_CTRL_DUP: return 1
        case BIO_CTRL_EOF:
            guard let state = state(bio) else { return 1 }
            return state.pointee.wire.inputHasEnded && state.pointee.wire.consumed == state.pointee.wire.input.count
                ? 1 : 0
        // Everything else is a question whether the BIO can do something that it cannot.
        default: return 0
        }
    }
}
