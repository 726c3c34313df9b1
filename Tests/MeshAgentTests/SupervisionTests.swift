// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import MeshAgent

/// The decisions of supervision, over all orders in which processes can start, answer and die.
@Suite struct SupervisionTests {
    typealias ID = ProxySupervision.ProxyID

    /// Supervision and a world that does what it is told, and in which anything can die.
    struct World: Hashable {
        var supervision = ProxySupervision()
        /// Processes that run, by what is theirs to say next.
        var proxies: [ID: Next] = [:]
        var timers: Set<ProxySupervision.Timer> = []
        var isFactoryStarting = false
        var makes = 0
        var found = 0

        enum Next: Hashable { case hello, listeners, ready, nothing }

        /// What can happen now.
        var possible: [ProxySupervision.Input] {
            var inputs: [ProxySupervision.Input] = [.upgrade]
            if isFactoryStarting { inputs.append(.factoryReady) }
            if isFactoryStarting || supervision.isFactoryUp { inputs.append(.factoryLost) }
            for (id, next) in proxies.sorted(by: { $0.key < $1.key }) {
                inputs.append(.proxyLost(id))
                inputs += Self.answer(id, next)
            }
            inputs += timers.map { .timer($0) }.sorted { "\($0)" < "\($1)" }
            if found < 2 { inputs += [.foundProxy(isSameVersion: true), .foundProxy(isSameVersion: false)] }
            return inputs
        }

        static func answer(_ id: ID, _ next: Next) -> [ProxySupervision.Input] {
            switch next {
            case .hello: [.attached(id)]
            case .listeners: [.listenersReturned(id)]
            case .ready: [.ready(id)]
            case .nothing: []
            }
        }

        mutating func step(_ input: ProxySupervision.Input) throws {
            switch input {
            case .factoryReady: (isFactoryStarting, makes) = (false, 0)
            case .factoryLost: isFactoryStarting = false
            case .attached(let id): proxies[id] = .listeners
            case .listenersReturned(let id), .ready(let id): proxies[id] = .nothing
            case .foundProxy:
                found += 1
                proxies[supervision.nextID] = .listeners
            case .proxyLost(let id): proxies[id] = nil
            case .timer(let timer): timers.remove(timer)
            case .start, .upgrade, .stop: break
            }
            let serving = supervision.current
            for output in supervision.handle(input, at: .zero) { try perform(output, serving) }
            if supervision.wantsUpgrade {
                for output in supervision.handle(.upgrade, at: .zero) { try perform(output, serving) }
            }
            try check()
        }

        private mutating func perform(_ output: ProxySupervision.Output, _ former: ID?) throws {
            switch output {
            case .startFactory:
                try #require(!supervision.isFactoryUp && !isFactoryStarting, "two factories")
                isFactoryStarting = true
            case .startProxy(let id):
                try #require(proxies[id] == nil)
                proxies[id] = .hello
            case .handOver(let id): proxies[id] = .ready
            case .makeListeners:
                try #require(supervision.mayMakeListeners, "listeners are made while others may come back")
                makes = 1
            case .drain(let id):
                try #require(supervision.current != nil && id != supervision.current, "drained without another")
                if id == former {
                    let next = try #require(supervision.current)
                    try #require(supervision.phases[next] == .serving, "drained before another serves")
                }
            case .kill(let id): proxies[id] = nil
            case .schedule(let timer, _): timers.insert(timer)
            case .cancel(let timer): timers.remove(timer)
            }
        }

        /// What holds in every state.
        private func check() throws {
            try #require(Set(supervision.phases.keys) == Set(proxies.keys), "a process is forgotten, or imagined")
            if let current = supervision.current {
                try #require(supervision.phases[current] != nil && supervision.phases[current] != .draining)
            } else {
                try #require(timers.contains(.adoption) || timers.contains(.restartProxy), "nobody starts a proxy")
                try #require(supervision.successor == nil)
            }
            if let successor = supervision.successor {
                try #require(successor != supervision.current && supervision.phases[successor] != .serving)
            }
            try #require(
                supervision.isFactoryUp || isFactoryStarting || timers.contains(.restartFactory), "no factory")
            for (id, phase) in supervision.phases where phase != .serving {
                try #require(timers.contains(.patience(id)), "nobody looks after a proxy that is \(phase)")
            }
            try #require(supervision.phases.values.filter { $0 != .draining }.count <= 2, "too many proxies")
        }

