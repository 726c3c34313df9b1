// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO

/// A process whose end is noticed. It is remembered, and reaped, until it has ended.
final class WatchedProcess {
    let pid: pid_t
    private let process: ChildProcess
    private let loop: EventLoop
    private var watch: EventLoop.Watch?
    private var onEnd: ((String) -> Void)?
    /// How it has ended; `nil`: it has not.
    private var how: String?

    /// How one is said to have ended that was killed, as by ``kill()``.
    static let killed = "killed by signal \(SIGKILL)"

    /// - Parameter onEnd: called once, from the loop, with how it ended.
    init(on loop: EventLoop, _ process: consuming ChildProcess, onEnd: @escaping (String) -> Void) throws(SystemError) {
        self.loop = loop
        pid = process.pid
        self.process = process
        self.onEnd = onEnd
        // Keeps this object until then.
        watch = try loop.watch(self.process.descriptor, for: .readable) { [self] _ in ended() }
    }

    /// The process at the other end of a connected socket.
    ///
    /// - Parameter pid: as its credentials say; 0: in another PID namespace.
    /// - Returns: `nil` where it cannot be seen (before Linux 6.5).
    static func peer(
        of socket: borrowing PacketSocket, _ pid: pid_t, on loop: EventLoop, onEnd: @escaping (String) -> Void
    ) throws(SystemError) -> WatchedProcess? {
        do throws(SystemError) {
            return try WatchedProcess(on: loop, ChildProcess(peerOf: socket.descriptor, pid: pid), onEnd: onEnd)
        } catch {
            guard pid > 0 else { return nil }
            return try WatchedProcess(on: loop, ChildProcess(attachingTo: pid), onEnd: onEnd)
        }
    }

    /// - Returns: whether it has ended or will at once; not one that cannot be signalled.
    @discardableResult
    func kill() -> Bool { process.signal(SIGKILL) }

    /// Kills it and waits for its end, at most two seconds.
    ///
    /// - Returns: whether it has ended.
    @discardableResult
    func killAndWait() -> Bool {
        forget()
        guard process.kill(waitingAtMost: .seconds(2)) else { return false }
        ended()
        return true
    }

    /// Nobody wants to hear of its end any more.
    func forget() { onEnd = nil }

    /// Lets go of a process that is not ours.
    func abandon() {
        forget()
        if let watch { loop.unwatch(watch) }
        watch = nil
    }

    /// Tells, once, how it ends or has ended; instead of what was wanted before.
    func whenEnded(_ tell: @escaping (String) -> Void) {
        if let how { tell(how) } else { onEnd = tell }
    }

    private func ended() {
        let how: String
        switch process.reap() {
        case .some(let status) where status == 128 + SIGKILL: how = Self.killed
        case .some(let status) where status > 128: how = "killed by signal \(status - 128)"
        case .some(let status): how = "exit status \(status)"
        case nil: how = "ended"
        }
        if let watch { loop.unwatch(watch) }
        watch = nil
        self.how = how
        onEnd?(how)
        onEnd = nil
    }
}
