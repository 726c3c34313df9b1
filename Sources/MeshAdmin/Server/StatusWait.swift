// SPDX-License-Identifier: Apache-2.0

import LinuxIO

/// A client that waits for the node to become ready.
final class StatusWait {
    private let loop: EventLoop
    private unowned let handler: any AdminHandler
    private let timeout: Duration?
    private let responder: Responder<StatusReport>
    private var timers: [EventLoop.Timer] = []
    private var reported: [String]?

    /// How often the handler is asked. Short against the time that a start takes.
    private static let interval = Duration.milliseconds(10)

    init(loop: EventLoop, handler: any AdminHandler, timeout: Duration?, responder: Responder<StatusReport>) {
        self.loop = loop
        self.handler = handler
        self.timeout = timeout
        self.responder = responder
    }

    func start() {
        if let timeout {
            timers.append(
                loop.schedule(after: timeout) { [self] in
                    let reasons = handler.notReady().joined(separator: "; ")
                    responder.fail(AdminError(.timeout, "not ready after \(timeout): \(reasons)"))
                })
        }
        timers.append(loop.schedule(every: Self.interval) { [self] in poll() })
        poll()
    }

    /// Idempotent; also breaks the cycle between the timers and this object.
    func stop() {
        for timer in timers { loop.cancel(timer) }
        timers = []
    }

    private func poll() {
        let reasons = handler.notReady()
        guard reasons != reported else { return }
        reported = reasons
        do throws(AdminError) {
            responder.send(try handler.status())
            if reasons.isEmpty { responder.finish() }
        } catch {
            responder.fail(error)
        }
    }
}
