// SPDX-License-Identifier: Apache-2.0

import MeshAdmin

/// Connections for people.
enum ConnectionText {
    static func render(_ connections: [ConnectionReport]) -> String {
        var table = Table(
            "SOURCE", "DESTINATION", "SERVICE", "SENT", ">BYTES", "RECEIVED", ">BYTES", ">REDIRECTED", ">AGE")
        for connection in connections {
            table.add(
                FlowText.end(connection.source), FlowText.end(connection.destination),
                connection.serviceAddress.map(FlowText.service) ?? "", FlowText.path(connection.sent),
                Units.bytes(connection.bytesSent), connection.received.map(FlowText.path) ?? "",
                Units.bytes(connection.bytesReceived), Units.bytes(connection.bytesRedirected),
                Units.seconds(connection.ageSeconds))
        }
        return table.rendered(empty: "No open connections.")
    }
}
