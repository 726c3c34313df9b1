// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Starts a thread and waits for it. In a file of its own: what stands in main.swift belongs to the main thread.
func runThread() -> CInt {
    var thread = pthread_t()
    let code = pthread_create(&thread, nil, { _ in nil }, nil)
    return code == 0 ? pthread_join(thread, nil) : code
}
