// SPDX-License-Identifier: Apache-2.0
import Glibc
import Synchronization

/// The connections that are open now, what they have moved, and whether they still move.
final class MixMonitor: Sendable {
    /// One open connection. `moved` grows with every byte; a connection that waits on purpose calls ``touch()``.
    final class Connection: Sendable {
        let plan: MixPlan
        let moved = Atomic<UInt64>(0)
        /// Where each direction stands, for the report of a hang.
        let sent = Atomic<UInt64>(0)
        let received = Atomic<UInt64>(0)

        init(_ plan: MixPlan) { self.plan = plan }

        func touch() { moved.add(1, ordering: .relaxed) }
    }

    struct Totals: BitwiseCopyable {
        var sent: UInt64 = 0
        var received: UInt64 = 0
        var connections: UInt64 = 0
        /// recv(MSG_WAITALL) that returned less than asked before the end of the stream.
        var shortWaitAll: UInt64 = 0
        /// A blocking recv that answered EAGAIN.
        var spuriousWakeups: UInt64 = 0
    }

    private let side: String
    private let open = Mutex<[ObjectIdentifier: Connection]>([:])
    private let totals = Mutex(Totals())

    /// - Parameter side: `client` or `server`, as reports name it.
    init(side: String) { self.side = side }

    var current: Totals { totals.withLock { $0 } }
    var openConnections: Int { open.withLock { $0.count } }

    func count(_ change: (inout Totals) -> Void) { totals.withLock { change(&$0) } }

    /// Runs one connection under the eye of the watchdog.
    func watch(_ plan: MixPlan, _ body: (Connection) throws(LoadError) -> Void) throws(LoadError) {
        let connection = Connection(plan)
        open.withLock { $0[ObjectIdentifier(connection)] = connection }
        defer { _ = open.withLock { $0.removeValue(forKey: ObjectIdentifier(connection)) } }
        try body(connection)
        count { totals in
            totals.connections += 1
            totals.sent += connection.sent.load(ordering: .relaxed)
            totals.received += connection.received.load(ordering: .relaxed)
        }
    }

    /// Ends the process with status 3 when a connection has not moved for `seconds`.
    func startWatchdog(seconds: Int) throws(LoadError) {
        try Threads.start {
            var last: [ObjectIdentifier: (moved: UInt64, idle: Int)] = [:]
            while true {
                sleep(1)
                var seen: [ObjectIdentifier: (moved: UInt64, idle: Int)] = [:]
                for (key, connection) in self.open.withLock({ $0 }) {
                    let moved = connection.moved.load(ordering: .relaxed)
                    let idle = last[key].map { $0.moved == moved ? $0.idle + 1 : 0 } ?? 0
                    seen[key] = (moved, idle)
                    if idle >= seconds { self.fail(connection, "hangs: nothing moved for \(idle) s", status: 3) }
                }
                last = seen
            }
        }
    }

    /// Reports what is wrong with a connection and ends the process.
    func fail(_ connection: Connection, _ reason: String, status: Int32) -> Never {
        complain(
            "\(side): \(reason); sent \(connection.sent.load(ordering: .relaxed)), "
                + "received \(connection.received.load(ordering: .relaxed)); \(connection.plan)")
        exit(status)
    }
}
