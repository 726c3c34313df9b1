// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
public import MeshAdmin

/// A server with a ``FakeHandler`` on a thread of its own, and a directory for its socket.
public struct FakeAgent: ~Copyable {
    /// What is left when the server has stopped.
    public final class Outcome: Sendable {
        // Both are written by the server's thread and read after it was joined.
        public nonisolated(unsafe) internal(set) var cancelled = 0
        public nonisolated(unsafe) internal(set) var clients = 0
    }

    let directory: String
    public let socket: String
    private let outcome = Outcome()
    /// Closing it stops the server.
    private var stopper: OwnedDescriptor?
    private var thread: TestThread?

    /// Starts to serve; returns when clients can connect.
    public init(
        authorization: AdminAuthorization = AdminAuthorization(), limits: AdminLimits = AdminLimits(),
        reasons: [String] = [], run: RunTarget = Samples.run
    ) throws {
        let directory = try TestDirectory.make()
        let socket = "\(directory)/run/n1.sock"
        var ends: [CInt] = [-1, -1]
        try SystemError.check("pipe") { pipe(&ends) }
        stopper = OwnedDescriptor(adopting: ends[1])
        let reading = ends[0]
        var readiness: [CInt] = [-1, -1]
        try SystemError.check("pipe") { pipe(&readiness) }
        let isReady = OwnedDescriptor(adopting: readiness[0])
        let ready = readiness[1]
        let outcome = outcome
        thread = TestThread {
            let stop = OwnedDescriptor(adopting: reading)
            // Closed when the server listens, or could not be made. The file alone is there before that.
            let listening = OwnedDescriptor(adopting: ready)
            let loop = try EventLoop()
            let handler = FakeHandler(loop: loop)
            handler.reasons = reasons
            handler.run = run
            let server = try AdminServer(
                on: loop, path: socket, name: "mesh-agent test", node: "n1", authorization: authorization,
                limits: limits, handler: handler)
            _ = consume listening
            try loop.watch(stop.rawValue, for: .readable) { _ in loop.stop() }
            try loop.run()
            // One more turn for what a stopped client left behind.
            try loop.turn(waitingAtMost: .milliseconds(1))
            outcome.clients = server.clientCount
            server.close()
            outcome.cancelled = handler.cancelled
        }
        self.directory = directory
        self.socket = socket
        var byte: UInt8 = 0
        _ = read(isReady.rawValue, &byte, 1)
    }

    /// Stops the server, waits for it, and removes its directory.
    public consuming func stop() throws -> Outcome {
        stopper = nil
        try thread.take()?.join()
        TestDirectory.remove(directory)
        return outcome
    }

    /// Waits for a server that stops by itself.
    public consuming func join() throws -> Outcome {
        try thread.take()?.join()
        TestDirectory.remove(directory)
        return outcome
    }

    public func client() throws -> AdminClient { try AdminClient(path: socket, name: "test") }
}
