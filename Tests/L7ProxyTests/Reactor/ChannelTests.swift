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

    private struct Failure: Error {}
}
