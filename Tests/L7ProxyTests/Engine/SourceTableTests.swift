// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@testable import L7Proxy

@Suite struct SourceTableTests {
    private func origin(network: UInt64, _ client: String) -> ConnectionOrigin {
        ConnectionOrigin(
            destination: IPAddress("10.0.0.1")!, destinationPort: 80, client: IPAddress(client)!, clientPort: 1,
            sourceNetwork: network)
    }

    @Test func aPodIsOneSourceWhateverItsAddress() throws {
        var table = SourceTable(connections: 2, exchanges: 1)
        let first = try #require(table.enter(origin(network: 7, "10.0.0.2")))
        #expect(table.enter(origin(network: 7, "fd00::2")) == first)
        #expect(table.enter(origin(network: 7, "10.0.0.2")) == nil)
        // Elsewhere the address is all that is known.
        let other = try #require(table.enter(origin(network: 0, "10.0.0.2")))
        #expect(table.enter(origin(network: 0, "10.0.0.3")) != other)
        #expect(table.count == 3)
    }

    @Test func aShareIsGoneWithItsLastConnection() throws {
        var table = SourceTable(connections: 1, exchanges: 1)
        for _ in 0..<3 {
            let share = try #require(table.enter(origin(network: 7, "10.0.0.2")))
            #expect(table.enter(origin(network: 7, "10.0.0.2")) == nil)
            #expect(table.hasRoom(share))
            share.pointee.exchanges += 1
            #expect(!table.hasRoom(share))
            share.pointee.exchanges -= 1
            table.leave(share)
            #expect(table.count == 0)
        }
    }
}
