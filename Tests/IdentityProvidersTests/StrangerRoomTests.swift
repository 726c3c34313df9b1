// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import Testing

@testable import IdentityProviders

@Suite struct StrangerRoomTests {
    private typealias Source = StrangerRoom.Source

    private static func v4(_ last: UInt64) -> Source {
        Source(StreamEndpoint(high: 0, low: 0xffff_c000_0200 + last, port: UInt16(last)))
    }

    /// 2001:db8:0:`network`::`host`.
    private static func v6(_ network: UInt64, _ host: UInt64) -> Source {
        Source(StreamEndpoint(high: 0x2001_0db8_0000_0000 + network, low: host, port: UInt16(host % 60_000)))
    }

    @Test func aNetworkOfIPv6IsOneSource() {
        #expect(Self.v6(1, 2) == Self.v6(1, 0xffff_ffff_ffff) && Self.v6(1, 2) != Self.v6(2, 2))
        #expect(Self.v4(1) == Self.v4(1) && Self.v4(1) != Self.v4(2))
        // Not mistaken for IPv4, nor it for a network.
        #expect(Source(StreamEndpoint(high: 0, low: 1, port: 1)) == Source(StreamEndpoint(high: 0, low: 2, port: 1)))
        var room = StrangerRoom(places: 8, placesPerSource: 3)
        let ended = (1...5).map { room.enter($0, Self.v6(1, $0 << 20)) }
        #expect(ended == [nil, nil, nil, 1, 2] && room.count == 3)
    }

    /// However many a source has, it is its own that ends.
    @Test func aFloodOfOneSourceEndsItsOwn() {
        var room = StrangerRoom(places: 8, placesPerSource: 6)
        #expect(room.enter(1, Self.v4(1)) == nil && room.enter(2, Self.v4(2)) == nil)
        for number: UInt64 in 3..<1000 {
            let ended = room.enter(number, Self.v6(7, number))
            #expect(ended == (number < 9 ? nil : number - 6))
        }
        // Who comes now takes a place of those that have most.
        #expect(room.enter(1000, Self.v4(3)) == 994)
    }

    /// From as many sources as it has connections: it meets each other, and where nodes come from goes on.
    @Test func aFloodOfManySourcesSparesThoseOfNodes() {
        var room = StrangerRoom(places: 8, placesPerSource: 6)
        _ = room.enter(1, Self.v6(9, 1))
        room.proved(1)
        #expect(room.count == 0)
        // It comes again, from another address of its network, and its handshake takes long.
        #expect(room.enter(2, Self.v6(9, 2)) == nil)
        var ended: [UInt64] = []
        for number: UInt64 in 3..<1000 { ended += [room.enter(number, Self.v4(number))].compactMap(\.self) }
        #expect(!ended.contains(2) && ended == Array(3..<993), "the oldest first")
        room.left(2)
        #expect(room.count == 7 && room.enter(1000, Self.v4(1)) == nil)
        // Where all are spared the oldest goes all the same.
        var full = StrangerRoom(places: 2, placesPerSource: 2)
        for number: UInt64 in 1...4 {
            _ = full.enter(number, Self.v4(number % 2))
            if number < 3 { full.proved(number) }
        }
        #expect(full.enter(5, Self.v4(9)) == 3)
    }

    @Test func whatIsKnownIsBounded() {
        var room = StrangerRoom(places: 1, placesPerSource: 1, knownSources: 2)
        for number: UInt64 in 1...3 {
            _ = room.enter(number, Self.v4(number))
            room.proved(number)
        }
        // The first is forgotten, the others are not.
        _ = room.enter(4, Self.v4(1))
        #expect(room.enter(5, Self.v4(2)) == 4 && room.enter(6, Self.v4(7)) == 5)
    }

    @Test func oneMayHaveToGoForWhoIsNoStranger() {
        var room = StrangerRoom(places: 8, placesPerSource: 8)
        #expect(room.leaveOne() == nil)
        for number: UInt64 in 1...3 { _ = room.enter(number, Self.v4(number == 1 ? 1 : 2)) }
        #expect(room.leaveOne() == 2 && room.leaveOne() == 1 && room.leaveOne() == 3 && room.leaveOne() == nil)
    }
}
