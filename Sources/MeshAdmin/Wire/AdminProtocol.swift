// SPDX-License-Identifier: Apache-2.0

/// The admin protocol: newline-delimited JSON over a Unix stream socket.
///
///     client  {"hello":{"protocol":1,"name":"meshctl 0.1.0"}}
///     server  {"hello":{"protocol":1,"name":"mesh-agent 0.1.0","node":"n1"}}
///     client  {"id":1,"method":"services","arguments":{}}
///     server  {"id":1,"item":{…}}          any number of items
///     server  {"id":1,"progress":"…"}      at any time before the end
///     server  {"id":1,"lost":12}           in the place of items that a slow reader missed
///     server  {"id":1,"end":true}          or {"id":1,"error":{"code":…,"message":…}}
///
/// A connection carries one call at a time; a client that wants to stop a call closes the connection. An error
/// without an `id` is about the connection itself, which the server then closes.
public enum AdminProtocol {
    /// Raised when a message changes its meaning. Fields and methods are added without raising it.
    public static let version = 1
}

/// Bounds of the protocol. Each says what it stops.
public struct AdminLimits: Sendable {
    /// Clients at the same time; descriptors and buffers of the agent.
    public var clients = 64
    /// Of these, places that only root gets: whoever fills the others cannot lock the operator out.
    public var clientsReservedForRoot = 8
    /// Request of somebody who may only read, in bytes.
    public var readerRequest = 1 << 20
    /// Request of somebody who may change things, in bytes: a whole configuration in one `policy apply`.
    public var writerRequest = 64 << 20
    /// One message of the agent, in bytes. Lists are sent one item per message, so it bounds an item.
    public var response = 32 << 20
    /// Encoded answers kept for a client that does not read, in bytes; beyond it lists wait and events are lost.
    public var outbound = 1 << 20
    /// From connection to hello, for a peer that says nothing.
    public var helloTimeout: Duration = .seconds(5)
    /// Between calls.
    public var idleTimeout: Duration = .seconds(300)
    /// For a client that reads nothing of an answer that is not a stream of events.
    public var stalledTimeout: Duration = .seconds(30)

    public init() {}
}
