// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// Waits for everything that runs in the kernel without sleeping, BPF programs among it.
public enum Membarrier {
    /// Whether ``waitForGracePeriod()`` works: the call exists and no CPU runs with `nohz_full`.
    public static var isSupported: Bool {
        clinux_membarrier_query() & clinux_membarrier_global_bit != 0
    }

    /// Returns when every BPF program that ran at the time of the call has ended.
    ///
    /// MEMBARRIER_CMD_GLOBAL is synchronize_rcu (kernel/sched/membarrier.c), and the programs of this
    /// project run in RCU read-side sections. Takes some milliseconds up to some tens of them.
    ///
    /// - Throws: ``SystemError``: ENOSYS without CONFIG_MEMBARRIER, EINVAL with `nohz_full` CPUs.
    public static func waitForGracePeriod() throws(SystemError) {
        try SystemError.check("membarrier(MEMBARRIER_CMD_GLOBAL)") { clinux_membarrier_global() }
    }
}
