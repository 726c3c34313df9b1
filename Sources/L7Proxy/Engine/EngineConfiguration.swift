// SPDX-License-Identifier: Apache-2.0

/// Bounds of one worker. Times are in milliseconds. Each limit says what it stops.
public struct EngineConfiguration: Sendable {
    /// Of heads. A head and what forwarding adds to it must fit into one block of the buffer pool.
    public var limits = HTTP1Limits()
    /// Field lines of a head, 16 bytes each for an open request: parsing work and memory of a flood of tiny fields.
    public var fieldCount = 128

    /// Of HTTP/2, on both sides. Heads must fit into a block of HTTP/1, where they may go.
    public var http2 = HTTP2Limits()
    /// What policies allow the node of rates, connections and open requests; the same for all its workers.
    public var nodeLimits = NodeLimits()

    /// Clients' connections. More are reset when they are accepted: descriptors.
    public var connections = 65536
    /// Of these, from one source: a pod of this node, or a client's address elsewhere. One pod must not take all.
    public var connectionsPerSource = 16384
    /// Requests that are open at a time, each with its tables.
    public var exchanges = 16384
    /// Of these, from one source: streams cost a client even less than connections.
    public var exchangesPerSource = 8192
    /// Blocks of ``BufferPool/blockSize`` bytes: the memory of all connections that are not idle.
    public var buffers = 16384
    /// Different pairs of endpoint and source.
    public var pools = 16384
    /// Connections to backends.
    public var upstreams = 65536
    /// To one endpoint for one source: a slow backend must not take all.
    public var connectionsPerPool = 1024
    /// That wait there without a request.
    public var idlePerPool = 128
    /// Requests that wait for a connection there.
    public var waitingPerPool = 1024

    /// Connections that came under a policy which is not here yet, and how long they wait for it: a configuration that
    /// never comes must not keep clients for ever. Beyond either their requests are refused.
    public var heldConnections = 1024
    public var policyPatience: UInt64 = 2_000

    /// Older configurations that unanswered requests may hold, each a copy of all routes: memory of long polls while
    /// configurations change fast. The requests of the oldest go over to the newest.
    public var heldSnapshots = 64

    /// How long the client has to begin where nobody has said what is spoken. Then its backend is asked too: no protocol in
    /// which the server begins must wait for long, and no client of HTTP is late by it.
    public var detectTimeout: UInt64 = 50
    /// From a connection, or its first byte of a head, to the head's end: slow heads (Slowloris).
    public var headTimeout: UInt64 = 15_000
    /// A kept connection of a client without a request.
    public var idleTimeout: UInt64 = 60_000
    /// An open request of which nothing moves on either side.
    public var stallTimeout: UInt64 = 300_000
    /// A tunnel in which nothing moves, of an upgrade or of a connection that is not HTTP.
    public var tunnelIdleTimeout: UInt64 = 3_600_000
    /// From the wish for a connection to its being connected, and of a request that waits for one.
    public var connectTimeout: UInt64 = 5_000
    /// A backend's connection without a request. Shorter than the 60 s that backends usually keep theirs, so that they
    /// seldom close one that is being used again.
    public var upstreamIdleTimeout: UInt64 = 30_000
    /// A backend's connection is not used again after this: endpoints' weights must take effect.
    public var upstreamLifetime: UInt64 = 3_600_000
    /// Of connections to backends by HTTP/2 that owe a response: a backend that has gone without a word.
    var keepAlive = LifeSign.Times(quiet: 15_000, interval: 305_000, answer: 10_000)
    /// How long a client's end is waited for after the last response (RFC 9112 section 9.6).
    public var lingerTimeout: UInt64 = 2_000
    /// Bytes of a request that are read and thrown away to keep the connection, or while it ends.
    public var discardBytes: UInt64 = 256 * 1024
    /// Bytes of a request's body; 0: no limit. 413 if more is announced or comes.
    public var bodyBytes: UInt64 = 0

    /// Copies for mirrors that are open at a time; further ones are not made.
    public var mirrors = 1024
    /// Bytes of a body that one copy may hold because its mirror is slow, or not connected yet; then it is given up.
    public var mirrorBytes = 1 << 20
    /// How long a copy may go on after its request has ended.
    public var mirrorGrace: UInt64 = 15_000

    /// Whether requests tell the client's address in `X-Forwarded-For`, since backends see pooled connections.
    public var addsForwardedFor = true

    public init() {
        limits.headBytes = 20 * 1024
        limits.trailerBytes = 4 * 1024
        http2.headerListBytes = 20 * 1024
        http2.trailerListBytes = 8 * 1024
        http2.fields = 128
    }

    /// Head limits that the blocks can hold; what is configured beyond them is cut.
    var fittingLimits: HTTP1Limits {
        var fitting = limits
        fitting.headBytes = min(limits.headBytes, 20 * 1024)
        fitting.trailerBytes = min(limits.trailerBytes, 4 * 1024)
        return fitting
    }
}
