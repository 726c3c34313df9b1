// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// The guard and the scanner as values, without a session.
@Suite struct HTTP2GuardTests {
    private typealias Row = (HTTP2Guard.Event, WritableKeyPath<HTTP2Guard.Rates, HTTP2Guard.Rate>, HTTP2Violation)

    private static var events: [Row] {
        [
            (.reset, \.resets, .rapidReset), (.provokedReset, \.provokedResets, .provokedResets),
            (.settings, \.settings, .settingsFlood), (.ping, \.pings, .pingFlood),
            (.emptyFrame, \.emptyFrames, .emptyFrameFlood), (.priority, \.priorities, .priorityFlood),
            (.windowUpdate, \.windowUpdates, .windowUpdateFlood), (.unknownFrame, \.unknownFrames, .unknownFrameFlood),
        ]
    }

    @Test func eachEventHasABurstAndARateOfItsOwn() {
        for (event, path, violation) in Self.events {
            var rates = HTTP2Guard.Rates()
            rates[keyPath: path] = HTTP2Guard.Rate(burst: 3, perSecond: 2)
            var guarded = HTTP2Guard(rates, now: 1000)
            for _ in 0..<3 { #expect(guarded.note(event, now: 1000) == nil) }
            #expect(guarded.note(event, now: 1499) == violation)
            #expect(guarded.note(event, now: 1500) == nil, "half a second is one more")
            #expect(guarded.note(event, now: 1500) == violation)
            // No more than a burst is saved, and a clock that goes back gives nothing.
            #expect(guarded.note(event, now: 0) == violation)
            for _ in 0..<3 { #expect(guarded.note(event, now: 1_000_000) == nil) }
            #expect(guarded.note(event, now: 1_000_000) == violation)
            // The others are not touched.
            for (other, _, _) in Self.events where other != event { #expect(guarded.note(other, now: 1000) == nil) }
        }
    }

    @Test func workAllowsWindowUpdates() {
        var rates = HTTP2Guard.Rates()
        rates.windowUpdates = HTTP2Guard.Rate(burst: 10, perSecond: 0)
        rates.windowUpdateCredit = 2
        var guarded = HTTP2Guard(rates, now: 0)
        for _ in 0..<10 { #expect(guarded.note(.windowUpdate, now: 0) == nil) }
        guarded.noteWork()
        for _ in 0..<2 { #expect(guarded.note(.windowUpdate, now: 0) == nil) }
        #expect(guarded.note(.windowUpdate, now: 0) == .windowUpdateFlood)
    }

    @Test func violationsSayWhatAndWhy() {
        for violation in HTTP2Violation.allCases {
            #expect(!violation.description.isEmpty)
            #expect("\(HTTP2Failure.abuse(violation))".contains(violation.code.description))
        }
        #expect(HTTP2ErrorCode(rawValue: 0xff).description == "0xff")
        #expect(HTTP2ErrorCode.http11Required.description == "HTTP_1_1_REQUIRED")
    }

    /// What is read before it is told ends after each header block and after some frames: a head is told before the next one
    /// takes its place, and events have room.
    @Test func oneHeaderBlockIsReadAtATime() {
        let opened = H2Frames.opening + H2Frames.headers(1, H2Frames.post, end: false)
        let parts = [
            opened, H2Frames.data(1, [1, 2]) + H2Frames.headers(1, [("x-a", "b")]),
            H2Frames.headers(3, H2Frames.post, end: false), H2Frames.data(3, [1]),
        ]
        #expect(lengths(parts.flatMap { $0 }) == parts.map(\.count))
        let many = Array(repeating: H2Frames.data(1, [1]), count: 40).flatMap { $0 }
        #expect(lengths(opened + many) == [opened.count, 160, 160, 80])
    }

    private func lengths(_ bytes: [UInt8]) -> [Int] {
        let peer = H2Peer.server()
        var all: [Int] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = Array(rest).withUnsafeBytes { peer.session.core.pointee.read($0) }
            #expect(peer.session.failure == nil && count > 0)
            all.append(count)
            rest = rest.dropFirst(count)
        }
        return all
    }

    /// Wherever the bytes are split, the same frame is the one too many.
    @Test func everySplitFindsTheSameViolation() {
        var limits = HTTP2Limits()
        limits.rates.emptyFrames = HTTP2Guard.Rate(burst: 2, perSecond: 0)
        let good =
            H2Frames.opening + H2Frames.headers(1, H2Frames.post, end: false)
            + H2Frames.frame(0, 8, 1, [3, 7, 0, 0, 0]) + H2Frames.frame(0, 8, 1, [0]) + H2Frames.data(1, [])
        let bytes = good + H2Frames.frame(0, 8, 1, [2, 0, 0]) + H2Frames.data(1, [1])
        for split in 0...bytes.count {
            let peer = H2Peer.server(limits)
            #expect(peer.receive(Array(bytes[..<split])) == (split < good.count + 10 ? .open : .ended))
            peer.receive(Array(bytes[split...]))
            #expect(peer.session.failure == .abuse(.emptyFrameFlood), "split at \(split)")
            #expect(peer.recorder.streams[1]?.body == [7], "split at \(split)")
        }
    }

    @Test func thePrefaceIsTold() {
        func verdict(_ text: String) -> HTTP2Preface.Verdict {
            Array(text.utf8).withUnsafeBytes { HTTP2Preface.verdict(on: $0) }
        }
        let preface = HTTP2Preface.text.description
        for count in 0..<24 {
            #expect(verdict(String(decoding: Array(preface.utf8)[..<count], as: UTF8.self)) == .undecided)
        }
        #expect(verdict(preface) == .http2 && verdict(preface + "x") == .http2)
        for text in ["GET / HTTP/1.1\r\n", "PUT", "PRI * HTTP/1.1", "\u{16}\u{3}\u{1}"] {
            #expect(verdict(text) == .other)
        }
    }
}
