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

    @Test func aPodIsOneSourceWhateverItsAddress() {
        var table = SourceTable(connections: 2, exchanges: 1)
        let first = table.enter(origin(network: 7, "10.0.0.2"))
        let second = table.enter(origin(network: 7, "fd00::2"))
        let third = table.enter(origin(network: 7, "10.0.0.2"))
        #expect(first != nil && first == second && third == nil)
        // Elsewhere the address is all that is known.
        let other = table.enter(origin(network: 0, "10.0.0.2"))
        let another = table.enter(origin(network: 0, "10.0.0.3"))
        #expect(other != nil && other != first && another != other)
        let count = table.count
        #expect(count == 3)
        for share in [first, second, other, another] {
            if let share { table.leave(share) }
        }
    }

    @Test func aShareIsGoneWithItsLastConnection() throws {
        var table = SourceTable(connections: 1, exchanges: 1)
        for _ in 0..<3 {
            let entered = table.enter(origin(network: 7, "10.0.0.2"))
            let share = try #require(entered)
            let second = table.enter(origin(network: 7, "10.0.0.2"))
            #expect(second == nil)
            var rooms = [table.hasRoom(share)]
            share.pointee.exchanges += 1
            rooms.append(table.hasRoom(share))
            share.pointee.exchanges -= 1
            table.leave(share)
            rooms.append(table.count == 0)
            #expect(rooms == [true, false, true])
        }
    }
}
