// SPDX-License-Identifier: Apache-2.0

import Synchronization
import Testing

@testable import ProxyProcess

struct ComplaintsTests {
    /// What a test's threads share.
    final class Notes: Sendable {
        let lines = Mutex<[String]>([])
        let now = Mutex<UInt64>(5_000_000_000)
    }

    @Test func oneLineASecondForEachSubjectAndTheNumberOfTheOthers() {
        let notes = Notes()
        let complaints = Complaints(
            clock: { notes.now.withLock { $0 } }, write: { line in notes.lines.withLock { $0.append(line) } })
        for index in 0..<5 { complaints.add(.origin, "origin \(index)") }
        complaints.add(.leg, "leg")
        notes.now.withLock { $0 += Complaints.interval }
        complaints.add(.origin, "origin 5")
        notes.now.withLock { $0 += Complaints.interval }
        complaints.add(.origin, "origin 6")
        #expect(
            notes.lines.withLock { $0 } == [
                "origin 0", "leg", "origin 5 (and 4 more since the last such line)", "origin 6",
            ])
    }
}
