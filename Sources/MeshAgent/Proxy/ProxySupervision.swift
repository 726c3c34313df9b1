// SPDX-License-Identifier: Apache-2.0

/// Decides which processes run beside an agent: one socket factory, one proxy, and while proxies take turns, two.
///
/// A value: it is told what has happened and says what to do. Whatever dies in whatever order, the rest goes on, and
/// what died is started again.
struct ProxySupervision: Hashable, Sendable {
    /// One process that is, or will be, a proxy; a restarted one is another.
    struct ProxyID: Hashable, Comparable, Sendable {
        let number: Int
        static func < (left: Self, right: Self) -> Bool { left.number < right.number }
    }

    enum Phase: Hashable, Sendable {
        /// Started; it has not said hello.
        case starting
        /// It has, and gives back the listeners that it had from an agent before.
        case attached
        /// It has been given everything, and has not said that its configuration is in force.
        case preparing
        case serving
        case draining
    }

    enum Timer: Hashable, Sendable {
        /// A proxy of an agent before may attach until then.
        case adoption
        case restartFactory
        case restartProxy
        /// The process must have gone on by then, or is killed.
        case patience(ProxyID)
    }

    enum Input: Hashable, Sendable {
        case start
        case factoryReady
        case factoryLost
        /// The process started by ``Output/startProxy(_:)`` has said hello.
        case attached(ProxyID)
        /// A proxy that some agent before has started has said hello. The number is a new one, ``nextID``.
        case foundProxy(isSameVersion: Bool)
        case listenersReturned(ProxyID)
        /// The configuration is in force there.
        case ready(ProxyID)
        /// Its link has closed, or the process has ended, or could not be started.
        case proxyLost(ProxyID)
        /// Another proxy is to take the place of the one that serves.
        case upgrade
        case timer(Timer)
        case stop
    }

    enum Output: Hashable, Sendable {
        case startFactory
        case startProxy(ProxyID)
        /// Give it all listeners and the configuration.
        case handOver(ProxyID)
        /// Listeners that are missing are to be made: no earlier one can come back any more.
        case makeListeners
        case drain(ProxyID)
        case kill(ProxyID)
        case schedule(Timer, after: Duration)
        case cancel(Timer)
    }

    /// How long a proxy of an agent before is waited for, if one is seen to run. It tries every 50 ms, if it gets to.
    static let adoptionTime = Duration.seconds(3)
    /// How long a process may take to say hello, and to put its configuration in force.
    static let patience = Duration.seconds(10)
    /// What connections get to end when a proxy is replaced, and what it gets beyond that to exit.
    static let drainTime = Duration.seconds(30)
    static let drainGrace = Duration.seconds(5)

    private(set) var phases: [ProxyID: Phase] = [:]
    /// The one that serves, or will.
    private(set) var current: ProxyID?
    /// The one that will take its place.
    private(set) var successor: ProxyID?
    private(set) var isFactoryUp = false
    private(set) var isAdopting = false
    private var isStopped = true
    private var proxies = RestartBackoff()
    private var factories = RestartBackoff()
    private var lastNumber = 0

    /// The number that the next proxy gets.
    var nextID: ProxyID { ProxyID(number: lastNumber + 1) }
    var proxyRestarts: UInt64 { proxies.restarts }
    var factoryRestarts: UInt64 { factories.restarts }

    /// How often in a row a proxy has ended, soon after its start but perhaps the first; none once one has lived long.
    func proxyFailures(at now: Duration) -> Int {
        current.map { phases[$0] == .serving } ?? false && proxies.isStable(at: now) ? 0 : proxies.failures
    }

    /// Whether listeners may be made: not while one that is alive may still be given back.
    var mayMakeListeners: Bool { isFactoryUp && !isAdopting && current.map { phases[$0] != .attached } ?? true }

    /// - Parameter now: time since the supervision began.
    mutating func handle(_ input: Input, at now: Duration) -> [Output] {
        if input != .start, isStopped { return [] }
        switch input {
        case .start:
            guard isStopped else { return [] }
            (isStopped, isAdopting) = (false, true)
            factories.started(at: now)
            return [.startFactory, .schedule(.adoption, after: Self.adoptionTime)]
        case .factoryReady:
            isFactoryUp = true
            return mayMakeListeners ? [.makeListeners] : []
        case .factoryLost:
            isFactoryUp = false
            return [.schedule(.restartFactory, after: factories.ended(at: now))]
        case .attached(let id): return attached(id)
        case .foundProxy(let isSameVersion): return found(isSameVersion, now)
        case .listenersReturned(let id): return returned(id, now)
        case .ready(let id): return ready(id)
        case .proxyLost(let id): return lost(id, now)
        case .upgrade: return upgrade(now)
        case .timer(let timer): return expired(timer, now)
        case .stop:
            isStopped = true
            return []
        }
    }

