// SPDX-License-Identifier: Apache-2.0

public import L7Proxy
public import LinuxIO
public import ProxyProtocol

/// What serves the connections of a proxy: the part that reads bytes of applications.
///
/// All calls come on the thread of the host's event loop; an engine with threads of its own passes on what concerns
/// them. A call returns soon, because the link to the agent waits meanwhile.
public protocol ProxyEngine: AnyObject {
    /// Puts a generation in force, as a whole or not at all.
    ///
    /// - Parameter inForce: called once, from the event loop, when no request is judged by an earlier one any more.
    /// - Throws: ``EngineRefusal``; the generation before stays, and the agent is told why.
    func apply(_ configuration: ProxyConfiguration, inForce: @escaping () -> Void) throws(EngineRefusal)

    /// Calls `done`, once, from the event loop, when every thread of the engine has shown that it lives: what is applied
    /// then is in force soon.
    func whenAnswering(_ done: @escaping () -> Void)

    /// A configuration was not taken. What it might deny is not begun until ``apply(_:inForce:)`` has taken another.
    ///
    /// - Parameter reason: for the log of whatever is refused for it.
    func missed(_ reason: String)

    /// What was applied last has the kernel's policy up to this generation. What came under a later one is held.
    func enforce(policy generation: UInt32)

    /// Uses these identities for handshakes from now on, in place of those before: all of them, so that one that is not
    /// there any more has gone. Called once for each change that the agent sends.
    func use(_ identities: TLSIdentities)

    /// Accepts from the listener until ``stopServing(_:)``. A second one of the same key takes the place of the first.
    ///
    /// - Parameter socket: listening, non-blocking; other processes may accept from it at the same time.
    func serve(_ listener: Listener, _ socket: SharedDescriptor)

    /// Accepts no more; connections that are open go on.
    func stopServing(_ key: ListenerKey)

    /// Accepts no more from any listener, and ends what is open: as the protocols allow until `deadline` is over, then
    /// at once. Calls `done` when nothing is left, once, from the event loop.
    func drain(within deadline: Duration, _ done: @escaping () -> Void)

    var counters: EngineCounters { get }

    /// Calls `completion` with a page for Prometheus, once, from the event loop.
    func metrics(_ completion: @escaping (String) -> Void)
}

/// Why an engine does not take a configuration.
public struct EngineRefusal: Error, Hashable, Sendable, CustomStringConvertible {
    public let description: String

    public init(_ description: String) { self.description = description }
}

/// What an engine has counted.
public struct EngineCounters: Hashable, Sendable {
    /// Of applications, open now.
    public var connections: UInt64 = 0
    /// Since the start.
    public var accepted: UInt64 = 0
    /// Of these, refused.
    public var refused: UInt64 = 0

    public init() {}
}

/// Gives an engine sockets inside pods.
public protocol LegSource: AnyObject {
    /// Asks for a socket in the namespace `netns` that may connect to `destination` and nothing else.
    ///
    /// - Parameters:
    ///   - outsider: as ``LegRequest/outsider``.
    ///   - completion: called once, from the event loop: with a non-blocking TCP socket that is not connected, or with
    ///     the reason why there is none (also where the agent is away for longer than a restart takes).
    func requestLeg(
        netns: UInt64, destination: SocketEndpoint, outsider: UInt32?, client: SocketEndpoint?,
        _ completion: @escaping (Result<SharedDescriptor, SocketRefusal>) -> Void)
}
