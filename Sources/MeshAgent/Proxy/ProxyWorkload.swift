// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import MeshModel
import ProxyProtocol

/// A pod whose connections a proxy may have to serve.
struct ProxyWorkload: Hashable, Sendable {
    /// Cookie of its network namespace.
    let netns: UInt64
    /// Where the namespace can be opened.
    let path: String
    let addresses: [IPAddress]

    /// The namespace, if the path still leads to it.
    func openNamespace() throws(SystemError) -> SharedDescriptor {
        let namespace = try NetworkNamespace(path: path)
        let cookie = try namespace.cookie()
        guard cookie == netns else {
            throw SystemError(
                "open", path, errnoCode: ESTALE, hint: "the namespace was replaced (cookie \(cookie), not \(netns))")
        }
        return SharedDescriptor(try namespace.duplicateDescriptor())
    }

    /// The pod's own address for a connection to `destination`.
    func source(for destination: IPAddress) -> IPAddress? {
        addresses.first { $0.isIPv4 == destination.isIPv4 }
    }
}

/// Marks a socket as a leg of the proxy, before the proxy gets it: from then on the kernel lets it connect to the one
/// destination of the request and to nothing else.
///
/// - Throws: ``SystemError``; the leg is not handed over then.
typealias LegMarker = (_ socket: SharedDescriptor, _ request: LegRequest) throws(SystemError) -> Void
