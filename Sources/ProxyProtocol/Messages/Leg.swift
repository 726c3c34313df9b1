// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// Where a socket leads.
public struct SocketEndpoint: Hashable, Sendable, CustomStringConvertible {
    public let address: IPAddress
    public let port: UInt16

    public init(_ address: IPAddress, _ port: UInt16) {
        self.address = address
        self.port = port
    }

    public var description: String { address.isIPv4 ? "\(address):\(port)" : "[\(address)]:\(port)" }
}

extension SocketEndpoint: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(address, port) }
    public init(from reader: inout ByteReader) throws(WireError) { self.init(try reader.read(), try reader.read()) }
}

/// Asks for a socket inside a pod that may connect to one destination.
public struct LegRequest: Hashable, Sendable {
    /// Chosen by the proxy; not in use by another request.
    public let number: UInt64
    /// Cookie of the network namespace from which the leg goes out.
    public let netns: UInt64
    public let destination: SocketEndpoint
    /// Number of the identity for which the leg comes in to its own pod from outside the mesh; `nil`: it is the pod's,
    /// on its way out.
    public let outsider: UInt32?
    /// Whom the leg serves; `nil` for one that serves many.
    public let client: SocketEndpoint?

    public init(
        number: UInt64, netns: UInt64, destination: SocketEndpoint, outsider: UInt32? = nil, client: SocketEndpoint?
    ) {
        self.number = number
        self.netns = netns
        self.destination = destination
        self.outsider = outsider
        self.client = client
    }
}

extension LegRequest: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(number, netns, destination, outsider, client) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(
            number: try reader.read(), netns: try reader.read(), destination: try reader.read(),
            outsider: try reader.read(), client: try reader.read())
    }
}

/// Why a socket was not made.
public struct SocketRefusal: Error, Hashable, Sendable, CustomStringConvertible {
    /// Of the call that failed; positive.
    public let errnoCode: UInt16
    public let reason: String

    public init(errnoCode: UInt16, _ reason: String) {
        self.errnoCode = errnoCode
        self.reason = String(reason.unicodeScalars.prefix(500))
    }

    public var description: String { reason }
}

extension SocketRefusal: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(errnoCode, reason) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(errnoCode: try reader.read(), try reader.read())
    }
}
