// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import Testing

@testable import L7Proxy

/// What a channel remembers of its socket's readiness. The poller tells it once, so what it forgets is never met again.
struct ChannelTests {
    /// A channel whose peer is `client`, told that it can be read and written.
    private static func connected() throws -> (client: TestConnection, channel: Channel) {
        let listener = try StreamSocket.listen(at: .loopback(port: 0))
        let client = TestConnection(port: StreamSocket.localEndpoint(listener.rawValue)?.port ?? 0)
        var peer = StreamEndpoint.loopback(port: 0)
        var accepted = StreamSocket.wouldBlock
        _ = Poll.until {
            accepted = StreamSocket.accept(listener.rawValue, from: &peer)
            return accepted >= 0
        }
        var channel = Channel()
        channel.descriptor = CInt(accepted)
        channel.state = [.readable, .writable]
        return (client, channel)
    }

    @Test func aReadThatGivesLessThanThereIsRoomForIsNotTheLast() throws {
        var (client, channel) = try Self.connected()
        var pool = BufferPool(limit: 4)
        defer { channel.close(&pool) }
        client.send("before")
        client.send(urgent: 0x21)
        client.send("behind")
        #expect(Poll.until { client.isDelivered })
        // No read passes the mark: it is as with a socket whose peer was redirected and is no more.
        var pieces: [String] = []
        while case .received(let count) = channel.fill(&pool) {
            pieces.append(String(decoding: channel.input.bytes.suffix(count), as: UTF8.self))
        }
        #expect(pieces == ["before", "behind"])
        #expect(!channel.mayRead, "the kernel has said that there is no more")
    }

    @Test func aPeerThatOwesNothingIsNotLookedFor() throws {
        var (client, channel) = try Self.connected()
        var pool = BufferPool(limit: 4)
        defer { channel.close(&pool) }
        client.send("all")
        #expect(Poll.until { client.isDelivered })
        guard case .received(3) = channel.fill(&pool) else { throw Failure() }
        channel.awaitNews()
        #expect(!channel.mayRead)
        channel.state.formUnion([.readable, .endAnnounced])
        channel.awaitNews()
        #expect(channel.mayRead, "its end is met, whatever it owes")
    }

    @Test func aReadThatFillsItsBlockIsFollowedByLargeOnes() throws {
        var (client, channel) = try Self.connected()
        var pool = BufferPool(limit: 4, large: 1)
        defer { channel.close(&pool) }
        // No more than the socket takes unread.
        let bytes = (0..<55_000).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 9) }
        client.send(bytes: bytes)
        #expect(Poll.until { client.isDelivered })
        var received: [UInt8] = []
        var floors: [Int] = []
        while case .received = channel.fillMuch(&pool, unit: 16375) {
            floors.append(channel.input.start)
            received += channel.input.bytes
            channel.input.start = channel.input.end
        }
        #expect(received == bytes)
        let large = BufferPool.largeBlockSize - 7 * 16375
        #expect(floors.first == BufferPool.blockSize - 2 * 16375 && floors.dropFirst().allSatisfy { $0 == large })
        // What comes in small pieces needs no large block, when that one has gone.
        client.send("end")
        channel.state.insert(.readable)
        #expect(Poll.until { client.isDelivered })
        _ = channel.fillMuch(&pool)
        channel.input.start = channel.input.end
        channel.relax(&pool)
        client.send("more")
        channel.state.insert(.readable)
        #expect(Poll.until { client.isDelivered })
        _ = channel.fillMuch(&pool)
        #expect(channel.input.capacity == BufferPool.blockSize && channel.input.bytes.elementsEqual("more".utf8))
    }

    private struct Failure: Error {}
}
