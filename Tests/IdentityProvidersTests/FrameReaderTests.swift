// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import IdentityProviders

@Suite struct FrameReaderTests {
    private func read(_ pieces: [[UInt8]], limit: Int = 1000) throws -> [[UInt8]] {
        var reader = FrameReader(limit: limit)
        var frames: [[UInt8]] = []
        for piece in pieces {
            piece.withUnsafeBytes { reader.append($0) }
            while let frame = try reader.next() { frames.append(frame) }
        }
        return frames
    }

    private static let frames: [[UInt8]] = [[], [1], Array(repeating: 7, count: 300), [0, 0, 0, 1], Array(0...255)]
    private static let stream = frames.flatMap(FrameReader.frame)

    @Test func framesAreTheSameHoweverTheyArrive() throws {
        #expect(try read([Self.stream]) == Self.frames)
        #expect(try read(Self.stream.map { [$0] }) == Self.frames)
        for cut in Self.stream.indices {
            #expect(try read([Array(Self.stream[..<cut]), Array(Self.stream[cut...])]) == Self.frames)
        }
    }

    @Test func aPrefixHasWholeFramesOnly() throws {
        var ends: [Int] = []
        for frame in Self.frames { ends.append((ends.last ?? 0) + 4 + frame.count) }
        for count in 0...Self.stream.count {
            let whole = ends.count { $0 <= count }
            #expect(try read([Array(Self.stream[..<count])]) == Array(Self.frames[..<whole]))
        }
    }

    @Test(arguments: [
        (length: [0, 0, 3, 232] as [UInt8], isRefused: false), ([0, 0, 3, 233], true), ([255, 255, 255, 255], true),
        ([0, 0, 3], false),
    ])
    func aLengthIsRefusedAtOnce(_ length: [UInt8], _ isRefused: Bool) {
        if isRefused {
            #expect(throws: FrameReader.Oversized.self) { try read([length]) }
        } else {
            #expect(throws: Never.self) { try read([length]) }
        }
    }
}
