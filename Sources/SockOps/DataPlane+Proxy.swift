// SPDX-License-Identifier: Apache-2.0

public import CMeshABI

/// What the programs know of the node's proxy.
///
/// Connections that need it are refused unless it is live *and* has a listener in the pod.
extension DataPlane {
    /// Whether a proxy serves the listeners. One word, read for each connection that needs it: connections are
    /// refused, or led to the proxy, from the moment of the change.
    public var isProxyLive: Bool {
        get { maps.control.load(\.proxy_live) != 0 }
        nonmutating set { maps.control.publish(newValue ? 1 : 0, to: \.proxy_live) }
    }

    /// Says where the proxy listens inside a pod, and which addresses captured sockets are to be bound to.
    ///
    /// Ports change in the row as it stands, so that no program sees another pod's; other addresses make a new row.
    ///
    /// - Parameters:
    ///   - listener: ports on the pod's loopback, 0 for a family that is not served.
    ///   - cookie: of the pod's namespace.
    /// - Throws: ``BPFError`` with `.update`: E2BIG if there are too many pods.
    public func setListener(_ listener: mesh_listener, in cookie: UInt64) throws(BPFError) {
        var request = mesh_fill()
        request.netns = cookie
        request.listener = listener
        request.kind = MESH_FILL_LISTENER.rawValue
        if try fill(request) { return }
        try maps.listeners.set(cookie, listener)
    }

    /// A family of addresses.
    public enum Family: Sendable { case ipv4, ipv6 }

    /// Gives SYNs from outside the mesh that need the proxy to `listener`; replaces the one before.
    ///
    /// - Parameters:
    ///   - listener: a listening TCP socket of the pod's namespace, marked by ``mesh_leg/listener``. It is not kept open.
    ///   - family: of its address, on loopback: such an IPv6 socket does not take IPv4.
    ///   - cookie: of the pod's namespace.
    /// - Throws: ``BPFError`` with `.update`: EOPNOTSUPP if it does not listen, E2BIG if there are too many pods.
    public func setInbound(_ listener: CInt, _ family: Family, in cookie: UInt64) throws(BPFError) {
        switch family {
        case .ipv4: try maps.inbound4.set(cookie, listener: listener)
        case .ipv6: try maps.inbound6.set(cookie, listener: listener)
        }
    }

    /// From now on SYNs from outside the mesh that need the proxy are refused. Nothing there is fine.
    public func removeInbound(_ family: Family, in cookie: UInt64) throws(BPFError) {
        switch family {
        case .ipv4: try maps.inbound4.remove(cookie)
        case .ipv6: try maps.inbound6.remove(cookie)
        }
    }

    /// Takes the proxy out of a pod: from now on what needs it is refused there. Nothing there is fine.
    public func removeListener(in cookie: UInt64) throws(BPFError) {
        try removeInbound(.ipv4, in: cookie)
        try removeInbound(.ipv6, in: cookie)
        try maps.listeners.remove(cookie)
    }

    /// Says what a socket of the factory is for; call it before the socket is handed over.
    ///
    /// - Parameters:
    ///   - socket: made in ``DataPlaneConfiguration/factoryCgroup``.
    ///   - leg: ``mesh_leg/listener`` or ``mesh_leg/dial(_:port:netns:identity:)``.
    public func mark(_ socket: CInt, as leg: mesh_leg) throws(BPFError) { try maps.legs.set(socket, leg) }
}

extension mesh_leg {
    /// A socket that accepts captured connections.
    public static var listener: mesh_leg {
        var leg = mesh_leg()
        leg.role = UInt8(MESH_LEG_LISTEN.rawValue)
        return leg
    }

    /// A socket that connects to one destination and to no other.
    ///
    /// - Parameters:
    ///   - destination: as `connect()` will name it; IPv4 as `::ffff:a.b.c.d`.
    ///   - port: the same.
    ///   - netns: cookie of the workload that it stands for, 0 if that is not of this node. Where it is not the
    ///     socket's own namespace, the connection comes in from outside to the pod that it is made in.
    ///   - identity: of that workload; policy is asked about it only where it comes in from outside.
    public static func dial(_ destination: mesh_ip, port: UInt16, netns: UInt64, identity: UInt32 = 0) -> mesh_leg {
        var leg = mesh_leg()
        leg.role = UInt8(MESH_LEG_DIAL.rawValue)
        leg.destination = destination
        leg.port = port
        leg.netns = netns
        leg.identity = identity
        return leg
    }

    /// The same, showing `address` and `port` as the peer to the application that is reached, if that is of the
    /// family of the leg.
    public func showing(client address: mesh_ip, port: UInt16) -> mesh_leg {
        var leg = self
        leg.client = address
        leg.client_port = port
        return leg
    }
}
