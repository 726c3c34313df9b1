// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// Bounds of a worker's tunnels. Times are in milliseconds. Each limit says what it stops.
public struct HBONEConfiguration: Sendable {
    /// Port of a pod at which its node takes tunnels.
    public static let port = tunnelPort

    /// Connections with peers, both roles. More are reset when they are accepted: descriptors.
    public var connections = 16384
    /// The same of one source, a pod of this node or a peer's address: one that takes all.
    public var connectionsPerSource = 4096
    /// Tunnels, both roles, those that wait too.
    public var tunnels = 65536
    /// The same of one source.
    public var tunnelsPerSource = 16384
    /// Blocks of ``BufferPool/blockSize`` bytes: the memory of everything that is under way.
    public var buffers = 16384
    /// Beside them, blocks of ``BufferPool/largeBlockSize`` bytes, for connections that move much: who finds none takes one
    /// of the others.
    public var largeBuffers = 64
    /// Pools of connections.
    public var pools = 16384
    /// Tunnels of one pool that wait for a connection.
    public var waitingPerPool = 1024

    /// Connections that shake hands at a time. One more ends the oldest of them, which is the least likely to be honest:
    /// a handshake takes milliseconds.
    public var handshakes = 1024
    /// Steps of handshakes that a worker makes itself in one turn of the loop, each a millisecond of work, because
    /// ``HandshakeThread`` has had no time for them: what is established waits for no more than that.
    public var handshakesPerTurn = 1
    /// Live peers that are checked again in one turn, after the bundles have changed.
    public var checksPerTurn = 8
    /// From a connection to the end of its handshake: silent strangers.
    public var handshakeTimeout: UInt64 = 10_000
    /// From the wish for a connection to its being connected.
    public var dialTimeout: UInt64 = 10_000
    /// From a request for a tunnel to the application's accepting it.
    public var connectTimeout: UInt64 = 10_000

    /// Silence after which a peer is asked for a sign of life, and how long its answer may take.
    public var pingInterval: UInt64 = 10_000
    public var pingTimeout: UInt64 = 20_000
    /// A connection that we have made, without a tunnel.
    public var idleTimeout: UInt64 = 300_000
    /// One that was made to us: longer, so that the client ends it, who knows what it is about to do.
    public var serverIdleTimeout: UInt64 = 900_000
    /// How long what is left is sent when a connection ends.
    public var lingerTimeout: UInt64 = 2_000

    /// What both ends announce, as ztunnel does.
    public var server: HTTP2Limits
    public var client: HTTP2Limits

    public init() {
        var limits = HTTP2Limits()
        limits.streamWindow = 4 << 20
        // Larger than a stream's: one that stands still must not stop the others.
        limits.connectionWindow = 16 << 20
        limits.frameBytes = 1 << 20
        // Each aborted connection of an application is one; they come from a node that has proved who it is.
        limits.rates.resets = HTTP2Guard.Rate(burst: 2000, perSecond: 1000)
        // Heads are of tunnels, which live long, and so do connections: a table would take memory for hardly a byte.
        limits.tableBytes = 0
        limits.compressorTableBytes = 0
        limits.fields = 64
        limits.trailerFields = 16
        server = limits
        server.concurrentStreams = 200
        server.headerListBytes = 64 << 10
        client = limits
        client.concurrentStreams = 100
        client.headerListBytes = 16 << 10
    }
}
