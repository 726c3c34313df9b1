// SPDX-License-Identifier: Apache-2.0

import MeshModel
import ProxyProtocol
import TestSupport

/// Values with every member set to something, or to nothing.
struct RandomRecords {
    var random: SplitMix64

    init(seed: UInt64) { random = SplitMix64(seed: seed) }

    mutating func text() -> String { random.pick(["", "a", "shop", "é", "e\u{301}", "\u{0}", "*.example.com", "x-a"]) }
    mutating func maybe<Value>(_ make: (inout RandomRecords) -> Value) -> Value? {
        random.chance(50) ? make(&self) : nil
    }
    mutating func list<Value>(_ make: (inout RandomRecords) -> Value) -> [Value] {
        (0..<Int.random(in: 0...3, using: &random)).map { _ in make(&self) }
    }
    mutating func table() -> [String: String] {
        Dictionary(list { ($0.text(), $0.text()) }, uniquingKeysWith: { $1 })
    }
    mutating func number<Integer: FixedWidthInteger>() -> Integer {
        random.chance(30) ? random.pick([0, 1, .max]) : Integer.random(in: .min ... .max, using: &random)
    }
    mutating func address() -> IPAddress {
        random.chance(50) ? IPAddress(v4: number()) : IPAddress(high: number(), low: number())
    }
    mutating func name() -> NamespacedName { NamespacedName(namespace: text(), name: text()) }

    mutating func metadata() -> ObjectMetadata {
        ObjectMetadata(
            name: text(), namespace: text(), labels: table(), annotations: table(),
            creationTimestamp: maybe { $0.text() },
            origin: maybe { ObjectOrigin(file: $0.text(), document: $0.number(), line: $0.number()) })
    }

    mutating func service() -> ServiceRecord {
        ServiceRecord(
            service: name(), port: number(), portName: text(), addresses: list { $0.address() },
            appProtocol: maybe { $0.text() },
            endpoints: list {
                .init(
                    address: $0.address(), port: $0.number(), weight: $0.number(), zone: $0.maybe { $0.text() },
                    node: $0.maybe { $0.text() }, isReady: $0.random.chance(50), isTerminating: $0.random.chance(50),
                    alternate: $0.maybe { $0.address() })
            }, settings: settings())
    }

    mutating func workload() -> WorkloadRecord {
        WorkloadRecord(
            netns: number(), pod: name(), serviceAccount: text(), addresses: list { $0.address() }, labels: table())
    }

    mutating func grant() -> ReferenceGrant {
        ReferenceGrant(
            metadata: metadata(), apiVersion: text(),
            from: list { .init(group: $0.text(), kind: $0.text(), namespace: $0.text()) },
            to: list { .init(group: $0.text(), kind: $0.text(), name: $0.maybe { $0.text() }) })
    }

    // MARK: Routes

    mutating func route() -> MeshRoute {
        if random.chance(50) {
            return .http(
                HTTPRoute(
                    metadata: metadata(), generation: maybe { $0.number() }, parentRefs: list { $0.parent() },
                    hostnames: list { $0.text() }, rules: list { $0.rule { $0.httpMatch() } }))
        }
        return .grpc(
            GRPCRoute(
                metadata: metadata(), generation: maybe { $0.number() }, parentRefs: list { $0.parent() },
                hostnames: list { $0.text() }, rules: list { $0.rule { $0.grpcMatch() } }))
    }

    private mutating func rule<Match>(_ match: (inout RandomRecords) -> Match) -> Route<Match>.Rule {
        Route<Match>.Rule(
            name: maybe { $0.text() }, matches: list(match), filters: list { $0.filter() },
            backends: list {
                RouteBackend(reference: $0.backend(), weight: $0.number(), filters: $0.list { $0.filter() })
            },
            timeouts: RouteTimeouts(request: maybe { $0.duration() }, backendRequest: maybe { $0.duration() }),
            retry: maybe {
                RouteRetry(
                    codes: $0.list { $0.number() }, attempts: $0.maybe { $0.number() },
                    backoff: $0.maybe { $0.duration() })
            },
            unsupported: list {
                UnsupportedRouteValue(
                    part: $0.random.chance(50) ? .match : .action, field: $0.text(), reason: $0.text())
            })
    }

    private mutating func duration() -> GatewayDuration { GatewayDuration(milliseconds: number()) }

    private mutating func parent() -> RouteParentReference {
        RouteParentReference(
            group: text(), kind: text(), namespace: maybe { $0.text() }, name: text(),
            sectionName: maybe { $0.text() }, port: maybe { $0.number() })
    }

