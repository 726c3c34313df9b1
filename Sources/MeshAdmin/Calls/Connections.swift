// SPDX-License-Identifier: Apache-2.0

/// Asks for the open TCP connections of enrolled pods; one item each.
public struct ConnectionsRequest: AdminCall {
    public typealias Item = ConnectionReport
    public static let method = "connections"
    public static let access = AdminAccess.read

    /// Only connections with an end that matches: `NAMESPACE`, `NAMESPACE/NAME`, an address or a prefix.
    public var workload: EndSelector?
    /// At most so many.
    public var limit: Int?

    public init(workload: EndSelector? = nil, limit: Int? = nil) {
        self.workload = workload
        self.limit = limit
    }
}

/// A connection between two sockets.
public struct ConnectionReport: Codable, Equatable, Sendable {
    /// `TCP`.
    public var `protocol`: String
    /// The end that connected.
    public var source: EndReport
    public var destination: EndReport
    /// What the application asked for, if that was a service.
    public var serviceAddress: ServiceAddressReport?
    /// Path of the bytes from source to destination.
    public var sent: PathReport
    /// Path of the bytes from destination to source. Absent where the destination is not a pod of this node.
    public var received: PathReport?
    /// Bytes from source to destination, both paths. The kernel reports TCP's share when the connection closes.
    public var bytesSent: UInt64
    public var bytesReceived: UInt64
    /// Of both, those that moved from socket to socket.
    public var bytesRedirected: UInt64
    public var ageSeconds: Double
    /// The generation under which the connection was last decided.
    public var generation: UInt32

    public init(
        protocol: String = "TCP", source: EndReport, destination: EndReport,
        serviceAddress: ServiceAddressReport? = nil, sent: PathReport, received: PathReport?, bytesSent: UInt64,
        bytesReceived: UInt64, bytesRedirected: UInt64, ageSeconds: Double, generation: UInt32
    ) {
        self.protocol = `protocol`
        self.source = source
        self.destination = destination
        self.serviceAddress = serviceAddress
        self.sent = sent
        self.received = received
        self.bytesSent = bytesSent
        self.bytesReceived = bytesReceived
        self.bytesRedirected = bytesRedirected
        self.ageSeconds = ageSeconds
        self.generation = generation
    }
}
