// SPDX-License-Identifier: Apache-2.0
import Glibc
import Synchronization

/// `mix`: opens connections with random plans until enough bytes have moved.
struct MixClient {
    let address: String
    let port: Int
    let bytes: UInt64
    let largest: Int
    let connections: Int
    let seed: UInt64
    let seconds: Double
    let hangSeconds: Int
    let allowed: Behaviours

    private final class Progress: Sendable {
        let next = Atomic<UInt64>(0)
        let running = Atomic<Int>(0)
    }

    func run() throws(LoadError) -> JSONObject {
        let monitor = MixMonitor(side: "client")
        let progress = Progress()
        let before = try report()
        let started = Clock.now()
        let deadline = started + UInt64(seconds * 1e9)
        for _ in 0..<connections {
            progress.running.add(1, ordering: .sequentiallyConsistent)
            try Threads.start {
                work(monitor, progress, until: deadline)
                progress.running.subtract(1, ordering: .sequentiallyConsistent)
            }
        }
        try monitor.startWatchdog(seconds: hangSeconds)
        while progress.running.load(ordering: .sequentiallyConsistent) > 0 { usleep(20_000) }
        let elapsed = Double(Clock.now() - started) / 1e9
        return try result(monitor.current, server: try report(), before: before, elapsed: elapsed)
    }

    /// One connection after the other. A failure ends the process: nothing in a soak may fail.
    private func work(_ monitor: MixMonitor, _ progress: Progress, until deadline: UInt64) {
        while Clock.now() < deadline {
            let totals = monitor.current
            guard totals.sent + totals.received < bytes else { return }
            var random = SplitMix64(state: seed &+ progress.next.wrappingAdd(1, ordering: .relaxed).oldValue)
            let plan = MixPlan(seed: random.next() >> 16, largest: largest, allowed: allowed)
            do throws(LoadError) {
                try monitor.watch(plan) { (connection) throws(LoadError) in
                    let socket = try connect(plan)
                    try MixConnection(plan: plan, side: .client, monitor: monitor, connection: connection).run(socket)
                }
            } catch {
                complain("client: \(error); \(plan)")
                exit(1)
            }
        }
    }

    private func connect(_ plan: MixPlan) throws(LoadError) -> Socket {
        let endpoint = try Endpoint(address, port: port, offset: plan.listener.rawValue)
        var header = Header(.mix)
        header.seed = plan.seed
        header.behaviours = allowed.mask
        header.largest = UInt64(largest)
        guard plan.listener == .fastopen else {
            let socket = try endpoint.connect()
            try header.send(on: socket)
            return socket
        }
        var sent = 0
        let socket = try endpoint.connect(fastOpen: &header, count: Header.size, sent: &sent)
        try withUnsafeBytes(of: &header) { (bytes) throws(LoadError) in
            try socket.sendAll(bytes.baseAddress! + sent, Header.size - sent)
        }
        return socket
    }

    /// The server's totals, when it has no connection left.
    private func report() throws(LoadError) -> MixMonitor.Totals {
        let socket = try Endpoint(address, port: port, offset: MixPlan.Listener.ordinary.rawValue).connect()
        try Header(.mixReport).send(on: socket)
        var totals = MixMonitor.Totals()
        let complete = try withUnsafeMutableBytes(of: &totals) { (bytes) throws(LoadError) in
            try socket.receiveAll(bytes.baseAddress!, bytes.count)
        }
        guard complete else { throw LoadError("the server gave no report; its own output says why") }
        return totals
    }

    private func result(
        _ client: MixMonitor.Totals, server: MixMonitor.Totals, before: MixMonitor.Totals, elapsed: Double
    ) throws(LoadError) -> JSONObject {
        let (serverSent, serverReceived) = (server.sent - before.sent, server.received - before.received)
        guard client.sent == serverReceived, client.received == serverSent else {
            complain(
                "client sent \(client.sent) bytes and received \(client.received), "
                    + "the server received \(serverReceived) and sent \(serverSent)")
            exit(2)
        }
        var result = JSONObject()
        result.set("mode", "mix")
        result.set("bytes", Int(client.sent + client.received))
        result.set("connections", Int(client.connections))
        result.set("seconds", elapsed)
        result.set("gbytes_per_second", Double(client.sent + client.received) / elapsed / 1e9)
        result.set("short_waitall", Int(client.shortWaitAll + server.shortWaitAll - before.shortWaitAll))
        result.set("spurious_wakeups", Int(client.spuriousWakeups + server.spuriousWakeups - before.spuriousWakeups))
        result.set("mismatches", 0)
        result.set("hangs", 0)
        return result
    }
}
