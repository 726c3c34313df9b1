// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization

/// Waiting for what another thread does.
enum Poll {
    /// A millisecond.
    static func pause() -> Bool {
        usleep(1000)
        return true
    }

    /// Whether `condition` becomes true within twenty seconds.
    static func until(_ condition: () -> Bool) -> Bool {
        let start = ContinuousClock.now
        while !condition() {
            guard start.duration(to: .now) < .seconds(20) else { return false }
            _ = pause()
        }
        return true
    }
}

/// Something that happens once, and that others wait for.
final class Gate: Sendable {
    private let state = Mutex(false)

    var isOpen: Bool { state.withLock { $0 } }

    func open() { state.withLock { $0 = true } }

    /// Returns when it is open, or after ten seconds.
    func wait() { _ = Poll.until { isOpen } }
}
