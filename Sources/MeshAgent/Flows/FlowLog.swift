// SPDX-License-Identifier: Apache-2.0
import Logging
import MeshAdmin

/// The newest flow events of the node, those who follow them, and the log lines of refusals.
///
/// Belongs to the control thread. Memory is bounded: the oldest event goes when a new one comes.
final class FlowLog {
    private let capacity: Int
    private var ring: [FlowEvent] = []
    /// Where the next event goes once the ring is full: the oldest is there.
    private var next = 0
    private var followers: [(filter: FlowFilter, responder: Responder<FlowEvent>)] = []
    private let logger: Logger

    /// - Parameter capacity: events kept; about 600 bytes each.
    init(capacity: Int = 8192, logger: Logger) {
        precondition(capacity > 0, "a flow log without room")
        self.capacity = capacity
        self.logger = logger
    }

    func record(_ event: FlowEvent) {
        if ring.count < capacity {
            ring.append(event)
        } else {
            ring[next] = event
            next = (next + 1) % capacity
        }
        for follower in followers where follower.filter.matches(event) { follower.responder.send(event) }
        log(event)
    }

    /// Remembered events that match, oldest first.
    ///
    /// - Parameter last: at most so many, the newest.
    func events(_ filter: FlowFilter, last: Int?) -> [FlowEvent] {
        let matching = (ring[next...] + ring[..<next]).filter(filter.matches)
        return last.map { Array(matching.suffix($0)) } ?? Array(matching)
    }

    /// Sends the events to come to `responder` until its client goes away.
    func follow(_ filter: FlowFilter, _ responder: Responder<FlowEvent>) {
        followers.append((filter, responder))
        responder.onCancel = { [weak self, weak responder] in
            self?.followers.removeAll { $0.responder === responder || $0.responder.isDone }
        }
    }

    /// Refusals are worth a line each (the kernel limits their rate per pod), openings and closings are not.
    private func log(_ event: FlowEvent) {
        let level: Logger.Level =
            switch event.kind {
            case .denied, .cut, .dryRun: .notice
            case .opened, .closed: .debug
            }
        guard level >= logger.logLevel else { return }
        var metadata: Logger.Metadata = [
            "protocol": "\(event.protocol)",
            "source": "\(Self.text(event.source))",
            "destination": "\(Self.text(event.destination))",
            "direction": "\(event.direction.rawValue)",
            "generation": "\(event.generation)",
        ]
        metadata["service"] = event.serviceAddress.map { "\($0.service ?? $0.address):\($0.port)" }
        metadata["reason"] = event.reason.map { "\($0)" }
        metadata["policy"] = event.policy.map { "\($0)" }
        if event.kind == .closed {
            metadata["bytes_sent"] = event.bytesSent.map { "\($0)" }
            metadata["bytes_received"] = event.bytesReceived.map { "\($0)" }
            metadata["bytes_redirected"] = event.bytesRedirected.map { "\($0)" }
            metadata["seconds"] = event.durationSeconds.map { "\($0)" }
        }
        logger.log(level: level, "flow \(event.kind.rawValue)", metadata: metadata)
    }

    private static func text(_ end: EndReport) -> String {
        let address = end.address.contains(":") ? "[\(end.address)]:\(end.port)" : "\(end.address):\(end.port)"
        return end.workload.map { "\($0) (\(address))" } ?? address
    }
}
