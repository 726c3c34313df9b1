// SPDX-License-Identifier: Apache-2.0

/// What a proxy says about itself.
public struct ProxyStatus: Hashable, Sendable {
    /// Of the request that this answers.
    public var request: UInt32
    /// Of the configuration that is in force.
    public var generation: UInt64
    public var listeners: UInt32
    /// Of applications, open now.
    public var connections: UInt64
    /// Accepted and refused since the start.
    public var accepted: UInt64
    public var refused: UInt64
    /// Answers that are waited for.
    public var pendingLegs: UInt32
    public var isDraining: Bool

    public init(
        request: UInt32, generation: UInt64 = 0, listeners: UInt32 = 0, connections: UInt64 = 0, accepted: UInt64 = 0,
        refused: UInt64 = 0, pendingLegs: UInt32 = 0, isDraining: Bool = false
    ) {
        self.request = request
        self.generation = generation
        self.listeners = listeners
        self.connections = connections
        self.accepted = accepted
        self.refused = refused
        self.pendingLegs = pendingLegs
        self.isDraining = isDraining
    }
}

extension ProxyStatus: WireValue {
    public func encode(to writer: inout ByteWriter) {
        writer.write(request, generation, listeners, connections, accepted, refused, pendingLegs, isDraining)
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(
            request: try reader.read(), generation: try reader.read(), listeners: try reader.read(),
            connections: try reader.read(), accepted: try reader.read(), refused: try reader.read(),
            pendingLegs: try reader.read(), isDraining: try reader.read())
    }
}
