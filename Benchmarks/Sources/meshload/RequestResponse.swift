// SPDX-License-Identifier: Apache-2.0
import CLoad
import Glibc

/// `rr`: the time from sending a request to having its whole response, closed loop.
///
/// One connection blocks in recv(2); several share one thread through epoll, each with one
/// request outstanding. The first 8 bytes of a request number it, and must come back.
struct RequestResponse {
    let server: String
    let port: Int
    let request: Int
    let response: Int
    let connections: Int
    let seconds: Double
    let warmUp: Double

    func run() throws(LoadError) -> JSONObject {
        let control = try Endpoint(server, port: port, role: .blocking)
        let serverBefore = try ServerProcessor.read(control)
        let clientBefore = Clock.processCPU()
        var latency = Histogram()
        let started = Clock.now()
        if connections == 1 { try blocking(&latency) } else { try multiplexed(&latency) }
        let elapsed = Double(Clock.now() - started) / 1e9

        var result = JSONObject()
        result.set("mode", "rr")
        result.set("connections", connections)
        result.set("requests", Int(latency.count))
        result.set("per_second", Double(latency.count) / seconds)
        result.set(latency: latency)
        // Both processors' time covers the warm-up too: charge it to the requests in proportion.
        let requests = Double(latency.count) * elapsed / seconds
        result.set("client_cpu_us", Double(Clock.processCPU() - clientBefore) / 1e3 / requests)
        result.set("server_cpu_us", Double(try ServerProcessor.read(control) - serverBefore) / 1e3 / requests)
        return result
    }

    private func open(_ role: Endpoint.Role) throws(LoadError) -> Socket {
        let socket = try Endpoint(server, port: port, role: role).connect()
        try? socket.setNoDelay()  // a UNIX socket has no such option
        var header = Header(.requestResponse)
        header.requestSize = UInt32(request)
        header.responseSize = UInt32(response)
        try header.send(on: socket)
        return socket
    }

    private func blocking(_ latency: inout Histogram) throws(LoadError) {
        let socket = try open(.blocking)
        let buffer = Buffer(count: max(request, response, 8))
        let checked = min(request, response, 8)
        var number: UInt64 = 0
        var before = Clock.now()
        let measureFrom = before + UInt64(warmUp * 1e9)
        let end = measureFrom + UInt64(seconds * 1e9)
        while before < end {
            number &+= 1
            buffer.base.storeBytes(of: number, as: UInt64.self)
            try socket.sendAll(buffer.base, request)
            guard try socket.receiveAll(buffer.base, response) else {
                throw LoadError("rr: the server closed the connection after \(number) requests")
            }
            var sent = number
            guard memcmp(&sent, buffer.base, checked) == 0 else {
                throw LoadError("rr: response \(number) does not repeat its request")
            }
            let after = Clock.now()
            if before >= measureFrom { latency.record(after - before) }
            before = after
        }
    }

    private func multiplexed(_ latency: inout Histogram) throws(LoadError) {
        let epoll = Socket(adopting: epoll_create1(Int32(EPOLL_CLOEXEC)))
        let buffer = Buffer(count: max(request, response, 8))
        var open: [Outstanding] = []
        for index in 0..<connections {
            let descriptor = try self.open(.epoll).relinquish()
            open.append(Outstanding(descriptor: descriptor, whole: response))
            var event = epoll_event(events: EPOLLIN.rawValue, data: epoll_data_t(u64: UInt64(index)))
            guard epoll_ctl(epoll.descriptor, EPOLL_CTL_ADD, descriptor, &event) == 0 else {
                throw LoadError(call: "epoll_ctl")
            }
        }
        defer { for connection in open { close(connection.descriptor) } }
        var events = [epoll_event](repeating: epoll_event(), count: 64)
        let started = Clock.now()
        let measureFrom = started + UInt64(warmUp * 1e9)
        let end = measureFrom + UInt64(seconds * 1e9)
        for index in open.indices { try ask(&open[index], buffer, at: started) }
        var now = started
        while now < end {
            let ready = epoll_wait(epoll.descriptor, &events, 64, 10_000)
            guard ready != 0 else { throw LoadError("rr: no response on \(connections) connections for 10 s") }
            guard ready > 0 || errno == EINTR else { throw LoadError(call: "epoll_wait") }
            for index in 0..<max(0, Int(ready)) {
                let connection = Int(events[index].data.u64)
                guard try open[connection].receive(buffer, checked: min(request, response, 8)) else { continue }
                now = Clock.now()
                let sentAt = open[connection].sentAt
                if sentAt >= measureFrom && now < end { latency.record(now - sentAt) }
                try ask(&open[connection], buffer, at: now)
            }
        }
    }

    private func ask(_ connection: inout Outstanding, _ buffer: borrowing Buffer, at now: UInt64) throws(LoadError) {
        connection.number &+= 1
        connection.expected = response
        connection.sentAt = now
        buffer.base.storeBytes(of: connection.number, as: UInt64.self)
        // A request is at most what an idle connection's send buffer takes, so this does not block.
        guard send(connection.descriptor, buffer.base, request, Int32(MSG_NOSIGNAL)) == request else {
            throw LoadError(call: "send")
        }
    }

    private struct Outstanding {
        let descriptor: Int32
        /// Bytes of a response.
        let whole: Int
        /// Bytes of this response that are still to come.
        var expected = 0
        var number: UInt64 = 0
        /// CLOCK_MONOTONIC nanoseconds.
        var sentAt: UInt64 = 0

        /// Takes what has arrived; true when the response is complete.
        mutating func receive(_ buffer: borrowing Buffer, checked: Int) throws(LoadError) -> Bool {
            let received = recv(descriptor, buffer.base, expected, Int32(MSG_DONTWAIT))
            if received < 0 && (errno == EAGAIN || errno == EINTR) { return false }
            guard received > 0 else { throw LoadError(call: "recv of a response") }
            var sent = number
            guard expected != whole || received < checked || memcmp(&sent, buffer.base, checked) == 0 else {
                throw LoadError("rr: response \(number) does not repeat its request")
            }
            expected -= received
            return expected == 0
        }
    }
}

/// Processor time of the server, asked over a connection of its own.
enum ServerProcessor {
    static func read(_ control: Endpoint) throws(LoadError) -> UInt64 {
        let socket = try control.connect()
        try Header(.processorTime).send(on: socket)
        var used: UInt64 = 0
        guard try socket.receiveAll(&used, 8) else { throw LoadError("the server sent no processor time") }
        return used
    }
}
