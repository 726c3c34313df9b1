// SPDX-License-Identifier: Apache-2.0

import MeshAdmin

/// Flow events for people, a line each.
enum FlowText {
    static func render(_ event: FlowEvent) -> String {
        var words = [
            String(event.time.description.prefix(23)) + "Z", pad(event.kind.rawValue, 6), event.protocol,
            "\(end(event.source)) -> \(end(event.destination))",
        ]
        if let service = event.serviceAddress { words.append("(service \(Self.service(service)))") }
        switch event.kind {
        case .opened: break
        case .denied, .cut, .dryRun:
            words.append("\(event.direction.rawValue)")
            if let reason = event.reason { words.append(reason) }
            words.append(event.policy.map { "by \($0)" } ?? "")
        case .closed:
            let details = [
                traffic("sent", event.bytesSent, event.sent), traffic("received", event.bytesReceived, event.received),
                event.durationSeconds.map { "in \(Units.seconds($0))" }, event.rttMicroseconds.map { "rtt \($0)us" },
                event.retransmits.flatMap { $0 > 0 ? "\($0) retransmits" : nil },
            ]
            words.append(details.compactMap(\.self).joined(separator: ", "))
        }
        return words.filter { !$0.isEmpty }.joined(separator: " ") + "\n"
    }

    /// The notice that events were dropped at this place.
    static func lost(_ count: UInt64) -> String {
        "\(count) event\(count == 1 ? " was" : "s were") lost here: they came faster than they were read\n"
    }

    /// `shop/web:4000`, or the address where the pod is not known.
    static func end(_ end: EndReport) -> String {
        end.workload.map { "\($0):\(end.port)" } ?? Units.endpoint(end.address, end.port)
    }

    static func service(_ service: ServiceAddressReport) -> String {
        service.service.map { "\($0):\(service.port)" } ?? Units.endpoint(service.address, service.port)
    }

    /// `redirect`, `tcp (small-writes)`.
    static func path(_ path: PathReport) -> String {
        path.reason.map { "\(path.path.rawValue) (\($0))" } ?? path.path.rawValue
    }

    private static func traffic(_ verb: String, _ bytes: UInt64?, _ path: PathReport?) -> String? {
        guard let bytes else { return nil }
        return "\(verb) \(Units.bytes(bytes))" + (path.map { " \(Self.path($0))" } ?? "")
    }

    private static func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}
