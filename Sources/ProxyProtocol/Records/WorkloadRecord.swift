// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// An enrolled pod of this node: whose connections come from a listener, and how metrics name it.
public struct WorkloadRecord: Hashable, Sendable {
    /// Cookie of its network namespace; never used again before the next boot.
    public var netns: UInt64
    public var pod: NamespacedName
    public var serviceAccount: String
    public var addresses: [IPAddress]
    /// Those that metrics show.
    public var labels: [String: String]

    public init(
        netns: UInt64, pod: NamespacedName, serviceAccount: String = "default", addresses: [IPAddress] = [],
        labels: [String: String] = [:]
    ) {
        self.netns = netns
        self.pod = pod
        self.serviceAccount = serviceAccount
        self.addresses = addresses
        self.labels = labels
    }

    public var key: RecordKey { RecordKey(.workload, String(netns)) }
}

extension WorkloadRecord: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(netns, pod, serviceAccount, addresses, labels) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(
            netns: try reader.read(), pod: try reader.read(), serviceAccount: try reader.read(),
            addresses: try reader.read(), labels: try reader.read())
    }
}
