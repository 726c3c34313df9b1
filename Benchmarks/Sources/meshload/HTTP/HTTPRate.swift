// SPDX-License-Identifier: Apache-2.0
import CLoad
import Glibc

/// `http`: GET requests at a fixed rate over kept connections, open loop.
///
/// Requests are due at random moments (exponential distances, so that no two loops fall into step), and a latency counts
/// from the moment when its request was due: one that waits because all connections are busy has waited.
struct HTTPRate {
    let server: String
    let port: Int
    let path: String
    let rate: Double
    let connections: Int
    /// Bytes of each response's body.
    let body: Int
    let seconds: Double
    let warmUp: Double

    private static let timer = UInt64.max
    /// After the last request was due.
    private static let patience: UInt64 = 10_000_000_000

    private struct Connection {
        let descriptor: Int32
        var response = HTTPResponse()
        /// CLOCK_MONOTONIC nanoseconds.
        var dueAt: UInt64 = 0
    }

    func run() throws(LoadError) -> JSONObject {
        let epoll = Socket(adopting: epoll_create1(Int32(EPOLL_CLOEXEC)))
        let timer = Socket(adopting: timerfd_create(CLOCK_MONOTONIC, Int32(TFD_NONBLOCK | TFD_CLOEXEC)))
        try watch(epoll, timer.descriptor, Self.timer)
        var open: [Connection] = []
        defer { for connection in open { close(connection.descriptor) } }
        let endpoint = try Endpoint(server, port: port, offset: 0)
        for index in 0..<connections {
            let socket = try endpoint.connect()
            try socket.setNoDelay()
            try watch(epoll, socket.descriptor, UInt64(index))
            open.append(Connection(descriptor: socket.relinquish()))
        }
        var latency = Histogram()
        let before = Clock.processCPU()
        let asked = try load(epoll, timer, &open, &latency)
        var result = JSONObject()
        result.set("mode", "http")
        result.set("connections", connections)
        result.set("offered", rate)
        result.set("requests", Int(latency.count))
        result.set("per_second", Double(latency.count) / seconds)
        result.set(latency: latency)
        result.set("client_cpu_us", Double(Clock.processCPU() - before) / 1e3 / Double(asked))
        return result
    }

    /// - Returns: Requests in all.
    private func load(
        _ epoll: borrowing Socket, _ timer: borrowing Socket, _ open: inout [Connection], _ latency: inout Histogram
    ) throws(LoadError) -> Int {
        let request = Array("GET \(path) HTTP/1.1\r\nHost: \(server)\r\nUser-Agent: meshload\r\n\r\n".utf8)
        let buffer = Buffer(count: 64 << 10)
        var events = [epoll_event](repeating: epoll_event(), count: 64)
        var idle = Array(open.indices)
        var firstIdle = 0
        var idleCount = open.count
        var asked = 0
        let started = Clock.now()
        let measureFrom = started + UInt64(warmUp * 1e9)
        let end = measureFrom + UInt64(seconds * 1e9)
        var due = started
        while true {
            var now = Clock.now()
            while due <= now, due < end, idleCount > 0 {
                let index = idle[firstIdle]
                firstIdle = (firstIdle + 1) % idle.count
                idleCount -= 1
                open[index].dueAt = due
                guard send(open[index].descriptor, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else {
                    throw LoadError(call: "send")
                }
                asked += 1
                due += distance()
            }
            if due >= end, idleCount == open.count { return asked }
            guard now < end + Self.patience else { throw LoadError("http: no response for 10 s") }
            if due < end, idleCount > 0 { arm(timer, due) }
            let ready = epoll_wait(epoll.descriptor, &events, 64, 1000)
            guard ready >= 0 || errno == EINTR else { throw LoadError(call: "epoll_wait") }
            now = Clock.now()
            for event in events.prefix(max(0, Int(ready))) {
                guard event.data.u64 != Self.timer else {
                    var count: UInt64 = 0
                    _ = read(timer.descriptor, &count, 8)
                    continue
                }
                let index = Int(event.data.u64)
                guard try receive(&open[index], buffer) else { continue }
                if open[index].dueAt >= measureFrom { latency.record(now - open[index].dueAt) }
                idle[(firstIdle + idleCount) % idle.count] = index
                idleCount += 1
            }
        }
    }

    /// - Returns: Whether the response is complete.
    private func receive(_ connection: inout Connection, _ buffer: borrowing Buffer) throws(LoadError) -> Bool {
        let count = recv(connection.descriptor, buffer.base, buffer.count, Int32(MSG_DONTWAIT))
        if count < 0, errno == EAGAIN || errno == EINTR { return false }
        guard count > 0 else { throw LoadError(call: "recv of a response (0: the connection was closed)") }
        guard try connection.response.take(UnsafeRawBufferPointer(start: buffer.base, count: count)) else {
            return false
        }
        let (status, length) = (connection.response.status, connection.response.bodyLength)
        guard status == 200, length == body else {
            throw LoadError("http: status \(status) with \(length) bytes, expected 200 with \(body)")
        }
        return true
    }

    private func distance() -> UInt64 {
        UInt64(-log(Double.random(in: Double.leastNonzeroMagnitude...1)) / rate * 1e9) + 1
    }

    private func watch(_ epoll: borrowing Socket, _ descriptor: Int32, _ data: UInt64) throws(LoadError) {
        var event = epoll_event(events: EPOLLIN.rawValue, data: epoll_data_t(u64: data))
        guard epoll_ctl(epoll.descriptor, EPOLL_CTL_ADD, descriptor, &event) == 0 else {
            throw LoadError(call: "epoll_ctl")
        }
    }

    private func arm(_ timer: borrowing Socket, _ moment: UInt64) {
        var value = itimerspec()
        value.it_value = timespec(tv_sec: Int(moment / 1_000_000_000), tv_nsec: Int(moment % 1_000_000_000))
        timerfd_settime(timer.descriptor, Int32(TFD_TIMER_ABSTIME), &value, nil)
    }
}
