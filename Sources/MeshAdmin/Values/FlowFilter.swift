// SPDX-License-Identifier: Apache-2.0

/// Which flow events somebody wants to see; what is absent selects everything.
public struct FlowFilter: Codable, Hashable, Sendable {
    /// The initiator.
    public var from: EndSelector?
    /// The destination, or the service it was reached by.
    public var to: EndSelector?
    public var verdict: FlowVerdict?

    public init(from: EndSelector? = nil, to: EndSelector? = nil, verdict: FlowVerdict? = nil) {
        self.from = from
        self.to = to
        self.verdict = verdict
    }

    public func matches(_ event: FlowEvent) -> Bool {
        if let from, !from.matches(event.source) { return false }
        if let verdict, verdict != event.verdict { return false }
        guard let to, !to.matches(event.destination) else { return true }
        guard let asked = event.serviceAddress else { return false }
        return to.matches(EndReport(workload: asked.service, address: asked.address, port: asked.port))
    }
}
