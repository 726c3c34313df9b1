// SPDX-License-Identifier: Apache-2.0
import Glibc
import Synchronization

/// Carries out one plan on a connected socket, as its client or as its server.
struct MixConnection {
    enum Side { case client, server }

    let plan: MixPlan
    let side: Side
    let monitor: MixMonitor
    let connection: MixMonitor.Connection

    /// - Throws: ``LoadError`` with what failed and where in the stream.
    func run(_ socket: borrowing Socket) throws(LoadError) {
        if plan.noDelay { try socket.setNoDelay() }
        let (outgoing, incoming) = side == .client ? (plan.up, plan.down) : (plan.down, plan.up)
        var sender = MixSender(socket, outgoing, seed: plan.seed &+ (side == .client ? 0 : 1), connection)
        var receiver = MixReceiver(socket, incoming, seed: plan.seed &+ (side == .client ? 1 : 0), connection, monitor)
        switch (plan.order, side) {
        case (.concurrent, _):
            try both(socket, sender, &receiver)
        case (.uploadfirst, .client), (.downloadfirst, .server):
            try sender.send(outgoing.bytes)
            try socket.finishSending()
            try receiver.receiveWhole()
        case (.uploadfirst, .server), (.downloadfirst, .client):
            try receiver.receiveWhole()
            try sender.send(outgoing.bytes)
            try socket.finishSending()
        case (.sendandclose, .client), (.pullandclose, .server):
            try sender.send(outgoing.bytes)
        case (.sendandclose, .server), (.pullandclose, .client):
            try receiver.receiveWhole()
        case (.pingpong, .client):
            for (request, response) in MixPlan.Rounds(plan) {
                try sender.send(UInt64(request))
                try receiver.receive(UInt64(response))
            }
            try socket.finishSending()
            try receiver.receiveEnd()
        case (.pingpong, .server):
            for (request, response) in MixPlan.Rounds(plan) {
                try receiver.receive(UInt64(request))
                try sender.send(UInt64(response))
            }
            try receiver.receiveEnd()
        }
    }

    private func both(
        _ socket: borrowing Socket, _ sender: MixSender, _ receiver: inout MixReceiver
    ) throws(LoadError) {
        let descriptor = socket.descriptor
        let bytes = (side == .client ? plan.up : plan.down).bytes
        let failure = Failure()
        let sending: @Sendable () -> Void = {
            var sender = sender
            do throws(LoadError) {
                try sender.send(bytes)
                guard shutdown(descriptor, Int32(SHUT_WR)) == 0 else { throw LoadError(call: "shutdown(SHUT_WR)") }
            } catch {
                failure.error.withLock { $0 = error }
            }
        }
        let thread = try Threads.Running(sending)
        let received = Result { () throws(LoadError) in try receiver.receiveWhole() }
        thread.join()
        try received.get()
        if let error = failure.error.withLock({ $0 }) { throw error }
    }

    private final class Failure: Sendable {
        let error = Mutex<LoadError?>(nil)
    }
}
