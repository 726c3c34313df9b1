// SPDX-License-Identifier: Apache-2.0

/// What a pod asks of the mesh, by its annotations.
public struct PodMeshSettings: Hashable, Sendable {
    /// Annotation `sockmesh.io/accelerate`: whether bytes may go from socket to socket.
    public enum Acceleration: String, Hashable, Sendable {
        /// Where the node can prove that nothing differs from TCP.
        case auto
        case enabled
        case disabled
    }

    /// `sockmesh.io/mesh`; `nil`: as the namespace says.
    public var membership: MeshMembership?
    /// `sockmesh.io/netns`: path of the pod's network namespace.
    public var netnsPath: String?
    /// `sockmesh.io/pid`: a process in the pod's network namespace.
    public var pid: Int32?
    public var acceleration: Acceleration
    /// `sockmesh.io/skip-inbound-ports`: ports of the pod that the mesh leaves alone. Ascending.
    public var skipInboundPorts: [UInt16]
    /// `sockmesh.io/skip-outbound-ports`: destination ports that the mesh leaves alone. Ascending.
    public var skipOutboundPorts: [UInt16]
    /// `sockmesh.io/allow-raw-sockets`: such a pod can bypass egress policy.
    public var allowRawSockets: Bool
    /// `sockmesh.io/encrypt: always`: TCP with enrolled pods of the same node goes through mutual TLS too.
    public var encrypts: Bool
    /// `sockmesh.io/weight`: share of this pod as an endpoint, relative to the others.
    public var weight: UInt32?

    public init(
        membership: MeshMembership? = nil, netnsPath: String? = nil, pid: Int32? = nil,
        acceleration: Acceleration = .auto, skipInboundPorts: [UInt16] = [], skipOutboundPorts: [UInt16] = [],
        allowRawSockets: Bool = false, encrypts: Bool = false, weight: UInt32? = nil
    ) {
        self.membership = membership
        self.netnsPath = netnsPath
        self.pid = pid
        self.acceleration = acceleration
        self.skipInboundPorts = skipInboundPorts
        self.skipOutboundPorts = skipOutboundPorts
        self.allowRawSockets = allowRawSockets
        self.encrypts = encrypts
        self.weight = weight
    }

    /// - Throws: ``AnnotationError`` for the first annotation, in the order of ``MeshAnnotation``, with a bad value.
    public init(annotations: [String: String]) throws(AnnotationError) {
        self.init()
        membership = try MeshAnnotation.membership(in: annotations)
        netnsPath = try MeshAnnotation.netns.value(in: annotations, expected: "an absolute path") {
            $0.hasPrefix("/") ? $0 : nil
        }
        pid = try MeshAnnotation.pid.value(in: annotations, expected: "a process id") {
            Int32($0).flatMap { $0 > 0 ? $0 : nil }
        }
        acceleration =
            try MeshAnnotation.accelerate.value(in: annotations, expected: "auto, enabled or disabled") {
                Acceleration(rawValue: $0)
            } ?? .auto
        skipInboundPorts = try MeshAnnotation.skipInboundPorts.ports(in: annotations)
        skipOutboundPorts = try MeshAnnotation.skipOutboundPorts.ports(in: annotations)
        allowRawSockets = try MeshAnnotation.allowRawSockets.flag(in: annotations)
        encrypts =
            try MeshAnnotation.encrypt.value(in: annotations, expected: "always") { $0 == "always" ? true : nil }
            ?? false
        weight = try MeshAnnotation.weight(in: annotations)
    }
}
