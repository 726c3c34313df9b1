// SPDX-License-Identifier: Apache-2.0

/// The verdicts of one direction and transport of a policy set, for all ports and identities.
///
/// Ports with the same verdicts for everyone share a class; a class has the verdict that
/// ``IdentityNumber/world`` gets, and the identities for which the verdict differs.
public struct PortTable: Hashable, Sendable {
    /// Ports from `firstPort` to just before the next segment.
    public struct Segment: Hashable, Sendable {
        public let firstPort: UInt16
        /// Index in ``PortTable/exceptions``.
        public let portClass: UInt16
        /// For identities that have no exception in the class.
        public let verdict: PolicyVerdict

        public init(firstPort: UInt16, portClass: UInt16, verdict: PolicyVerdict) {
            self.firstPort = firstPort
            self.portClass = portClass
            self.verdict = verdict
        }
    }

    public struct Exception: Hashable, Sendable {
        public let identity: IdentityNumber
        public let verdict: PolicyVerdict

        public init(identity: IdentityNumber, verdict: PolicyVerdict) {
            self.identity = identity
            self.verdict = verdict
        }
    }

    /// Contiguous from port 0, ascending; neighbours differ in class.
    public let segments: [Segment]
    /// By class, ascending by identity.
    public let exceptions: [[Exception]]

    /// Every identity on every port.
    public static let allowAll = PortTable(
        segments: [Segment(firstPort: 0, portClass: 0, verdict: .allow)], exceptions: [[]])

    public init(segments: [Segment], exceptions: [[Exception]]) {
        self.segments = segments
        self.exceptions = exceptions
    }

    /// Classes fit in 14 bits of an entry (`MESH_PORT_CLASS`).
    public static let maximumClasses = 1 << 14

    public func segment(of port: UInt16) -> Segment {
        var low = 0
        var high = segments.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if segments[middle].firstPort <= port { low = middle } else { high = middle }
        }
        return segments[low]
    }

    public func verdict(of identity: IdentityNumber, port: UInt16) -> PolicyVerdict {
        let segment = segment(of: port)
        let exceptions = exceptions[Int(segment.portClass)]
        var range = 0..<exceptions.count
        while let middle = range.isEmpty ? nil : (range.lowerBound + range.upperBound) / 2 {
            let exception = exceptions[middle]
            if exception.identity == identity { return exception.verdict }
            range = exception.identity < identity ? middle + 1..<range.upperBound : range.lowerBound..<middle
        }
        return segment.verdict
    }
}

extension PortTable {
    /// The table as the kernel reads it.
    public struct Encoded: Hashable, Sendable {
        /// Different pages, each of 256 entries: `class << 2 | verdict` by the low byte of the port (`struct mesh_port_page`).
        public let pages: [[UInt16]]
        /// Index in ``pages`` by the high byte of the port (`struct mesh_port_map` holds the kernel's page numbers).
        public let pageIndexes: [UInt8]
    }

    public func encoded() -> Encoded {
        var pages: [[UInt16]] = []
        var indexes: [[UInt16]: UInt8] = [:]
        // Most pages repeat one entry: found without making them.
        var uniform: [UInt16: UInt8] = [:]
        var pageIndexes: [UInt8] = []
        pageIndexes.reserveCapacity(256)
        var next = 0
        var entry: UInt16 = 0
        for high in 0..<256 {
            let first = high << 8
            let isUniform = next == segments.count || Int(segments[next].firstPort) >= first + 256
            if isUniform, let index = uniform[entry] {
                pageIndexes.append(index)
                continue
            }
            var page = [UInt16](repeating: entry, count: 256)
            while next < segments.count, Int(segments[next].firstPort) < first + 256 {
                let segment = segments[next]
                entry = segment.portClass << 2 | UInt16(segment.verdict.rawValue)
                for low in Int(segment.firstPort) - first..<256 { page[low] = entry }
                next += 1
            }
            let index = indexes[page] ?? UInt8(pages.count)
            if indexes[page] == nil {
                indexes[page] = index
                pages.append(page)
            }
            if isUniform { uniform[entry] = index }
            pageIndexes.append(index)
        }
        return Encoded(pages: pages, pageIndexes: pageIndexes)
    }
}
