// SPDX-License-Identifier: Apache-2.0
import Glibc

/// A stream socket; closed when its owner lets it go.
struct Socket: ~Copyable {
    let descriptor: Int32

    /// - Throws: ``LoadError`` if the process is out of descriptors.
    init(family: Int32) throws(LoadError) {
        descriptor = Glibc.socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw LoadError(call: "socket") }
    }

    init(adopting descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    /// Gives the descriptor to an owner that Swift cannot see, such as a thread or an epoll set.
    consuming func relinquish() -> Int32 {
        let value = descriptor
        discard self
        return value
    }

    /// The next connection.
    func accept() throws(LoadError) -> Socket {
        while true {
            let accepted = Glibc.accept(descriptor, nil, nil)
            if accepted >= 0 { return Socket(adopting: accepted) }
            guard errno == EINTR || errno == ECONNABORTED || errno == EAGAIN else { throw LoadError(call: "accept") }
        }
    }

    func set(_ level: Int32, _ option: Int32, _ value: Int32) throws(LoadError) {
        var value = value
        guard setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size)) == 0 else {
            throw LoadError(call: "setsockopt(\(level), \(option), \(value))")
        }
    }

    /// Turns Nagle's algorithm off.
    func setNoDelay() throws(LoadError) { try set(Int32(IPPROTO_TCP), TCP_NODELAY, 1) }

    /// Sends all `count` bytes.
    ///
    /// - Throws: ``LoadError`` with the error of send(2).
    func sendAll(_ bytes: UnsafeRawPointer, _ count: Int) throws(LoadError) {
        var done = 0
        while done < count {
            let sent = send(descriptor, bytes + done, count - done, Int32(MSG_NOSIGNAL))
            if sent > 0 {
                done += sent
            } else if errno != EINTR {
                throw LoadError(call: "send")
            }
        }
    }

    /// At most `count` bytes; 0 at the end of the stream.
    ///
    /// A socket that the mesh redirects may wake without data and answer EAGAIN although it
    /// blocks (a signal, a second reader); applications retry, and so does this.
    func receive(_ buffer: UnsafeMutableRawPointer, _ count: Int, flags: Int32 = 0) throws(LoadError) -> Int {
        while true {
            let received = recv(descriptor, buffer, count, flags)
            if received >= 0 { return received }
            guard errno == EINTR || errno == EAGAIN else { throw LoadError(call: "recv") }
        }
    }

    /// Exactly `count` bytes; false if the stream ended before the first of them.
    ///
    /// - Throws: ``LoadError`` if the stream ends in between.
    func receiveAll(_ buffer: UnsafeMutableRawPointer, _ count: Int) throws(LoadError) -> Bool {
        var done = 0
        while done < count {
            let received = try receive(buffer + done, count - done)
            if received == 0 {
                guard done == 0 else { throw LoadError("recv: end of stream after \(done) of \(count) bytes") }
                return false
            }
            done += received
        }
        return true
    }

    func finishSending() throws(LoadError) {
        guard shutdown(descriptor, Int32(SHUT_WR)) == 0 else { throw LoadError(call: "shutdown(SHUT_WR)") }
    }
}

/// Memory of a loop: reserved before it, aligned to a page, freed with its owner.
struct Buffer: ~Copyable {
    let base: UnsafeMutableRawPointer
    let count: Int

    init(count: Int) {
        self.count = count
        base = .allocate(byteCount: max(count, 1), alignment: 4096)
        memset(base, 0, max(count, 1))
    }

    deinit { base.deallocate() }
}
