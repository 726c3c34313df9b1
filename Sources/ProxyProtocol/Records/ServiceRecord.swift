// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// One TCP port of a Service, and where it is served.
public struct ServiceRecord: Hashable, Sendable {
    /// Where connections to the port can be led.
    public struct Endpoint: Hashable, Sendable {
        public var address: IPAddress
        public var port: UInt16
        /// Its share is its weight by the sum of the weights; 0 gets nothing.
        public var weight: UInt32
        public var zone: String?
        public var node: String?
        public var isReady: Bool
        public var isTerminating: Bool
        /// The same place by the other family, for pods that have no address of the first.
        public var alternate: IPAddress?

        public init(
            address: IPAddress, port: UInt16, weight: UInt32 = 1, zone: String? = nil, node: String? = nil,
            isReady: Bool = true, isTerminating: Bool = false, alternate: IPAddress? = nil
        ) {
            self.address = address
            self.port = port
            self.weight = weight
            self.zone = zone
            self.node = node
            self.isReady = isReady
            self.isTerminating = isTerminating
            self.alternate = alternate
        }
    }

    public var service: NamespacedName
    /// The Service's own port, which routes and clients name.
    public var port: UInt16
    /// Empty if the Service has one port without a name.
    public var portName: String
    /// Addresses that clients ask for; none for a headless Service.
    public var addresses: [IPAddress]
    public var appProtocol: String?
    public var endpoints: [Endpoint]
    /// How requests to it are carried: of every MeshPolicy, decided.
    public var settings: MeshPolicySettings

    public init(
        service: NamespacedName, port: UInt16, portName: String = "", addresses: [IPAddress] = [],
        appProtocol: String? = nil, endpoints: [Endpoint] = [], settings: MeshPolicySettings = MeshPolicySettings()
    ) {
        self.service = service
        self.port = port
        self.portName = portName
        self.addresses = addresses
        self.appProtocol = appProtocol
        self.endpoints = endpoints
        self.settings = settings
    }

    public var key: RecordKey { RecordKey(.service, "\(service):\(port)") }
}

extension ServiceRecord: WireValue {
    public func encode(to writer: inout ByteWriter) {
        writer.write(service, port, portName, addresses, appProtocol, endpoints, settings)
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(
            service: try reader.read(), port: try reader.read(), portName: try reader.read(),
            addresses: try reader.read(), appProtocol: try reader.read(), endpoints: try reader.read(),
            settings: try reader.read())
    }
}

extension ServiceRecord.Endpoint: WireValue {
    public func encode(to writer: inout ByteWriter) {
        writer.write(address, port, weight, zone, node, isReady, isTerminating, alternate)
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(
            address: try reader.read(), port: try reader.read(), weight: try reader.read(), zone: try reader.read(),
            node: try reader.read(), isReady: try reader.read(), isTerminating: try reader.read(),
            alternate: try reader.read())
    }
}
