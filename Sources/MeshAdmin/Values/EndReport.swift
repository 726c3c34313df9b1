// SPDX-License-Identifier: Apache-2.0

/// One end of a connection or of a datagram flow.
public struct EndReport: Hashable, Codable, Sendable {
    /// `NAMESPACE/NAME` of the pod, where the address belongs to one that the agent knows.
    public var workload: String?
    /// Text form of the IP address; IPv4 without `::ffff:`.
    public var address: String
    public var port: UInt16
    public var identity: IdentityReport?

    public init(workload: String? = nil, address: String, port: UInt16, identity: IdentityReport? = nil) {
        self.workload = workload
        self.address = address
        self.port = port
        self.identity = identity
    }
}

/// The service address that the application asked for.
public struct ServiceAddressReport: Hashable, Codable, Sendable {
    /// `NAMESPACE/NAME` of the service, unless it is gone.
    public var service: String?
    public var address: String
    public var port: UInt16

    public init(service: String? = nil, address: String, port: UInt16) {
        self.service = service
        self.address = address
        self.port = port
    }
}
