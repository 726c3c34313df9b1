// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

@testable import SockOps

extension KernelTests {
    @Suite struct RingBufferTests {
        /// The object, its ring and the program that fills it.
        private struct Source: ~Copyable {
            let ring: RingBuffer
            let program: BPFProgram
            let word: MappedValue<Pair>

            init() throws {
                let object = try Fixture.loaded()
                let ring = try RingBuffer(object.map("fixture_ring"))
                let program = try object.program("fixture_emit")
                let word = try MappedValue<Pair>(object.map("fixture_word"))
                self.ring = ring
                self.program = program
                self.word = word
            }

            /// Emits events numbered from 0; returns how many did not fit.
            func emit(_ times: Int) throws -> Int {
                var packet = Fixture.packet
                var lost = 0
                for number in 0..<UInt32(times) {
                    word.store(number, to: \.first)
                    if try program.testRun(&packet) == UInt32(bitPattern: -2) { lost += 1 }
                }
                return lost
            }
        }

        private func isReadable(_ descriptor: CInt) -> Bool {
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            return poll(&entry, 1, 0) == 1
        }

        @Test func eventsComeOutInOrderAndOnce() throws {
            let source = try Source()
            #expect(!isReadable(source.ring.epollDescriptor))
            #expect(try source.emit(10) == 0)
            #expect(isReadable(source.ring.epollDescriptor))
            var numbers: [UInt64] = []
            var sizes: Set<Int> = []
            let count = try source.ring.consume { bytes in
                sizes.insert(bytes.count)
                numbers.append(bytes.load(as: UInt64.self))
            }
            #expect(count == 10)
            #expect(sizes == [16])
            #expect(numbers == Array(0..<10))
            #expect(try source.ring.consume { _ in } == 0)
            #expect(!isReadable(source.ring.epollDescriptor))
        }

        @Test func aLimitLeavesTheRestReadable() throws {
            let source = try Source()
            #expect(try source.emit(10) == 0)
            #expect(try source.ring.consume(limit: 4) { _ in } == 4)
            #expect(try source.ring.consume(limit: 0) { _ in } == 0)
            #expect(try source.ring.consume(limit: 100) { _ in } == 6)
        }

        @Test func aFullBufferRefusesAndWorksAgainOnceRead() throws {
            let source = try Source()
            let lost = try source.emit(400)
            #expect(lost > 0)
            #expect(try source.ring.consume { _ in } == 400 - lost)
            #expect(try source.emit(1) == 0)
            #expect(try source.ring.consume { _ in } == 1)
        }
    }
}
