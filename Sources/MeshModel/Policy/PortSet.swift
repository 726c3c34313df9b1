// SPDX-License-Identifier: Apache-2.0

/// A set of ports as ascending ranges that neither overlap nor touch.
struct PortSet: Hashable, Sendable {
    private(set) var ranges: [ClosedRange<UInt16>]

    static let all = PortSet([0...UInt16.max])
    static let none = PortSet([])

    init(_ unordered: [ClosedRange<UInt16>]) {
        guard unordered.count > 1 else {
            ranges = unordered
            return
        }
        ranges = []
        for range in unordered.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = ranges.last, Int(range.lowerBound) <= Int(last.upperBound) + 1 {
                ranges[ranges.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
            } else {
                ranges.append(range)
            }
        }
    }

    init(ports: some Sequence<UInt16>) {
        self.init(ports.map { $0...$0 })
    }

    var isEmpty: Bool { ranges.isEmpty }
    var isAll: Bool { ranges.count == 1 && ranges[0] == 0...UInt16.max }

    func contains(_ port: UInt16) -> Bool {
        ranges.contains { $0.contains(port) }
    }

    func union(_ other: PortSet) -> PortSet {
        PortSet(ranges + other.ranges)
    }

    func intersection(_ other: PortSet) -> PortSet {
        PortSet(
            ranges.flatMap { mine in
                other.ranges.compactMap { theirs in
                    mine.overlaps(theirs) ? mine.clamped(to: theirs) : nil
                }
            })
    }

    var complement: PortSet {
        var result: [ClosedRange<UInt16>] = []
        var next = 0
        for range in ranges {
            if Int(range.lowerBound) > next { result.append(UInt16(next)...range.lowerBound - 1) }
            next = Int(range.upperBound) + 1
        }
        if next <= Int(UInt16.max) { result.append(UInt16(next)...UInt16.max) }
        return PortSet(result)
    }

    func subtracting(_ other: PortSet) -> PortSet {
        intersection(other.complement)
    }
}
