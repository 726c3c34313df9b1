// SPDX-License-Identifier: Apache-2.0
import Glibc

/// The passive side of `rr`, `stream` and `crr`: every role on its own port, for as long as the process lives.
struct Server {
    let address: String
    let port: Int

    /// Listens on all roles, prints `ready` and serves.
    func run() throws(LoadError) -> Never {
        for role in Endpoint.Role.allCases {
            let listener = try Endpoint(address, port: port, role: role).listen().relinquish()
            try Threads.start {
                let listener = Socket(adopting: listener)
                report { () throws(LoadError) in
                    switch role {
                    case .blocking: try Self.acceptEach(listener, Self.serveBlocking)
                    case .sink: try Self.acceptEach(listener, StreamSink.serve)
                    case .oneShot: try OneShot.serve(listener)
                    case .epoll: try EpollServer(listener).run()
                    }
                }
                exit(1)  // a role that ended cannot be measured any more
            }
        }
        announce("ready")
        while true { pause() }
    }

    private static func acceptEach(
        _ listener: borrowing Socket, _ serve: @escaping @Sendable (borrowing Socket) throws(LoadError) -> Void
    ) throws(LoadError) {
        while true {
            let descriptor = try listener.accept().relinquish()
            try Threads.start {
                let socket = Socket(adopting: descriptor)
                report { () throws(LoadError) in try serve(socket) }
            }
        }
    }

    /// Requests of one size, each answered by a response that begins with the request's first bytes.
    private static func serveBlocking(_ socket: borrowing Socket) throws(LoadError) {
        guard let header = try Header.receive(on: socket) else { return }
        if header.mode == Header.Mode.processorTime.rawValue {
            var used = Clock.processCPU()
            return try socket.sendAll(&used, 8)
        }
        try? socket.setNoDelay()  // a UNIX socket has no such option
        let (request, response) = (Int(header.requestSize), Int(header.responseSize))
        let buffer = Buffer(count: max(request, response))
        while try socket.receiveAll(buffer.base, request) {
            try socket.sendAll(buffer.base, response)
        }
    }
}

/// Runs `body` and writes what it throws to standard error; a peer that went away is no error.
func report(_ body: () throws(LoadError) -> Void) {
    do {
        try body()
    } catch {
        if error.description.contains("Connection reset") || error.description.contains("Broken pipe") { return }
        complain("\(error)")
    }
}
