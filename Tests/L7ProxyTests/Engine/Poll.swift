// SPDX-License-Identifier: Apache-2.0

import Glibc

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
