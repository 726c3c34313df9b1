// SPDX-License-Identifier: Apache-2.0
import Glibc

/// `crr`: connect, one request, its response, close. What a service without keep-alive costs.
struct OneShot {
    let server: String
    let port: Int
    let request: Int
    let response: Int
    let seconds: Double
    let warmUp: Double

    func run() throws(LoadError) -> JSONObject {
        guard request >= Header.size else { throw LoadError("--request of crr is at least \(Header.size) bytes") }
        let control = try Endpoint(server, port: port, role: .blocking)
        let (serverBefore, clientBefore) = (try ServerProcessor.read(control), Clock.processCPU())
        let started = Clock.now()
        let measureFrom = started + UInt64(warmUp * 1e9)
        let latency = try measure(from: measureFrom, until: measureFrom + UInt64(seconds * 1e9))
        let requests = Double(latency.count) * (Double(Clock.now() - started) / 1e9) / seconds

        var result = JSONObject()
        result.set("mode", "crr")
        result.set("requests", Int(latency.count))
        result.set("per_second", Double(latency.count) / seconds)
        result.set(latency: latency)
        result.set("client_cpu_us", Double(Clock.processCPU() - clientBefore) / 1e3 / requests)
        result.set("server_cpu_us", Double(try ServerProcessor.read(control) - serverBefore) / 1e3 / requests)
        return result
    }

    private func measure(from measureFrom: UInt64, until end: UInt64) throws(LoadError) -> Histogram {
        let endpoint = try Endpoint(server, port: port, role: .oneShot)
        var header = Header(.oneShot)
        header.requestSize = UInt32(request)
        header.responseSize = UInt32(response)
        let buffer = Buffer(count: max(request, response))
        var latency = Histogram()
        var before = Clock.now()
        while before < end {
            header.seed = before
            buffer.base.storeBytes(of: header, as: Header.self)
            try exchange(endpoint, buffer)
            guard buffer.base.loadUnaligned(as: UInt64.self) == before else {
                throw LoadError("crr: a response does not answer its request")
            }
            let after = Clock.now()
            if before >= measureFrom { latency.record(after - before) }
            before = after
        }
        return latency
    }

    private func exchange(_ endpoint: Endpoint, _ buffer: borrowing Buffer) throws(LoadError) {
        let socket = try endpoint.connect()
        try socket.sendAll(buffer.base, request)
        guard try socket.receiveAll(buffer.base, response) else {
            throw LoadError("crr: the server closed a connection without a response")
        }
    }

    /// One connection after the other, as they come.
    static func serve(_ listener: borrowing Socket) throws(LoadError) -> Never {
        let buffer = Buffer(count: 1 << 20)
        while true {
            let socket = try listener.accept()
            guard let header = try Header.receive(on: socket) else { continue }
            let rest = Int(header.requestSize) - Header.size
            guard rest >= 0, rest <= buffer.count, (8...buffer.count).contains(Int(header.responseSize)) else {
                throw LoadError("crr: requests are \(Header.size) bytes to 1M, responses 8 bytes to 1M")
            }
            if rest > 0 { guard try socket.receiveAll(buffer.base, rest) else { continue } }
            buffer.base.storeBytes(of: header.seed, as: UInt64.self)
            try socket.sendAll(buffer.base, Int(header.responseSize))
        }
    }
}
