// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// What the clients of one source hold of a worker now.
struct SourceShare: BitwiseCopyable {
    var connections = 0
    var exchanges = 0
    fileprivate let source: SourceTable.Source
}

/// Counts what each source holds of a worker, so that one pod cannot take all of it from the others.
///
/// A source is a pod of this node, by its network namespace, or else a client's address. Its share is made with its
/// first connection, which may allocate, and gone with its last.
struct SourceTable: ~Copyable {
    fileprivate struct Source: Hashable, BitwiseCopyable {
        let isNetwork: Bool
        let high: UInt64
        let low: UInt64

        init(_ network: UInt64, _ client: IPAddress) {
            isNetwork = network != 0
            high = isNetwork ? network : client.high
            low = isNetwork ? 0 : client.low
        }
    }

    private let connectionLimit: Int
    private let exchangeLimit: Int
    private var shares: [Source: UnsafeMutablePointer<SourceShare>] = [:]

    init(connections: Int, exchanges: Int) {
        precondition(connections > 0 && exchanges > 0, "a source that may do nothing")
        connectionLimit = connections
        exchangeLimit = exchanges
    }

    deinit { for share in shares.values { share.deallocate() } }

    /// Sources with a connection.
    var count: Int { shares.count }

    /// Counts a connection. - Returns: The share of its source; `nil` if that has too many.
    mutating func enter(_ origin: ConnectionOrigin) -> UnsafeMutablePointer<SourceShare>? {
        enter(network: origin.sourceNetwork, origin.client)
    }

    /// The same. - Parameter network: Of a pod of this node; 0: it is none, and its address says who it is.
    mutating func enter(network: UInt64, _ client: IPAddress) -> UnsafeMutablePointer<SourceShare>? {
        let source = Source(network, client)
        if let share = shares[source] {
            guard share.pointee.connections < connectionLimit else { return nil }
            share.pointee.connections += 1
            return share
        }
        let share = UnsafeMutablePointer<SourceShare>.allocate(capacity: 1)
        share.initialize(to: SourceShare(connections: 1, source: source))
        shares[source] = share
        return share
    }

    /// A connection that was counted is gone, and all its exchanges with it.
    mutating func leave(_ share: UnsafeMutablePointer<SourceShare>) {
        share.pointee.connections -= 1
        guard share.pointee.connections == 0 else { return }
        precondition(share.pointee.exchanges == 0, "a source whose exchanges outlive its connections")
        shares[share.pointee.source] = nil
        share.deallocate()
    }

    /// Whether the source may have one more exchange.
    @inline(__always)
    func hasRoom(_ share: UnsafeMutablePointer<SourceShare>) -> Bool { share.pointee.exchanges < exchangeLimit }
}
