// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import Testing

struct StreamPiecesTests {
    @Test func oneCallSendsThemInTheirOrder() throws {
        let (one, other) = try StreamSocket.pair()
        defer {
            StreamSocket.close(one)
            StreamSocket.close(other)
        }
        let bytes = Array("0123456789".utf8)
        let sent = bytes.withUnsafeBytes { memory in
            var pieces = StreamPieces()
            for range in [7..<10, 0..<3, 3..<3, 5..<6] {
                pieces.append(UnsafeRawBufferPointer(rebasing: memory[range]))
            }
            let sent = pieces.send(to: one)
            pieces.removeAll()
            let isEmpty = pieces.isEmpty
            #expect(isEmpty)
            return sent
        }
        var received = [UInt8](repeating: 0, count: 16)
        let count = received.withUnsafeMutableBytes { StreamSocket.receive(other, $0.baseAddress!, $0.count) }
        #expect(sent == 7 && count == 7 && received.prefix(7).elementsEqual("7890125".utf8))
    }

    @Test func whatIsLeftBehindWhatHasGone() {
        let bytes = Array("abcdef".utf8)
        bytes.withUnsafeBytes { memory in
            var pieces = StreamPieces()
            for range in [0..<2, 2..<3, 3..<6] { pieces.append(UnsafeRawBufferPointer(rebasing: memory[range])) }
            for skipped in 0...6 {
                var left: [UInt8] = []
                pieces.forEach(after: skipped) {
                    #expect(!$0.isEmpty)
                    left += $0
                }
                #expect(left == Array(bytes.dropFirst(skipped)))
            }
        }
    }

    @Test func soManyFit() {
        var pieces = StreamPieces()
        for _ in 0..<StreamPieces.limit { pieces.append(UnsafeRawBufferPointer(start: nil, count: 0)) }
        let isFull = pieces.isFull
        #expect(isFull)
    }
}
