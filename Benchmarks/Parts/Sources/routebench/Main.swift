// SPDX-License-Identifier: Apache-2.0

import CMallocCount
import MeshModel

/// Measures Router.match: nanoseconds and allocations for each match, with 10 and with 10 000 routes. Then
/// RequestAuthorizer.decide with 1, 10 and 1000 policies.
///
///     swift run -c release --package-path Benchmarks/RouteBench routebench
///
/// Exits with 1 if a match or a decision allocates.
@main struct Main {
    static let matches = 400_000
    static let rounds = 7

    static func main() {
        // Proves that the counter counts: a counter that is not linked in would always say 0.
        let before = malloc_count()
        let probe = [Int](repeating: Int.random(in: 0...9), count: 1000)
        precondition(malloc_count() > before && probe.count == 1000, "allocations are not counted")

        print("case             routes    ns/match  mallocs/match  compile ms")
        var allocates = false
        for scenario in Scenario.all {
            for count in [10, 10_000] {
                let result = measure(scenario, routes: count)
                allocates = allocates || result.allocations > 0
                print(
                    scenario.name.padded(16), String(count).leftPadded(6), result.nanoseconds.text.leftPadded(11),
                    String(Double(result.allocations) / Double(matches * rounds)).leftPadded(14),
                    result.compileMilliseconds.text.leftPadded(11))
            }
        }
        print("\nchange of one route among 10 000 on as many Services: \(change(10_000).text) us")
        allocates = AuthorizerCase.measureAll() || allocates
        if allocates { exitWithFailure() }
    }

    /// Microseconds that a table takes in a change of one route; the median.
    static func change(_ count: Int) -> Double {
        func route(_ number: Int, path: String) -> MeshRoute {
            .http(
                HTTPRoute(
                    metadata: ObjectMetadata(name: "r\(number)", namespace: "shop"),
                    parentRefs: [.init(name: "s\(number)")], rules: [.init(matches: [.init(path: .prefix(path))])]))
        }
        var table = RouteTable(
            RouteObjects(
                routes: (0..<count).map { route($0, path: "/") },
                services: (0..<count).map {
                    Service(
                        metadata: ObjectMetadata(name: "s\($0)", namespace: "shop"), ports: [.init(name: "h", port: 80)]
                    )
                }))
        let clock = ContinuousClock()
        var times: [Double] = []
        for number in 0..<301 {
            let old = table
            let time = clock.measure { table = old.applying([.route(route(number * 31 % count, path: "/new"))]) }
            times.append(Double(time.components.attoseconds) / 1e12 + Double(time.components.seconds) * 1e6)
        }
        precondition(table.statuses.count == count)
        return times.sorted()[150]
    }

    struct Result {
        /// Of the fastest round: what else the machine did only adds.
        var nanoseconds = Double.infinity
        var allocations: UInt = 0
        var compileMilliseconds = 0.0
    }

    static func measure(_ scenario: Scenario, routes count: Int) -> Result {
        var result = Result()
        let clock = ContinuousClock()
        let routes = (0..<count).map(scenario.route)
        var table: RouteTable?
        let time = clock.measure {
            table = RouteTable(RouteObjects(routes: routes, services: [Scenario.service]))
        }
        result.compileMilliseconds = Double(time.components.attoseconds) / 1e15 + Double(time.components.seconds) * 1e3
        guard
            let router = table?.router(
                for: Scenario.service.namespacedName, port: 80, clientNamespace: "shop")
        else { preconditionFailure("no route is attached") }
        // Different routes in turn, so that not one entry stays in the cache.
        let requests = (0..<64).map { PreparedRequest(scenario.path($0 * 7919 % count), headers: Scenario.headers) }
        defer { for request in requests { request.deallocate() } }
        for request in requests {
            guard let match = router.match(request.request, headers: request.headers) else {
                preconditionFailure("\(scenario.name): no match")
            }
            precondition(scenario.isRight(router.rules[match.rule].route.name), "\(scenario.name): the wrong route")
        }
        for _ in 0..<rounds {
            var sum = 0
            let before = malloc_count()
            let time = clock.measure {
                requests.withUnsafeBufferPointer { requests in
                    for index in 0..<matches {
                        let request = requests[index & 63]
                        sum &+= router.match(request.request, headers: request.headers)?.rule ?? 0
                    }
                }
            }
            result.allocations += malloc_count() - before
            precondition(sum >= 0)
            let total = Double(time.components.attoseconds) / 1e9 + Double(time.components.seconds) * 1e9
            result.nanoseconds = min(result.nanoseconds, total / Double(matches))
        }
        return result
    }
}
