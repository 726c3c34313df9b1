// SPDX-License-Identifier: Apache-2.0

import Glibc
public import LinuxIO
public import MeshModel
public import ProxyProtocol

/// Makes sockets inside the network namespaces of pods.
///
/// Programs of a cgroup follow the cgroup of the process that made a socket, so what a proxy uses in a pod is made by a
/// process that sits where the mesh's programs see it.
public struct SocketMaker {
    /// A socket, and the port it is bound to; 0: none yet.
    public struct Made {
        public let socket: SharedDescriptor
        public let port: UInt16
    }

    /// Pods of one node: as many as the mesh's own tables hold.
    public static let maximumNamespaces = 4096
    /// Connections that wait to be accepted; the kernel's own bound is net.core.somaxconn.
    public static let maximumBacklog: UInt32 = 4096

    private var namespaces: [UInt64: PodNamespaceHandle] = [:]

    public init() {}

    /// Sockets can be made in `namespace` until it is removed. Added again, it stays.
    ///
    /// - Throws: ``SystemError``; ESTALE if its cookie is another one, ENFILE if there are too many.
    public mutating func add(_ namespace: SharedDescriptor, netns: UInt64) throws(SystemError) {
        guard namespaces[netns] == nil else { return }
        guard namespaces.count < Self.maximumNamespaces else {
            throw SystemError(
                "setns", "namespace \(netns)", errnoCode: ENFILE, hint: "at most \(Self.maximumNamespaces) pods")
        }
        let handle = PodNamespaceHandle(try NetworkNamespace(namespace, path: "namespace \(netns)"))
        let cookie = try handle.namespace.cookie()
        guard cookie == netns else {
            throw SystemError(
                "setns", "namespace \(netns)", errnoCode: ESTALE, hint: "the descriptor is of namespace \(cookie)")
        }
        namespaces[netns] = handle
    }

    /// Lets a namespace go, or it would live as long as this process. Sockets that were made in it live on.
    public mutating func remove(netns: UInt64) { namespaces[netns] = nil }

    /// Listens on a loopback address and a port that the kernel chooses.
    ///
    /// Without SO_REUSEADDR and SO_REUSEPORT: nobody in the pod can share the port.
    public func listener(_ key: ListenerKey, backlog: UInt32) throws(SystemError) -> Made {
        let address = key.family == .ipv4 ? IPAddress(v4: 0x7f00_0001) : IPAddress(high: 0, low: 1)
        let backlog = CInt(min(max(backlog, 1), Self.maximumBacklog))
        return try inside(key.netns) { () throws(SystemError) in
            let socket = try InetSocket.make(isIPv4: address.isIPv4)
            try InetSocket.bind(socket, to: address.bytes, isIPv4: address.isIPv4)
            try InetSocket.listen(socket, backlog: backlog)
            return Made(socket: socket, port: try InetSocket.port(of: socket))
        }
    }

    /// A TCP socket that goes out from an address of the pod, and is not connected.
    ///
    /// Its port is chosen when it connects.
    public func leg(netns: UInt64, source: IPAddress) throws(SystemError) -> Made {
        try inside(netns) { () throws(SystemError) in
            let socket = try InetSocket.make(isIPv4: source.isIPv4)
            try InetSocket.bind(socket, to: source.bytes, isIPv4: source.isIPv4, addressOnly: true)
            return Made(socket: socket, port: 0)
        }
    }

    private func inside(_ netns: UInt64, _ body: () throws(SystemError) -> Made) throws(SystemError) -> Made {
        guard let handle = namespaces[netns] else {
            throw SystemError(
                "setns", "namespace \(netns)", errnoCode: ENOENT, hint: "no enrolled pod has this namespace")
        }
        return try handle.namespace.run(body)
    }
}

/// Owns a namespace for a table.
private final class PodNamespaceHandle {
    let namespace: NetworkNamespace

    init(_ namespace: consuming NetworkNamespace) { self.namespace = namespace }
}
