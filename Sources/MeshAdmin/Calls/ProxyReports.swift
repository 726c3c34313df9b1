// SPDX-License-Identifier: Apache-2.0

/// The processes beside an agent.
public struct ProxySupervisionReport: Codable, Equatable, Sendable {
    /// One, or two while one takes the place of the other.
    public var proxies: [ProxyReport]
    /// Starts after the first.
    public var proxyRestarts: UInt64
    /// `nil` while there is none.
    public var factory: FactoryReport?
    public var factoryRestarts: UInt64
    /// Of the proxy's configuration, as the agent has it.
    public var generation: UInt64
    /// Listening sockets inside pods.
    public var listeners: Int

    public init(
        proxies: [ProxyReport], proxyRestarts: UInt64, factory: FactoryReport?, factoryRestarts: UInt64,
        generation: UInt64, listeners: Int
    ) {
        self.proxies = proxies
        self.proxyRestarts = proxyRestarts
        self.factory = factory
        self.factoryRestarts = factoryRestarts
        self.generation = generation
        self.listeners = listeners
    }
}

/// One proxy.
public struct ProxyReport: Codable, Equatable, Sendable {
    public enum State: String, Codable, Sendable {
        case starting
        case serving
        /// It will take the place of the one that serves.
        case taking
        /// It ends the connections that it has.
        case draining
    }

    /// 0 if the agent cannot see the process.
    public var pid: Int32
    /// Empty until it has said.
    public var version: String
    public var state: State
    /// The generation that is in force there; 0: none.
    public var generation: UInt64
    /// Why it did not take a later one.
    public var rejection: String?
    /// How many identities it has; absent where pods have no certificates.
    public var identities: Int?
    /// Why it did not take the last ones.
    public var identityRefusal: String?

    public init(
        pid: Int32, version: String, state: State, generation: UInt64, rejection: String? = nil,
        identities: Int? = nil, identityRefusal: String? = nil
    ) {
        self.pid = pid
        self.version = version
        self.state = state
        self.generation = generation
        self.rejection = rejection
        self.identities = identities
        self.identityRefusal = identityRefusal
    }
}

/// The socket factory.
public struct FactoryReport: Codable, Equatable, Sendable {
    public var pid: Int32
    /// It has said hello.
    public var ready: Bool

    public init(pid: Int32, ready: Bool) {
        self.pid = pid
        self.ready = ready
    }
}
