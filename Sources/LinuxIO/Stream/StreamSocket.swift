// SPDX-License-Identifier: Apache-2.0

import CLinux

/// An address and a port of a socket, IPv4 as `::ffff:a.b.c.d`.
public struct StreamEndpoint: Hashable, Sendable, BitwiseCopyable {
    /// The first and the last eight bytes of the address, the first byte most significant.
    public var high: UInt64
    public var low: UInt64
    public var port: UInt16

    public init(high: UInt64, low: UInt64, port: UInt16) {
        self.high = high
        self.low = low
        self.port = port
    }

    /// 127.0.0.1.
    public static func loopback(port: UInt16) -> StreamEndpoint {
        StreamEndpoint(high: 0, low: 0xffff_7f00_0001, port: port)
    }

    init(_ endpoint: clinux_endpoint) {
        let words = endpoint.words
        high = UInt64(UInt32(bigEndian: words.0)) << 32 | UInt64(UInt32(bigEndian: words.1))
        low = UInt64(UInt32(bigEndian: words.2)) << 32 | UInt64(UInt32(bigEndian: words.3))
        port = endpoint.port
    }

    var raw: clinux_endpoint {
        clinux_endpoint(
            words: (
                UInt32(truncatingIfNeeded: high >> 32).bigEndian, UInt32(truncatingIfNeeded: high).bigEndian,
                UInt32(truncatingIfNeeded: low >> 32).bigEndian, UInt32(truncatingIfNeeded: low).bigEndian
            ), port: port)
    }
}

/// The system calls of a non-blocking stream socket, for a loop that decides by their result alone.
///
/// Each returns what the call returns, or `-errno`: no error value is made on a path that runs for every message.
/// Descriptors are lent; whoever calls owns them.
public enum StreamSocket {
    /// `-errno` values that are no failures.
    public static let wouldBlock = -Int(clinux_again)
    public static let inProgress = -Int(clinux_in_progress)
    public static let interrupted = -Int(clinux_interrupted)
    /// The process may have no more descriptors.
    public static let noDescriptors = -Int(clinux_too_many_files)

    /// recv(2). - Returns: Bytes received, 0 at the end of the stream, or `-errno`.
    public static func receive(_ descriptor: CInt, _ memory: UnsafeMutableRawPointer, _ count: Int) -> Int {
        clinux_receive(descriptor, memory, count)
    }

    /// Whether there is neither a byte, an end nor an error to receive now.
    public static func isQuiet(_ descriptor: CInt) -> Bool {
        var byte: UInt8 = 0
        return clinux_peek(descriptor, &byte, 1) == wouldBlock
    }

    /// send(2) without SIGPIPE. - Returns: Bytes taken, or `-errno`.
    ///
    /// - Parameter more: More follows at once (MSG_MORE), so that the kernel need not send a small segment.
    public static func send(
        _ descriptor: CInt, _ memory: UnsafeRawPointer, _ count: Int, more: Bool = false
    ) -> Int {
        clinux_send(descriptor, memory, count, more ? 1 : 0)
    }

    /// accept4(2), non-blocking and close-on-exec. - Returns: A descriptor that the caller owns, or `-errno`.
    public static func accept(_ descriptor: CInt, from peer: inout StreamEndpoint) -> Int {
        var raw = clinux_endpoint()
        let accepted = clinux_accept(descriptor, &raw)
        peer = StreamEndpoint(raw)
        return Int(accepted)
    }

    /// Begins to connect a new socket of the calling thread's namespace, with TCP_NODELAY.
    ///
    /// - Returns: A descriptor that the caller owns, writable when it is connected; or `-errno`.
    public static func connect(to endpoint: StreamEndpoint) -> Int {
        var raw = endpoint.raw
        var status: CInt = 0
        return Int(clinux_connect(&raw, &status))
    }

    /// Begins to connect a socket that was made elsewhere. - Returns: 0, ``inProgress`` or another `-errno`.
    public static func connect(_ descriptor: CInt, to endpoint: StreamEndpoint) -> Int {
        var raw = endpoint.raw
        return Int(clinux_connect_socket(descriptor, &raw))
    }

    /// - Throws: ``SystemError``; EADDRINUSE if something else listens there.
    public static func listen(
        at endpoint: StreamEndpoint, backlog: CInt = 4096
    ) throws(SystemError) -> OwnedDescriptor {
        var raw = endpoint.raw
        let descriptor = clinux_listen(&raw, backlog)
        guard descriptor >= 0 else { throw SystemError("listen", "port \(endpoint.port)", errnoCode: -descriptor) }
        return OwnedDescriptor(adopting: descriptor)
    }

    /// The address that the socket is bound to; `nil` if it is no socket.
    public static func localEndpoint(_ descriptor: CInt) -> StreamEndpoint? {
        var raw = clinux_endpoint()
        return clinux_local_endpoint(descriptor, &raw) == 0 ? StreamEndpoint(raw) : nil
    }

    /// SO_ERROR: 0 if the socket is connected, or `-errno`.
    public static func pendingError(_ descriptor: CInt) -> Int { Int(clinux_pending_error(descriptor)) }

    /// Makes a socket that came from elsewhere fit for the loop. - Returns: 0 or `-errno`.
    public static func prepare(_ descriptor: CInt) -> Int {
        let status = clinux_non_blocking(descriptor)
        return Int(status == 0 ? clinux_no_delay(descriptor) : status)
    }

    /// shutdown(SHUT_WR): the peer reads the end of the stream. - Returns: 0 or `-errno`.
    @discardableResult
    public static func endOutput(_ descriptor: CInt) -> Int { Int(clinux_end_output(descriptor)) }

    /// Two connected ends of the machine, non-blocking.
    ///
    /// - Throws: ``SystemError``; EMFILE if the process may have no more descriptors.
    public static func pair() throws(SystemError) -> (CInt, CInt) {
        var ends: [CInt] = [-1, -1]
        let status = clinux_stream_pair(&ends)
        guard status == 0 else { throw SystemError("socketpair", errnoCode: -status) }
        return (ends[0], ends[1])
    }

    /// Ends listening, in whatever process the socket is open: who waits to be accepted is reset (inet_shutdown in
    /// net/ipv4/af_inet.c). - Returns: 0 or `-errno`.
    @discardableResult
    public static func endListening(_ descriptor: CInt) -> Int { Int(clinux_end_listening(descriptor)) }

    /// Takes the descriptor and closes it. Unread input makes the kernel send a reset.
    public static func close(_ descriptor: CInt) { _ = clinux_close(descriptor) }

    /// Takes the descriptor and closes it with a reset: the peer must not take the end for a complete message.
    public static func reset(_ descriptor: CInt) { _ = clinux_reset(descriptor) }
}
