// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import Synchronization

/// Lines for the log about what strangers can bring about at any rate: of each subject one a second, with the number of
/// those that were left out.
///
/// Any thread adds; the text is made only if it is written.
final class Complaints: Sendable {
    enum Subject: Int, CaseIterable {
        case origin, leg, tunnel
    }

    private struct State {
        /// Nanoseconds of CLOCK_MONOTONIC.
        var quietUntil: UInt64 = 0
        var leftOut: UInt64 = 0
    }

    private let states = Mutex([State](repeating: State(), count: Subject.allCases.count))
    private let write: @Sendable (String) -> Void
    private let clock: @Sendable () -> UInt64
    static let interval: UInt64 = 1_000_000_000

    /// - Parameter write: must not block.
    init(
        clock: @escaping @Sendable () -> UInt64 = { SystemClock.monotonic }, write: @escaping @Sendable (String) -> Void
    ) {
        self.clock = clock
        self.write = write
    }

    func add(_ subject: Subject, _ text: @autoclosure () -> String) {
        let now = clock()
        let leftOut: UInt64? = states.withLock { states in
            guard now >= states[subject.rawValue].quietUntil else {
                states[subject.rawValue].leftOut += 1
                return nil
            }
            defer { states[subject.rawValue] = State(quietUntil: now + Self.interval) }
            return states[subject.rawValue].leftOut
        }
        guard let leftOut else { return }
        write(leftOut == 0 ? text() : "\(text()) (and \(leftOut) more since the last such line)")
    }
}
