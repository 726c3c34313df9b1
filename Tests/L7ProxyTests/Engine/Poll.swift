// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Waiting for what another thread does.
enum Poll {
    /// A millisecond.
    static func pause() -> Bool {
        usleep(1000)
        return true
    }

    /// Whether `condition` becomes true within ten seconds.
    static func until(_ condition: () -> Bool) -> Bool {
        for _ in 0..<10_000 {
            if condition() { return true }
            _ = pause()
        }
        return false
    }
}
