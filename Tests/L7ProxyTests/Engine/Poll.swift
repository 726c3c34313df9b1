// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Waiting for what another thread does.
enum Poll {
    /// A millisecond.
    static func pause() -> Bool {
        usleep(1000)
        return true
    }

    /// Whether `condition` becomes true within two seconds.
    static func until(_ condition: () -> Bool) -> Bool {
        for _ in 0..<2000 {
            if condition() { return true }
            _ = pause()
        }
        return false
    }
}
