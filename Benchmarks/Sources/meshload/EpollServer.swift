// SPDX-License-Identifier: Apache-2.0
import CLoad
import Glibc

/// Request and response for many connections on one thread.
final class EpollServer {
    private static let batch = 64

    private let listener: Int32
    private let epoll: Socket
    private let events: UnsafeMutablePointer<epoll_event>
    private let buffer = Buffer(count: 1 << 20)
    /// State by descriptor; a connection that is not open has `expected == 0`.
    private let connections: UnsafeMutablePointer<Connection>
    private static let capacity = 4096

    private struct Connection {
        var request = 0
        var response = 0
        /// Bytes of the current request that are still to come.
        var expected = 0
        /// The first bytes of the request, which the response repeats.
        var first: UInt64 = 0
    }

    init(_ listener: borrowing Socket) throws(LoadError) {
        self.listener = listener.descriptor
        let descriptor = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard descriptor >= 0 else { throw LoadError(call: "epoll_create1") }
        epoll = Socket(adopting: descriptor)
        events = .allocate(capacity: Self.batch)
        connections = .allocate(capacity: Self.capacity)
        connections.initialize(repeating: Connection(), count: Self.capacity)
        try watch(self.listener)
    }

    deinit {
        events.deallocate()
        connections.deallocate()
    }

    func run() throws(LoadError) -> Never {
        while true {
            let ready = epoll_wait(epoll.descriptor, events, Int32(Self.batch), -1)
            guard ready >= 0 || errno == EINTR else { throw LoadError(call: "epoll_wait") }
            for index in 0..<max(0, Int(ready)) {
                let descriptor = events[index].data.fd
                if descriptor == listener { try open() } else { serve(descriptor) }
            }
        }
    }

    private func watch(_ descriptor: Int32) throws(LoadError) {
        var event = epoll_event(events: EPOLLIN.rawValue, data: epoll_data_t(fd: descriptor))
        guard epoll_ctl(epoll.descriptor, EPOLL_CTL_ADD, descriptor, &event) == 0 else {
            throw LoadError(call: "epoll_ctl")
        }
    }

    private func open() throws(LoadError) {
        let descriptor = accept(listener, nil, nil)
        guard descriptor >= 0 else { return }
        let socket = Socket(adopting: descriptor)
        guard descriptor < Self.capacity, let header = try Header.receive(on: socket) else { return }
        try? socket.setNoDelay()  // a UNIX socket has no such option
        let request = Int(header.requestSize)
        guard request <= buffer.count, Int(header.responseSize) <= buffer.count else {
            throw LoadError("requests and responses are at most \(buffer.count) bytes")
        }
        connections[Int(descriptor)] = Connection(
            request: request, response: Int(header.responseSize), expected: request)
        try watch(socket.relinquish())
    }

    private func serve(_ descriptor: Int32) {
        let connection = connections + Int(descriptor)
        let received = recv(descriptor, buffer.base, connection.pointee.expected, Int32(MSG_DONTWAIT))
        if received < 0 && (errno == EAGAIN || errno == EINTR) { return }
        guard received > 0 else {
            close(descriptor)
            return
        }
        if connection.pointee.expected == connection.pointee.request && received >= 8 {
            connection.pointee.first = buffer.base.loadUnaligned(as: UInt64.self)
        }
        connection.pointee.expected -= received
        guard connection.pointee.expected == 0 else { return }
        connection.pointee.expected = connection.pointee.request
        if connection.pointee.request >= 8 {
            buffer.base.storeBytes(of: connection.pointee.first, as: UInt64.self)
        }
        // One response is outstanding for each connection, so it always fits the send buffer.
        if send(descriptor, buffer.base, connection.pointee.response, Int32(MSG_NOSIGNAL)) < 0 { close(descriptor) }
    }
}
