// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import MeshAdmin

@Suite struct OutboundQueueTests {
    private static func notice(_ count: UInt64) -> [UInt8] { Array("<lost \(count)>".utf8) }

    private static func drain(_ queue: inout OutboundQueue, _ count: Int = .max) -> String {
        var text = ""
        queue.write { (bytes: UnsafeRawBufferPointer) in
            text = String(decoding: bytes.prefix(count), as: UTF8.self)
            return min(bytes.count, count)
        }
        return text
    }

    @Test func bytesLeaveInOrderWhereverTheWritesEnd() {
        for step in 1...7 {
            var queue = OutboundQueue(limit: 100)
            var text = ""
            for letter in ["abc", "de", "f", "ghij"] {
                queue.append(Array(letter.utf8))
                text += Self.drain(&queue, step)
            }
            while !queue.isEmpty { text += Self.drain(&queue, step) }
            #expect(text == "abcdefghij", "\(step) bytes at a time")
        }
    }

    @Test func whatDoesNotFitIsLostAndToldInItsPlace() {
        var queue = OutboundQueue(limit: 4)
        for line in ["aa", "bb", "cc", "dd"] { queue.push(Array(line.utf8), lostNotice: Self.notice) }
        #expect(Self.drain(&queue) == "aabb")
        queue.push(Array("ee".utf8), lostNotice: Self.notice)
        #expect(Self.drain(&queue) == "<lost 2>ee")
        queue.push(Array("ff".utf8), lostNotice: Self.notice)
        #expect(Self.drain(&queue) == "ff")
    }

    @Test func aLossIsToldEvenIfNothingFollows() {
        var queue = OutboundQueue(limit: 2)
        for line in ["aa", "bb"] { queue.push(Array(line.utf8), lostNotice: Self.notice) }
        #expect(Self.drain(&queue) == "aa")
        queue.settle(lostNotice: Self.notice)
        queue.settle(lostNotice: Self.notice)
        #expect(Self.drain(&queue) == "<lost 1>")
    }

    @Test func whatIsPushedWhileAListIsSentFollowsIt() {
        var queue = OutboundQueue(limit: 6)
        queue.isListing = true
        queue.append(Array("l1".utf8))
        queue.push(Array("p1".utf8), lostNotice: Self.notice)
        queue.append(Array("l2".utf8))
        queue.push(Array("p2".utf8), lostNotice: Self.notice)
        queue.append(Array("l3".utf8))
        queue.endList(lostNotice: Self.notice)
        #expect(Self.drain(&queue) == "l1l2l3p1<lost 1>")
        queue.push(Array("p3".utf8), lostNotice: Self.notice)
        #expect(Self.drain(&queue) == "p3")
    }
}
