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

    /// - Parameter onEnd: called once, from the loop, with how it ended.
    init(on loop: EventLoop, _ process: consuming ChildProcess, onEnd: @escaping (String) -> Void) throws(SystemError) {
        self.loop = loop
        pid = process.pid
        self.process = process
        self.onEnd = onEnd
        // Keeps this object until then.
        watch = try loop.watch(self.process.descriptor, for: .readable) { [self] _ in ended() }
    }

    func kill() { process.signal(SIGKILL) }

    /// Kills it and waits for its end, at most two seconds.
    func killAndWait() {
        forget()
        if process.kill(waitingAtMost: .seconds(2)) { ended() }
    }

    /// Nobody wants to hear of its end any more.
    func forget() { onEnd = nil }

    /// Lets go of a process that is not ours.
    func abandon() {
        forget()
        if let watch { loop.unwatch(watch) }
        watch = nil
    }

    private func ended() {
        let how: String
        switch process.reap() {
        case .some(let status) where status > 128: how = "killed by signal \(status - 128)"
        case .some(let status): how = "exit status \(status)"
        case nil: how = "ended"
        }
        if let watch { loop.unwatch(watch) }
        watch = nil
        onEnd?(how)
        onEnd = nil
    }
}