        /// Nothing dies any more: what is asked for is done.
        mutating func settle() throws {
            for _ in 0..<40 {
                var next: [ProxySupervision.Input] = isFactoryStarting ? [.factoryReady] : []
                next += proxies.flatMap { Self.answer($0.key, $0.value) }
                next += timers.filter { [.adoption, .restartProxy, .restartFactory].contains($0) }.map { .timer($0) }
                guard let input = next.first else { break }
                try step(input)
            }
            let current = try #require(supervision.current)
            try #require(supervision.phases[current] == .serving && supervision.successor == nil)
            try #require(supervision.isFactoryUp && makes == 1, "no listener is ever made")
        }
    }

    @Test func inEveryOrderSomebodyServesInTheEnd() throws {
        var start = World()
        try start.step(.start)
        var seen: Set<World> = [start]
        var edge = [start]
        for _ in 0..<6 {
            var next: [World] = []
            for world in edge {
                for input in world.possible {
                    var other = world
                    try other.step(input)
                    guard seen.insert(other).inserted else { continue }
                    var settled = other
                    try settled.settle()
                    next.append(other)
                }
            }
            edge = next
        }
        #expect(seen.count > 500)
    }

    @Test func aLongLifeOfAccidents() throws {
        for seed in 0..<5 as Range<UInt64> {
            var random = TestSupport.SplitMix64(seed: seed)
            var world = World()
            try world.step(.start)
            for _ in 0..<300 { try world.step(random.pick(world.possible)) }
            try world.settle()
        }
    }

    // MARK: - Single decisions

    private static func serving() throws -> (World, ID) {
        var world = World()
        try world.step(.start)
        try world.step(.factoryReady)
        try world.settle()
        return (world, try #require(world.supervision.current))
    }

    @Test func aDeadProxyIsReplacedAtOnceAndThenMoreSlowly() throws {
        var (world, id) = try Self.serving()
        var delays: [Duration] = []
        for _ in 0..<9 {
            let outputs = world.supervision.handle(.proxyLost(id), at: .zero)
            for case .schedule(.restartProxy, let delay) in outputs { delays.append(delay) }
            for case .startProxy(let new) in world.supervision.handle(.timer(.restartProxy), at: .zero) { id = new }
        }
        #expect(delays.map { $0 / .milliseconds(1) } == [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000])
        #expect(world.supervision.proxyRestarts == 9)
        // One that lived for long has not failed at its start.
        let outputs = world.supervision.handle(.proxyLost(id), at: .seconds(11))
        #expect(outputs.contains(.schedule(.restartProxy, after: .zero)))
    }

    @Test func listenersAreNotMadeWhileAnEarlierProxyMayComeBack() throws {
        var supervision = ProxySupervision()
        _ = supervision.handle(.start, at: .zero)
        #expect(supervision.handle(.factoryReady, at: .zero).isEmpty)
        let id = supervision.nextID
        let outputs = supervision.handle(.foundProxy(isSameVersion: true), at: .zero)
        #expect(outputs.contains(.cancel(.adoption)))
        #expect(supervision.current == id && !supervision.mayMakeListeners)
        #expect(supervision.handle(.listenersReturned(id), at: .zero) == [.handOver(id), .makeListeners])
    }

    @Test func anUpgradeDrainsTheOldOneWhenTheNewOneServes() throws {
        var (world, old) = try Self.serving()
        let new = world.supervision.nextID
        try world.step(.upgrade)
        try world.step(.attached(new))
        try world.step(.listenersReturned(new))
        #expect(world.supervision.current == old)
        try world.step(.ready(new))
        #expect(world.supervision.current == new)
        #expect(world.supervision.phases == [old: .draining, new: .serving])
        // The old one takes too long.
        try world.step(.timer(.patience(old)))
        #expect(world.supervision.phases == [new: .serving])
    }

    @Test func anUpgradeThatDiesChangesNothing() throws {
        var (world, old) = try Self.serving()
        let new = world.supervision.nextID
        try world.step(.upgrade)
        try world.step(.proxyLost(new))
        #expect(world.supervision.phases == [old: .serving])
        #expect(world.supervision.proxyRestarts == 0)
    }

    @Test func anAdoptedProxyOfAnotherVersionIsReplaced() throws {
        var world = World()
        try world.step(.start)
        try world.step(.foundProxy(isSameVersion: false))
        let old = try #require(world.supervision.current)
        try world.step(.listenersReturned(old))
        try world.step(.ready(old))
        #expect(world.supervision.successor != nil && world.supervision.current == old)
        try world.settle()
        #expect(world.supervision.phases[old] == .draining)
    }

    @Test func nothingHappensAfterTheStop() throws {
        var (world, id) = try Self.serving()
        #expect(world.supervision.handle(.stop, at: .zero).isEmpty)
        #expect(world.supervision.handle(.proxyLost(id), at: .zero).isEmpty)
        #expect(world.supervision.handle(.timer(.restartProxy), at: .zero).isEmpty)
    }
}
