// SPDX-License-Identifier: Apache-2.0

/// Where an endpoint of a service port is, in whatever state.
public struct ServiceEndpoint: Hashable, Comparable, Sendable {
    public let address: IPAddress
    public let port: UInt16

    public init(address: IPAddress, port: UInt16) {
        self.address = address
        self.port = port
    }

    public static func < (left: Self, right: Self) -> Bool {
        (left.address, left.port) < (right.address, right.port)
    }
}

extension CompiledService {
    /// Whether the service lists the endpoint: ready or not, terminating, of any weight, on any node.
    ///
    /// A connection may stay with such an endpoint, whether or not a new one would be led there (KEP-1672: terminating
    /// endpoints stay in their slice until their pod has gone, so that they can drain).
    public func lists(_ endpoint: ServiceEndpoint) -> Bool {
        // Looked for where it stands: whoever asks about few connections need not pay for all endpoints.
        var (low, high) = (endpoints.startIndex, endpoints.endIndex)
        while low < high {
            let middle = low + (high - low) / 2
            if endpoints[middle] < endpoint { low = middle + 1 } else { high = middle }
        }
        return low < endpoints.endIndex && endpoints[low] == endpoint
    }
}
