// SPDX-License-Identifier: Apache-2.0
import Glibc

/// `mix-server`: the passive side of the soak test, with a listener for each ``MixPlan/Listener``.
struct MixServer {
    let address: String
    let port: Int
    let hangSeconds: Int

    /// Listens, prints `ready` and serves. The process ends at the first wrong byte or hang.
    func run() throws(LoadError) -> Never {
        let monitor = MixMonitor(side: "server")
        try monitor.startWatchdog(seconds: hangSeconds)
        for listener in MixPlan.Listener.allCases {
            let endpoint = try Endpoint(address, port: port, offset: listener.rawValue)
            let descriptor = try endpoint.listen { (socket) throws(LoadError) in
                switch listener {
                case .ordinary: break
                case .deferred: try socket.set(Int32(IPPROTO_TCP), TCP_DEFER_ACCEPT, 5)
                case .fastopen: try socket.set(Int32(IPPROTO_TCP), TCP_FASTOPEN, 256)
                case .lowwater: try socket.set(SOL_SOCKET, SO_RCVLOWAT, 1000)
                }
            }.relinquish()
            try Threads.start { accept(Socket(adopting: descriptor), monitor) }
        }
        announce("ready")
        while true { pause() }
    }

    private func accept(_ listener: consuming Socket, _ monitor: MixMonitor) {
        do throws(LoadError) {
            while true {
                let descriptor = try listener.accept().relinquish()
                try Threads.start { serve(Socket(adopting: descriptor), monitor) }
            }
        } catch {
            complain("server: \(error)")
            exit(1)
        }
    }

    private func serve(_ socket: consuming Socket, _ monitor: MixMonitor) {
        var plan: MixPlan?
        do throws(LoadError) {
            guard let header = try Header.receive(on: socket) else { return }
            if header.mode == Header.Mode.mixReport.rawValue { return try answer(socket, monitor) }
            let chosen = MixPlan(
                seed: header.seed, largest: Int(header.largest), allowed: Behaviours(mask: header.behaviours))
            plan = chosen
            let socket = socket
            try monitor.watch(chosen) { (connection) throws(LoadError) in
                try MixConnection(plan: chosen, side: .server, monitor: monitor, connection: connection).run(socket)
            }
        } catch {
            complain("server: \(error); \(plan.map(\.description) ?? "no plan yet")")
            exit(1)
        }
    }

    /// A client asks when its own connections have ended; the last of ours may be closing yet.
    private func answer(_ socket: borrowing Socket, _ monitor: MixMonitor) throws(LoadError) {
        for _ in 0..<2000 where monitor.openConnections > 0 { usleep(5_000) }
        var totals = monitor.current
        try withUnsafeBytes(of: &totals) { (bytes) throws(LoadError) in
            try socket.sendAll(bytes.baseAddress!, bytes.count)
        }
    }
}