    private mutating func backend() -> RouteBackendReference {
        RouteBackendReference(
            group: text(), kind: text(), namespace: maybe { $0.text() }, name: text(), port: maybe { $0.number() })
    }

    private mutating func fields() -> [FieldMatch] {
        list {
            FieldMatch(
                name: $0.text(), value: $0.random.chance(50) ? .exact($0.text()) : .regularExpression($0.text()))
        }
    }

    private mutating func httpMatch() -> HTTPRouteMatch {
        let path: HTTPRouteMatch.PathMatch =
            switch Int.random(in: 0..<3, using: &random) {
            case 0: .exact(text())
            case 1: .prefix(text())
            default: .regularExpression(text())
            }
        return HTTPRouteMatch(path: path, method: maybe { $0.text() }, headers: fields(), queryParams: fields())
    }

    private mutating func grpcMatch() -> GRPCRouteMatch {
        GRPCRouteMatch(
            method: maybe {
                .init(
                    kind: $0.random.chance(50) ? .exact : .regularExpression, service: $0.maybe { $0.text() },
                    method: $0.maybe { $0.text() })
            }, headers: fields())
    }

    private mutating func modifier() -> HeaderModifier {
        HeaderModifier(
            set: list { HeaderField($0.text(), $0.text()) }, add: list { HeaderField($0.text(), $0.text()) },
            remove: list { $0.text() })
    }

    private mutating func path() -> PathModifier {
        random.chance(50) ? .replaceFullPath(text()) : .replacePrefixMatch(text())
    }

    private mutating func filter() -> RouteFilter {
        switch Int.random(in: 0..<6, using: &random) {
        case 0: return .requestHeaderModifier(modifier())
        case 1: return .responseHeaderModifier(modifier())
        case 2:
            return .requestRedirect(
                RequestRedirect(
                    scheme: random.pick([nil, .http, .https]), hostname: maybe { $0.text() }, path: maybe { $0.path() },
                    port: maybe { $0.number() }, statusCode: number()))
        case 3: return .urlRewrite(URLRewrite(hostname: maybe { $0.text() }, path: maybe { $0.path() }))
        case 4:
            let denominator = UInt32.random(in: 1 ... .max, using: &random)
            return .requestMirror(
                RequestMirror(
                    backend: backend(), numerator: UInt32.random(in: 0...denominator, using: &random),
                    denominator: denominator))
        default:
            return .cors(
                CORSPolicy(
                    allowOrigins: list { $0.text() }, allowCredentials: random.chance(50),
                    allowMethods: list { $0.text() }, allowHeaders: list { $0.text() },
                    exposeHeaders: list { $0.text() }, maxAge: number()))
        }
    }

    private mutating func identity() -> IdentityNumber { IdentityNumber(rawValue: number()) }

    mutating func remotePod() -> RemotePodRecord {
        RemotePodRecord(
            pod: name(), serviceAccount: text(), labels: table(), addresses: list { $0.address() },
            identity: PerFamily(ipv4: identity(), ipv6: identity()),
            proven: PerFamily(ipv4: identity(), ipv6: identity()))
    }

    /// A table in which a look-up finds its way.
    mutating func ports() -> PortTable {
        let verdicts: [PolicyVerdict] = [.deny, .allow, .needsProxy]
        let classes = Int.random(in: 1...3, using: &random)
        let starts = Set(list { $0.number() as UInt16 }).union([0]).sorted()
        return PortTable(
            segments: starts.map {
                .init(
                    firstPort: $0, portClass: UInt16(Int.random(in: 0..<classes, using: &random)),
                    verdict: random.pick(verdicts))
            },
            exceptions: (0..<classes).map { _ in
                Set(list { $0.identity() }).sorted().map { .init(identity: $0, verdict: random.pick(verdicts)) }
            })
    }

    mutating func record() -> ProxyRecord {
        switch Int.random(in: 0..<10, using: &random) {
        case 0: .service(service())
        case 1: .workload(workload())
        case 2: .referenceGrant(grant())
        case 3: .authorizationPolicy(AuthorizationRecord(authorization()))
        case 4: .destination(.init(pod: name(), addresses: list { $0.address() }, policies: list { $0.text() }))
        case 5: .node(NodeRecord(name: text(), zone: maybe { $0.text() }, trustDomain: text()))
        case 6: .remotePod(remotePod())
        case 7: .verdicts(VerdictRecord(set: number(), egress: ports(), ingress: ports()))
        case 8: .verdictUse(VerdictUseRecord(pod: name(), set: number()))
        default: .route(route())
        }
    }
}
