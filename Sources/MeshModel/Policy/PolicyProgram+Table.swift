// SPDX-License-Identifier: Apache-2.0

/// Who may connect to the ports of one segment.
struct PortVerdicts: Sendable {
    /// Those that no layer denies for certain.
    var passed: IdentitySet
    /// Those of them about whose requests a proxy decides.
    var open = IdentitySet()

    func verdict(of slot: Int) -> PolicyVerdict {
        if open.contains(slot) { return .needsProxy }
        return passed.contains(slot) ? .allow : .deny
    }
}

extension PolicyProgram {
    /// The verdicts for all ports and all identities in use.
    func table(_ transport: TransportProtocol, index: IdentityIndex) -> PortTable {
        guard !isEmpty else { return .allowAll }
        let merged = layers.map { $0.peersByPorts(transport, needsProxy: false) }
        let open = layers.map { $0.peersByPorts(transport, needsProxy: true) }
        // Between two neighbouring bounds no rule begins or ends, so one answer holds for all the ports.
        var bounds: Set<Int> = [0]
        for ports in (merged + open).joined().lazy.map(\.key) {
            for range in ports.ranges {
                bounds.insert(Int(range.lowerBound))
                bounds.insert(Int(range.upperBound) + 1)
            }
        }
        let hasTunnels = hasTunnels && transport == .tcp
        if hasTunnels { bounds.formUnion([Int(tunnelPort), Int(tunnelPort) + 1]) }
        bounds.remove(Int(UInt16.max) + 1)
        let starts = bounds.sorted()
        let position = Dictionary(uniqueKeysWithValues: starts.enumerated().map { ($1, $0) })

        func peersBySegment(_ merged: [PortSet: IdentitySet]) -> [IdentitySet] {
            var matched = [IdentitySet](repeating: merged[.all] ?? IdentitySet(), count: starts.count)
            for (ports, peers) in merged where !ports.isAll {
                for range in ports.ranges {
                    guard var segment = position[Int(range.lowerBound)] else { continue }
                    while segment < starts.count, starts[segment] <= Int(range.upperBound) {
                        matched[segment].formUnion(peers)
                        segment += 1
                    }
                }
            }
            return matched
        }
        var verdicts = [PortVerdicts](repeating: PortVerdicts(passed: index.known), count: starts.count)
        for (number, layer) in layers.enumerated() {
            let matched = peersBySegment(merged[number])
            let open = peersBySegment(open[number])
            for segment in starts.indices {
                layer.restrict(&verdicts[segment], matched: matched[segment], open: open[segment])
            }
        }
        for segment in starts.indices where !verdicts[segment].open.isEmpty {
            verdicts[segment].open.formIntersection(verdicts[segment].passed)
        }
        if hasTunnels {
            for segment in starts.indices { addTunnels(&verdicts[segment], firstPort: starts[segment], index) }
        }
        return PortTable(starts: starts, verdicts: verdicts, index: index)
    }
}

extension PolicyProgram {
    /// Leads to the proxy whom policies let pass to a peer of another node, and whoever knocks at the port of tunnels:
    /// what comes through a tunnel is decided when it has been opened, by the port that it is for.
    private func addTunnels(_ verdicts: inout PortVerdicts, firstPort: Int, _ index: IdentityIndex) {
        switch (direction, firstPort == Int(tunnelPort)) {
        case (.ingress, true):
            verdicts.passed = index.known
            verdicts.open = index.known
        case (.ingress, false): break
        case (.egress, true):
            verdicts.passed.formUnion(tunnelled)
            verdicts.open.formUnion(tunnelled)
        case (.egress, false): verdicts.open.formUnion(tunnelled.intersection(verdicts.passed))
        }
    }
}

extension PolicyProgram.Layer {
    /// Rules with the same ports as one: policies are many, and the ports that they name few.
    fileprivate func peersByPorts(
        _ transport: TransportProtocol, needsProxy: Bool
    ) -> [PortSet: IdentitySet] {
        var merged: [PortSet: IdentitySet] = [:]
        for rule in rules where rule.needsProxy == needsProxy {
            let ports = rule.ports[transport]
            if !ports.isEmpty { merged[ports, default: IdentitySet()].formUnion(rule.peers) }
        }
        return merged
    }

    /// Takes from `verdicts` whom the layer denies, and has the proxy asked where `open` rules decide.
    ///
    /// - Parameter matched: Whom some rule matches whatever a request says.
    fileprivate func restrict(_ verdicts: inout PortVerdicts, matched: IdentitySet, open: IdentitySet) {
        if matchMeans == .allow {
            verdicts.passed.formIntersection(open.isEmpty ? matched : matched.union(open))
        } else {
            verdicts.passed.subtract(matched)
        }
        if !open.isEmpty { verdicts.open.formUnion(open.subtracting(matched)) }
    }
}

extension PortTable {
    private struct ClassKey: Hashable {
        let passed: ArraySlice<UInt64>
        let open: ArraySlice<UInt64>
    }

    /// - Parameters:
    ///   - starts: First ports of segments, ascending from 0.
    ///   - verdicts: For each segment, of the known identities.
    fileprivate init(starts: [Int], verdicts: [PortVerdicts], index: IdentityIndex) {
        var segments: [Segment] = []
        var exceptions: [[Exception]] = []
        var classes: [ClassKey: Int] = [:]
        for (start, verdicts) in zip(starts, verdicts) {
            let world = verdicts.verdict(of: IdentityIndex.worldSlot)
            let key = ClassKey(passed: verdicts.passed.canonicalWords, open: verdicts.open.canonicalWords)
            let portClass: Int
            if let known = classes[key] {
                portClass = known
            } else if exceptions.count < Self.maximumClasses {
                portClass = exceptions.count
                classes[key] = portClass
                // The last class that fits is for all that does not fit, and refuses.
                exceptions.append(
                    portClass == Self.maximumClasses - 1
                        ? [] : Self.exceptions(from: world, verdicts, index: index))
            } else {
                portClass = Self.maximumClasses - 1
            }
            if segments.last?.portClass != UInt16(portClass) {
                segments.append(
                    Segment(
                        firstPort: UInt16(start), portClass: UInt16(portClass),
                        verdict: portClass < Self.maximumClasses - 1 ? world : .deny))
            }
        }
        self.init(segments: segments, exceptions: exceptions)
    }

    private static func exceptions(
        from world: PolicyVerdict, _ verdicts: PortVerdicts, index: IdentityIndex
    ) -> [Exception] {
        let different: IdentitySet =
            switch world {
            case .allow: index.known.subtracting(verdicts.passed).union(verdicts.open)
            case .deny: verdicts.passed
            case .needsProxy: index.known.subtracting(verdicts.open)
            }
        // Unknown is what an identity is called if the numbers have run out; it is denied without an entry.
        return different.slots.map {
            Exception(identity: index.number(at: $0), verdict: verdicts.verdict(of: $0))
        }.filter { $0.identity != .unknown }.sorted { $0.identity < $1.identity }
    }
}
