// SPDX-License-Identifier: Apache-2.0

import CMallocCount
import Glibc
import L7Proxy
import LinuxIO
import MeshModel

/// Runs one worker of the proxy between a loopback port and a backend, with a snapshot that does not change.
///
///     l7bench PORT BACKEND_PORT [h2] [routes|policy|NUMBER]
///
/// On SIGUSR1 it prints what the worker has counted and how often memory has been allocated by the process so far. With
/// `routes` every request also passes a route that changes its header fields, with `policy` also AuthorizationPolicies with
/// 100 rules, with a number as many routes, for the prefixes `/r0`, `/r1` and so on; without, it goes to the Service's
/// endpoint. With `h2` the backend speaks HTTP/2.
@main
enum L7Bench {
    static func main() throws {
        let arguments = CommandLine.arguments.dropFirst().map { $0 }
        guard arguments.count >= 2, let port = UInt16(arguments[0]), let backend = UInt16(arguments[1]) else {
            print("usage: l7bench PORT BACKEND_PORT [h2] [routes|policy|NUMBER]")
            exit(2)
        }
        let address = IPAddress(v4: 0x0a60_0001)
        let worker = try ProxyWorker(
            origins: { socket in
                ConnectionOrigin(
                    destination: address, destinationPort: 80, client: socket.client, clientPort: socket.clientPort,
                    sourceNetwork: 1)
            },
            legs: { request in
                let descriptor = StreamSocket.connect(
                    to: StreamEndpoint(high: request.address.high, low: request.address.low, port: request.port))
                return descriptor < 0 ? .refused : .descriptor(CInt(descriptor))
            }, makeSink: { RequestSink() })
        let words = arguments.dropFirst(2)
        worker.publish(
            snapshot(
                address, backend: backend, mode: words.first { $0 != "h2" },
                appProtocol: words.contains("h2") ? "kubernetes.io/h2c" : nil))
        worker.addListener(try StreamSocket.listen(at: .loopback(port: port)), tag: 0)
        // Blocked before the worker's thread exists; only this thread waits for it.
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGUSR1)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        try worker.start { error in
            print("l7bench: \(error)")
            exit(1)
        }
        var signal: CInt = 0
        while sigwait(&signals, &signal) == 0 {
            let allocations = malloc_count()
            worker.counters { counters in
                print("requests \(counters.requests) dials \(counters.dials) allocations \(allocations)")
                fflush(nil)
            }
        }
    }

    /// 99 paths that are denied, every other one to DELETE only, and one rule that allows the rest to the client.
    private static func authorizer() -> RequestAuthorizer {
        func policy(
            _ name: String, _ action: AuthorizationPolicy.Action, _ rules: [AuthorizationPolicy.Rule]
        )
            -> AuthorizationPolicy
        {
            AuthorizationPolicy(
                metadata: ObjectMetadata(name: name, namespace: "shop"), action: action, rules: rules)
        }
        let denied = (1..<100).map { number in
            var operation = AuthorizationPolicy.Operation()
            operation.paths = ["/admin/\(number)/*"]
            if number % 2 == 1 { operation.methods = ["DELETE"] }
            return AuthorizationPolicy.Rule(to: [operation])
        }
        var source = AuthorizationPolicy.Source()
        source.principals = ["cluster.local/ns/shop/sa/default"]
        var operation = AuthorizationPolicy.Operation()
        operation.methods = ["GET", "POST"]
        return RequestAuthorizer([
            policy("deny", .deny, denied), policy("allow", .allow, [.init(from: [source], to: [operation])]),
        ])
    }

    /// One for each prefix, with nothing to do but to lead to the Service.
    private static func rules(_ count: Int) -> [HTTPRoute.Rule] {
        (0..<count).map { number in
            HTTPRoute.Rule(
                matches: [HTTPRouteMatch(path: .prefix("/r\(number)"))],
                backends: [RouteBackend(reference: RouteBackendReference(name: "web", port: 80))])
        }
    }

    private static func snapshot(
        _ address: IPAddress, backend: UInt16, mode: String?, appProtocol: String?
    ) -> ProxySnapshot {
        let name = NamespacedName(namespace: "shop", name: "web")
        let service = ProxyService(
            name: name, port: 80, addresses: [address],
            endpoints: [ClusterEndpoint(IPAddress(v4: 0x7f00_0001), port: backend)], appProtocol: appProtocol)
        guard let mode else { return ProxySnapshot(generation: 1, services: [service]) }
        let number = Int(mode)
        guard number != nil || mode == "routes" || mode == "policy" else {
            print("l7bench: there is no mode \(mode)")
            exit(2)
        }
        let rule = HTTPRoute.Rule(
            matches: [HTTPRouteMatch(path: .prefix("/"))],
            filters: [
                .requestHeaderModifier(HeaderModifier(set: [HeaderField("X-Mesh", "yes")], remove: ["User-Agent"])),
                .responseHeaderModifier(HeaderModifier(add: [HeaderField("X-Served-By", "mesh")], remove: ["Server"])),
            ],
            backends: [RouteBackend(reference: RouteBackendReference(name: "web", port: 80))])
        // Each route with ten rules, as people write them.
        let all = number.map(rules) ?? [rule]
        let routes = stride(from: 0, to: all.count, by: 10).map { first in
            MeshRoute.http(
                HTTPRoute(
                    metadata: ObjectMetadata(name: "web-\(first)", namespace: "shop"),
                    parentRefs: [.init(name: "web")], rules: Array(all[first..<min(first + 10, all.count)])))
        }
        let object = Service(metadata: ObjectMetadata(name: "web", namespace: "shop"), ports: [.init(port: 80)])
        return ProxySnapshot(
            generation: 1, services: [service],
            routes: RouteTable(RouteObjects(routes: routes, services: [object])),
            workloads: [
                1: ProxyWorkload(name: NamespacedName(namespace: "shop", name: "client"), serviceAccount: "default")
            ],
            destinations: mode == "policy"
                ? [ProxyDestination(addresses: [IPAddress(v4: 0x7f00_0001)], authorizer: authorizer())] : [])
    }
}
