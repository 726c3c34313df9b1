// SPDX-License-Identifier: Apache-2.0

import LinuxIO

/// Whose place a connection takes that has proved nothing yet, when there are too many of its kind.
///
/// Anybody can bring these about, and a node is one of them until its handshake is done. So one source cannot take what all
/// have, and where a node has come from before is spared: a flood ends its own connections, and those of others like it.
struct StrangerRoom {
    /// Places of all; of one source.
    let places: Int
    let placesPerSource: Int
    /// Sources that are known as those of nodes.
    let knownSources: Int

    /// Whoever has an IPv4 address has one; whoever has an IPv6 address mostly has a network of 64 bits (RFC 6177).
    struct Source: Hashable {
        private let high: UInt64
        private let low: UInt64

        init(_ endpoint: StreamEndpoint) {
            high = endpoint.high
            let isIPv4 = endpoint.high == 0 && endpoint.low >> 32 == 0xffff
            low = isIPv4 ? endpoint.low : 0
        }
    }

    /// In the order in which they came, by growing numbers.
    private var strangers: [(number: UInt64, source: Source)] = []
    /// With the number of the last connection that a node had from there.
    private var known: [Source: UInt64] = [:]

    init(places: Int = 32, placesPerSource: Int = 16, knownSources: Int = 1024) {
        (self.places, self.placesPerSource, self.knownSources) = (places, placesPerSource, knownSources)
    }

    var count: Int { strangers.count }

    /// A connection has come. - Returns: The one that has to end for it.
    mutating func enter(_ number: UInt64, _ source: Source) -> UInt64? {
        defer { strangers.append((number, source)) }
        guard let place = victim(for: source) else { return nil }
        return strangers.remove(at: place).number
    }

    /// Makes room for somebody who needs more than a stranger's place. - Returns: The one that has to end.
    mutating func leaveOne() -> UInt64? {
        leastSpared().map { strangers.remove(at: $0).number }
    }

    /// A connection is a node's.
    mutating func proved(_ number: UInt64) {
        guard let place = strangers.firstIndex(where: { $0.number == number }) else { return }
        let source = strangers.remove(at: place).source
        if known.count >= knownSources, known[source] == nil, let oldest = known.min(by: { $0.value < $1.value }) {
            known[oldest.key] = nil
        }
        known[source] = number
    }

    /// A connection is over. Nothing is done for one that is no stranger's.
    mutating func left(_ number: UInt64) { strangers.removeAll { $0.number == number } }

    private func victim(for source: Source) -> Int? {
        if strangers.count(where: { $0.source == source }) >= placesPerSource {
            return strangers.firstIndex { $0.source == source }
        }
        return strangers.count >= places ? leastSpared() : nil
    }

    /// The oldest of the source that has most, of those that no node has come from if there are any.
    private func leastSpared() -> Int? {
        var counts: [Source: Int] = [:]
        for (_, source) in strangers { counts[source, default: 0] += 1 }
        let unknown = counts.filter { known[$0.key] == nil }
        guard let most = (unknown.isEmpty ? counts : unknown).values.max() else { return nil }
        return strangers.firstIndex {
            counts[$0.source] == most && (unknown.isEmpty || known[$0.source] == nil)
        }
    }
}
