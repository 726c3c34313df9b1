// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// Word-at-a-time searches find what a byte-at-a-time search finds, at every alignment and for every byte.
@Suite struct ByteScannerTests {
    private typealias Search = (UnsafeRawPointer, Int, Int) -> Int

    private func naive(_ isHit: @escaping (UInt8) -> Bool) -> Search {
        { base, start, end in (start..<end).first { isHit(base.load(fromByteOffset: $0, as: UInt8.self)) } ?? end }
    }

    private func compare(_ search: Search, _ reference: Search, filler: [UInt8]) {
        var random = SeededGenerator(seed: 4)
        var bytes = [UInt8](repeating: 0, count: 64)
        func check(_ message: String) {
            bytes.withUnsafeBytes { memory in
                let base = memory.baseAddress!
                for start in 0..<9 {
                    // Seven bytes are left, as one of the searches asks for.
                    for end in [start, start + 1, 20, 33, 57] {
                        #expect(search(base, start, end) == reference(base, start, end), "\(message) \(start)..<\(end)")
                    }
                }
            }
        }
        for value in UInt8.min...UInt8.max {
            for place in [0, 7, 8, 15, 16, 23, 40, 56] {
                for index in bytes.indices { bytes[index] = filler.randomElement(using: &random)! }
                bytes[place] = value
                bytes[place + 1] = value
                check("byte \(value) at \(place)")
            }
        }
        for _ in 0..<500 {
            for index in bytes.indices { bytes[index] = UInt8.random(in: 0...255, using: &random) }
            check("random bytes")
        }
    }

    @Test func controls() {
        compare(
            { ByteScanner.firstControl($0, from: $1, to: $2) }, naive { $0 < 0x20 && $0 != 9 || $0 == 0x7f },
            filler: [0x09, 0x20, 0x41, 0x7e, 0x80, 0xff, 0x89])
    }

    @Test func colons() {
        compare(
            { ByteScanner.firstColon($0, from: $1, to: $2) }, naive { $0 == 0x3a }, filler: [0x39, 0x3b, 0xba, 0x00])
    }

    @Test func bytesOfNoteInATarget() {
        let notable: Set<UInt8> = [0x22, 0x23, 0x25, 0x3c, 0x3e, 0x3f, 0x5c]
        compare(
            { ByteScanner.firstNotable($0, from: $1, to: $2) },
            naive { $0 < 0x21 || $0 > 0x7e || notable.contains($0) },
            filler: [0x21, 0x24, 0x3d, 0x40, 0x5b, 0x5d, 0x7e])
    }

    @Test func bytesThatAreUnusualInAHost() {
        let usual = Set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-".utf8)
        compare(
            { ByteScanner.firstUnusualInHost($0, from: $1, to: $2) }, naive { !usual.contains($0) },
            filler: Array(usual))
    }
}
