// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Blocks until something can be read, the end included, or until `limit` is over (poll(2)).
///
/// - Parameters:
///   - descriptor: lent.
///   - limit: `nil`: for ever.
/// - Returns: whether it can.
func pollForInput(_ descriptor: CInt, atMost limit: Duration?) throws(SystemError) -> Bool {
    try poll(descriptor, for: Int16(POLLIN), atMost: limit) != 0
}

/// - Returns: what has happened of `events`, and of what poll(2) always reports; 0: nothing in time.
func poll(_ descriptor: CInt, for events: Int16, atMost limit: Duration?) throws(SystemError) -> Int16 {
    let clock = ContinuousClock()
    let deadline = limit.map { clock.now + $0 }
    while true {
        var entry = pollfd(fd: descriptor, events: events, revents: 0)
        let timeout = deadline.map { CInt(clamping: max(.zero, $0 - clock.now).roundedUpMilliseconds) } ?? -1
        let count = Glibc.poll(&entry, 1, timeout)
        let code = errno
        if count > 0 { return entry.revents }
        if count < 0, code != EINTR { throw SystemError("poll", errnoCode: code) }
        if let deadline, clock.now >= deadline { return 0 }
    }
}
