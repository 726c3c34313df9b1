// SPDX-License-Identifier: Apache-2.0

import CMeshABI
import Glibc
import L7Proxy
public import LinuxIO
public import MeshModel

/// Where a connection that the proxy has accepted came from and was to go, by the kernel's own record.
///
/// Needs no BPF object and no privilege: it is an option of the accepted socket.
public struct KernelOrigin: Hashable, Sendable {
    /// Which way the connection goes, seen from the pod that it was accepted in.
    public enum Direction: Sendable {
        /// The pod's own, on its way out.
        case outbound
        /// From outside the mesh, to the pod.
        case inbound
    }

    /// What the client asked for: of a service, its address.
    public let destination: IPAddress
    /// Host byte order.
    public let port: UInt16
    public let client: IPAddress
    public let clientPort: UInt16
    /// Cookie of the pod's namespace that it was accepted in.
    public let netns: UInt64
    /// Cookie of the client's namespace, nil if it is no pod of this node.
    public let sourceNetns: UInt64?
    /// Number of the client's identity when it connected.
    public let sourceIdentity: UInt32
    /// Number of the service, nil if the client asked for no service.
    public let service: UInt32?
    /// Of the policy that last allowed the connection.
    public let generation: UInt32
    public let direction: Direction

    public init(
        destination: IPAddress, port: UInt16, client: IPAddress, clientPort: UInt16, netns: UInt64,
        sourceNetns: UInt64?, sourceIdentity: UInt32 = 0, service: UInt32? = nil, generation: UInt32 = 0,
        direction: Direction
    ) {
        self.destination = destination
        self.port = port
        self.client = client
        self.clientPort = clientPort
        self.netns = netns
        self.sourceNetns = sourceNetns
        self.sourceIdentity = sourceIdentity
        self.service = service
        self.generation = generation
        self.direction = direction
    }

    /// Bytes of the option's value.
    public static let byteCount = MemoryLayout<mesh_origin>.size

    /// Asks the kernel about an accepted connection.
    ///
    /// - Parameter socket: accepted from a listener that the factory made.
    /// - Throws: ``SystemError``: ENOENT if the connection has no record, then it must not be served. EOPNOTSUPP or
    ///   ENOPROTOOPT if the socket was not made in the factory's cgroup, or no agent has attached its programs.
    public init(ofAccepted socket: CInt) throws(SystemError) {
        var origin = mesh_origin()
        var length = socklen_t(Self.byteCount)
        try SystemError.check("getsockopt(MESH_SO_ORIGIN)") {
            getsockopt(socket, CInt(MESH_SOL), CInt(MESH_SO_ORIGIN), &origin, &length)
        }
        let decoded = withUnsafeBytes(of: origin) {
            Self(decoding: UnsafeRawBufferPointer(rebasing: $0[..<Int(length)]))
        }
        guard let decoded else {
            throw SystemError(
                "getsockopt(MESH_SO_ORIGIN)", "answered \(length) bytes, not \(Self.byteCount)", errnoCode: EPROTO)
        }
        self = decoded
    }

    /// - Parameter bytes: of the option's value.
    /// - Returns: nil if they are not ``byteCount``, or name no direction.
    public init?(decoding bytes: UnsafeRawBufferPointer) {
        guard bytes.count == Self.byteCount else { return nil }
        let origin = bytes.loadUnaligned(as: mesh_origin.self)
        switch UInt32(origin.direction) {
        case MESH_EGRESS.rawValue: direction = .outbound
        case MESH_INGRESS.rawValue: direction = .inbound
        default: return nil
        }
        destination = Self.wide(origin.destination)
        port = origin.port
        client = Self.wide(origin.client)
        clientPort = origin.client_port
        netns = origin.netns
        sourceNetns = origin.source_netns == 0 ? nil : origin.source_netns
        sourceIdentity = origin.source_identity
        service = origin.service == 0 ? nil : origin.service
        generation = origin.generation
    }

    private static func wide(_ address: mesh_ip) -> IPAddress {
        withUnsafeBytes(of: address) {
            IPAddress(
                high: UInt64(bigEndian: $0.loadUnaligned(as: UInt64.self)),
                low: UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
        }
    }

    /// As the engine has it.
    var forEngine: ConnectionOrigin {
        ConnectionOrigin(
            destination: destination, destinationPort: port, client: client, clientPort: clientPort,
            direction: direction == .outbound ? .outbound : .inbound, sourceIdentity: sourceIdentity,
            sourceNetwork: sourceNetns ?? 0, network: netns, policyGeneration: generation)
    }
}