    // MARK: - A proxy's life

    private mutating func start(_ now: Duration) -> (ProxyID, [Output]) {
        let id = nextID
        lastNumber += 1
        phases[id] = .starting
        proxies.started(at: now)
        return (id, [.startProxy(id), .schedule(.patience(id), after: Self.patience)])
    }

    private mutating func attached(_ id: ProxyID) -> [Output] {
        guard phases[id] == .starting else { return [] }
        phases[id] = .attached
        return []
    }

    private mutating func found(_ isSameVersion: Bool, _ now: Duration) -> [Output] {
        let id = nextID
        lastNumber += 1
        isAdopting = false
        guard current == nil else {
            // Its listeners have been made anew meanwhile; what it serves may end.
            phases[id] = .draining
            return drain(id)
        }
        phases[id] = .attached
        current = id
        outdated = isSameVersion ? nil : id
        proxies.started(at: now)
        return [.cancel(.adoption), .cancel(.restartProxy), .schedule(.patience(id), after: Self.patience)]
    }

    /// An adopted proxy of another version: replaced as soon as it serves.
    private var outdated: ProxyID?

    private mutating func returned(_ id: ProxyID, _ now: Duration) -> [Output] {
        guard phases[id] == .attached else { return [] }
        phases[id] = .preparing
        return [.handOver(id)] + (id == current && mayMakeListeners ? [.makeListeners] : [])
    }

    private mutating func ready(_ id: ProxyID) -> [Output] {
        guard phases[id] == .preparing else { return [] }
        phases[id] = .serving
        var outputs: [Output] = [.cancel(.patience(id))]
        if id == successor {
            successor = nil
            if let old = current { outputs += retire(old) }
            current = id
        }
        return outputs
    }

    private mutating func retire(_ id: ProxyID) -> [Output] {
        phases[id] = .draining
        if outdated == id { outdated = nil }
        return drain(id)
    }

    private func drain(_ id: ProxyID) -> [Output] {
        [.drain(id), .schedule(.patience(id), after: Self.drainTime + Self.drainGrace)]
    }

    private mutating func lost(_ id: ProxyID, _ now: Duration) -> [Output] {
        guard phases.removeValue(forKey: id) != nil else { return [] }
        if outdated == id { outdated = nil }
        // A link may close before its process: it must not serve unseen.
        var outputs: [Output] = [.cancel(.patience(id)), .kill(id)]
        if id == successor {
            // The one that serves goes on; whoever asked for the other may ask again.
            successor = nil
        } else if id == current {
            current = successor
            successor = nil
            if current == nil {
                outputs.append(.schedule(.restartProxy, after: proxies.ended(at: now)))
            }
            if mayMakeListeners { outputs.append(.makeListeners) }
        }
        return outputs
    }

    private mutating func upgrade(_ now: Duration) -> [Output] {
        guard let current, phases[current] == .serving, successor == nil else { return [] }
        let (id, outputs) = start(now)
        successor = id
        // Once: if it fails, the old version serves on.
        outdated = nil
        return outputs
    }

    private mutating func expired(_ timer: Timer, _ now: Duration) -> [Output] {
        switch timer {
        case .adoption:
            guard isAdopting else { return [] }
            isAdopting = false
            return startCurrent(now) + (mayMakeListeners ? [.makeListeners] : [])
        case .restartProxy: return startCurrent(now)
        case .restartFactory:
            guard !isFactoryUp else { return [] }
            factories.started(at: now)
            return [.startFactory]
        case .patience(let id): return phases[id] == nil ? [] : [.kill(id)] + lost(id, now).filter { $0 != .kill(id) }
        }
    }

    private mutating func startCurrent(_ now: Duration) -> [Output] {
        guard current == nil else { return [] }
        let (id, outputs) = start(now)
        current = id
        return outputs
    }

    /// Whether the proxy that serves is of another version, and another should be started.
    var wantsUpgrade: Bool { outdated.map { $0 == current && phases[$0] == .serving } ?? false }
}
