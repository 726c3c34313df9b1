// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// From a hash to an endpoint, so that a change of one endpoint moves hardly more than its own share.
///
/// A function of the endpoints' addresses and weights alone: every worker of every node has the same table. D.
/// Eisenbud et al., "Maglev: a fast and reliable software network load balancer", NSDI 2016, section 3.4; with weights
/// as in Envoy: an endpoint of half the greatest weight has every second turn.
struct MaglevTable: ~Copyable {
    /// A prime, so that every step leads through the whole table. With 100 entries for an endpoint, shares are off by 1 %
    /// (section 5.3 of the paper); 32 KiB for a worker.
    static let defaultSize = 16_381

    static let none = UInt16.max

    let size: Int
    private let entries: UnsafeMutablePointer<UInt16>
    private(set) var isEmpty = true

    /// - Precondition: `size` is a prime, 3 at least.
    init(size: Int) {
        precondition(Self.isPrime(size), "a Maglev table's size must be a prime")
        self.size = size
        entries = .allocate(capacity: size)
        entries.initialize(repeating: Self.none, count: size)
    }

    deinit { entries.deallocate() }

    /// Fills the table anew.
    ///
    /// - Parameter endpoints: each identity once, with a weight above 0 and a slot below ``none``.
    mutating func build(_ endpoints: [(identity: ClusterEndpoint.Identity, weight: UInt32, slot: UInt16)]) {
        entries.update(repeating: Self.none, count: size)
        isEmpty = endpoints.isEmpty
        if isEmpty { return }
        let ordered = endpoints.sorted { $0.identity < $1.identity }
        let greatest = UInt64(ordered.map(\.weight).max() ?? 1)
        var places = ordered.map { Permutation($0.identity, size) }
        var owed = [UInt64](repeating: 0, count: ordered.count)
        var filled = 0
        while true {
            for index in ordered.indices {
                owed[index] += UInt64(ordered[index].weight)
                guard owed[index] >= greatest else { continue }
                owed[index] -= greatest
                while entries[places[index].place] != Self.none { places[index].advance(size) }
                entries[places[index].place] = ordered[index].slot
                filled += 1
                if filled == size { return }
            }
        }
    }

    /// The slot for a hash; ``none`` if the table is empty.
    @inline(__always)
    func slot(_ hash: UInt64) -> UInt16 { entries[Int(truncatingIfNeeded: Draw.below(UInt64(size), hash))] }

    private struct Permutation {
        var place: Int
        let step: Int

        init(_ identity: ClusterEndpoint.Identity, _ size: Int) {
            let hash = Draw.next(
                identity.address.high ^ Draw.next(identity.address.low ^ Draw.next(UInt64(identity.port))))
            place = Int(hash % UInt64(size))
            step = 1 + Int(Draw.next(hash) % UInt64(size - 1))
        }

        mutating func advance(_ size: Int) {
            place += step
            if place >= size { place -= size }
        }
    }

    static func isPrime(_ number: Int) -> Bool {
        guard number > 2, number % 2 == 1 else { return false }
        var divisor = 3
        while divisor * divisor <= number {
            if number % divisor == 0 { return false }
            divisor += 2
        }
        return true
    }
}

/// Makes the key of consistent hashing out of what a request has. The same on every node; not a secret, so that a client
/// that chooses its header chooses its endpoint.
public enum BalancingKey {
    /// The hash of a header's value or of another text.
    public static func of(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var hash = Draw.next(UInt64(bytes.count))
        var offset = 0
        while offset &+ 8 <= bytes.count {
            let word = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            hash = Draw.next(hash ^ UInt64(littleEndian: word))
            offset &+= 8
        }
        var rest: UInt64 = 0
        while offset < bytes.count {
            rest = rest << 8 | UInt64(bytes[offset])
            offset &+= 1
        }
        return Draw.next(hash ^ rest)
    }

    /// The hash of a client's address, whatever its port.
    public static func of(_ address: IPAddress) -> UInt64 { Draw.next(address.high ^ Draw.next(address.low)) }
}
