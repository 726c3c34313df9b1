// SPDX-License-Identifier: Apache-2.0

import MeshAdmin

/// Where a connection would go: `DST:PORT` or `DST:PORT/udp`.
struct FlowTarget: Equatable {
    /// `NAMESPACE/NAME` or an address without brackets.
    let destination: String
    let port: UInt16
    /// `TCP` or `UDP`.
    let `protocol`: String

    /// - Throws: ``AdminError`` `invalidRequest` that says which part is wrong.
    init(_ text: String) throws(AdminError) {
        func refuse(_ reason: String) -> AdminError {
            AdminError(
                .invalidRequest,
                "'\(text)' is not a destination: \(reason); write for example shop/db:5432, shop/dns:53/udp or [fd00::1]:80"
            )
        }
        guard let colon = text.lastIndex(of: ":") else { throw refuse("it has no port") }
        var destination = String(text[..<colon])
        let parts = text[text.index(after: colon)...].split(separator: "/", omittingEmptySubsequences: false)
        guard let number = parts.first, let port = UInt16(number), port > 0 else {
            throw refuse("'\(parts.first ?? "")' is not a port")
        }
        switch parts.count == 1 ? "tcp" : parts.dropFirst().joined(separator: "/").lowercased() {
        case "tcp": `protocol` = "TCP"
        case "udp": `protocol` = "UDP"
        case let other: throw refuse("'\(other)' is neither tcp nor udp")
        }
        if destination.hasPrefix("["), destination.hasSuffix("]") {
            destination = String(destination.dropFirst().dropLast())
        } else if destination.contains(":") {
            throw refuse("an IPv6 address needs brackets")
        }
        guard !destination.isEmpty else { throw refuse("nothing is before the port") }
        self.destination = destination
        self.port = port
    }
}
