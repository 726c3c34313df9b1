// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// A newer configuration comes into force at once, however many older ones unanswered requests still hold.
///
/// The older ones are few: beyond the limit the requests of the oldest go over to the newest. They are carried on by the
/// newest version of their rule. A request whose rule or Service is gone keeps the attempt that is under way, and gets its
/// answer without what the rule would have changed of it; one that still waits for an attempt is answered with 503.
extension Engine {
    mutating func publish(_ snapshot: ProxySnapshot) {
        holds.publish(snapshot)
        if holds.olderCount > configuration.heldSnapshots, let oldest = holds.oldest { supersede(oldest) }
        sink._withUnsafeGuaranteedRef { $0.published(snapshot) }
        judgeRelays()
        retireInClear()
    }

    /// Leaves nobody with a snapshot.
    private mutating func supersede(_ old: HoldPointer) {
        guard let current = holds.current, let newest = current.pointee.snapshot?.takeUnretainedValue(),
            let former = old.pointee.snapshot?.takeUnretainedValue()
        else { return }
        // Many requests, few rules.
        var places: [RulePlace: UnsafePointer<RulePlan>?] = [:]
        withExtendedLifetime((newest, former)) {
            for exchange in exchanges.live(where: { $0.hold == old }) {
                // What was done for another may have ended it.
                guard exchange.pointee.hold == old else { continue }
                if follow(exchange, from: former, to: newest, &places) {
                    exchange.pointee.hold = current
                    current.pointee.users += 1
                    holds.leave(old)
                } else {
                    loseRule(exchange)
                }
            }
        }
    }

    /// A rule of the former snapshot, and the router of the newest that it is looked for in.
    private struct RulePlace: Hashable {
        let rule: Int32
        let router: UnsafePointer<RouterPlan>?
    }

    /// Finds service, rule and backend in the newest snapshot. - Returns: Whether all are there.
    private mutating func follow(
        _ exchange: ExchangePointer, from former: ProxySnapshot, to newest: ProxySnapshot,
        _ places: inout [RulePlace: UnsafePointer<RulePlan>?]
    ) -> Bool {
        var service: UnsafePointer<ServicePlan>?
        if let old = exchange.pointee.service {
            guard let index = newest.index(of: ClusterKey(former.services[Int(old.pointee.index)])) else {
                return false
            }
            service = newest.service(Int32(index))
        }
        var rule: UnsafePointer<RulePlan>?
        var backend: UnsafePointer<BackendPlan>?
        if let old = exchange.pointee.rule {
            let router = newest.binding(exchange.pointee.record.origin).router
            let place = RulePlace(rule: old.pointee.id, router: router)
            let found = places[place] ?? Self.find(former.rule(old), router, newest)
            places[place] = .some(found)
            guard let found else { return false }
            rule = found
            if let oldBackend = exchange.pointee.backend {
                let target = former.rule(old).backends[Int(oldBackend.pointee.index)].target
                let backends = newest.rule(found).backends
                let index = Int(oldBackend.pointee.index)
                let isSame = index < backends.count && backends[index].target == target
                guard let index = isSame ? index : backends.firstIndex(where: { $0.target == target }) else {
                    return false
                }
                backend = found.pointee.backends.baseAddress.map { $0 + index }
            }
        }
        exchange.pointee.service = service
        exchange.pointee.rule = rule
        exchange.pointee.backend = backend
        // Of one snapshot, all of them.
        exchange.pointee.record.generation = newest.generation
        exchange.pointee.record.rule = rule?.pointee.id ?? -1
        if exchange.pointee.record.service >= 0 { exchange.pointee.record.service = service?.pointee.index ?? -1 }
        exchange.pointee.record.decision = -1
        return true
    }

    private static func find(
        _ old: CompiledRouteRule, _ router: UnsafePointer<RouterPlan>?, _ newest: ProxySnapshot
    ) -> UnsafePointer<RulePlan>? {
        guard let rules = router?.pointee.rules, let first = rules.baseAddress else { return nil }
        func isIt(_ place: Int) -> Bool {
            let compiled = newest.rule(first + place)
            return compiled.index == old.index && compiled.route == old.route
        }
        for place in rules.indices where isIt(place) { return first + place }
        return nil
    }

    private mutating func loseRule(_ exchange: ExchangePointer) {
        guard exchange.pointee.stage == .flowing else { return answer(exchange, .noEndpoint) }
        exchange.pointee.marks.insert(.superseded)
        exchange.pointee.requestBody.keeps = false
        leaveSnapshot(exchange)
    }
}
