// SPDX-License-Identifier: Apache-2.0

import MeshModel
import ProxyProtocol
import TestSupport

extension RandomRecords {
    mutating func settings() -> MeshPolicySettings {
        var settings = MeshPolicySettings()
        settings.maxConnections = maybe { $0.number() }
        settings.maxPending = maybe { $0.number() }
        settings.connectTimeout = maybe { $0.time() }
        settings.idleTimeout = maybe { $0.time() }
        settings.poolPerClient = maybe { $0.random.chance(50) }
        settings.maxRequestHeadersKb = maybe { $0.number() }
        settings.maxConcurrentStreams = maybe { $0.number() }
        settings.requestTimeout = maybe { $0.time() }
        settings.backendRequestTimeout = maybe { $0.time() }
        settings.retryBudget = maybe {
            var budget = MeshPolicySettings.RetryBudget()
            budget.percent = $0.number()
            budget.interval = $0.time()
            budget.minimumCount = $0.number()
            budget.minimumInterval = $0.time()
            return budget
        }
        settings.outlierDetection = maybe {
            var outliers = MeshPolicySettings.OutlierDetection()
            outliers.consecutiveServerErrors = $0.number()
            outliers.consecutiveGatewayErrors = $0.number()
            outliers.consecutiveConnectFailures = $0.number()
            outliers.interval = $0.time()
            outliers.baseEjectionTime = $0.time()
            outliers.maxEjectionTime = $0.time()
            outliers.maxEjectionPercent = $0.number()
            outliers.minHealthPercent = $0.number()
            return outliers
        }
        settings.algorithm = maybe {
            switch Int.random(in: 0..<4, using: &$0.random) {
            case 0: .roundRobin
            case 1: .leastRequest
            case 2: .maglev(.sourceAddress)
            default: .maglev(.header($0.text()))
            }
        }
        settings.locality = maybe { $0.random.pick(MeshPolicySettings.Locality.allCases) }
        settings.rateLimits = maybe {
            $0.list {
                .init(
                    key: $0.random.pick([.route, .sourceIdentity, .header($0.text())]), requestsPerSecond: $0.number(),
                    burst: $0.number(), isDryRun: $0.random.chance(50))
            }
        }
        settings.fault = maybe {
            .init(
                delay: $0.maybe { $0.time() },
                abort: $0.maybe { $0.random.chance(50) ? .httpStatus($0.number()) : .grpcStatus($0.number()) },
                percent: $0.number())
        }
        settings.detect = maybe { $0.random.pick(MeshPolicySettings.Detection.allCases) }
        settings.detectTimeout = maybe { $0.time() }
        return settings
    }

    private mutating func time() -> GatewayDuration { GatewayDuration(milliseconds: number()) }

    // MARK: AuthorizationPolicy

    mutating func authorization() -> AuthorizationPolicy {
        AuthorizationPolicy(
            metadata: metadata(), apiVersion: text(), selector: maybe { $0.selector() }, targetRefs: list { $0.text() },
            action: random.pick([.allow, .deny, .audit]),
            rules: list {
                .init(
                    from: $0.list { $0.source() }, to: $0.list { $0.operation() },
                    when: $0.list {
                        .init(key: $0.text(), values: $0.list { $0.text() }, notValues: $0.list { $0.text() })
                    })
            }, isDryRun: random.chance(50))
    }

    private mutating func selector() -> LabelSelector {
        LabelSelector(
            matchLabels: table(),
            matchExpressions: list {
                switch Int.random(in: 0..<4, using: &$0.random) {
                case 0: .isIn(key: $0.text(), values: $0.list { $0.text() })
                case 1: .isNotIn(key: $0.text(), values: $0.list { $0.text() })
                case 2: .exists(key: $0.text())
                default: .doesNotExist(key: $0.text())
                }
            })
    }

    private mutating func blocks() -> [CIDR] {
        list { CIDR($0.address(), bits: UInt8.random(in: 0...128, using: &$0.random)) }
    }

    private mutating func texts() -> [String] { list { $0.text() } }

    private mutating func source() -> AuthorizationPolicy.Source {
        var source = AuthorizationPolicy.Source()
        source.principals = texts()
        source.notPrincipals = texts()
        source.namespaces = texts()
        source.notNamespaces = texts()
        source.serviceAccounts = texts()
        source.notServiceAccounts = texts()
        source.ipBlocks = blocks()
        source.notIpBlocks = blocks()
        source.trustDomains = texts()
        source.notTrustDomains = texts()
        source.requestPrincipals = texts()
        source.notRequestPrincipals = texts()
        source.remoteIpBlocks = texts()
        source.notRemoteIpBlocks = texts()
        return source
    }

    private mutating func operation() -> AuthorizationPolicy.Operation {
        var operation = AuthorizationPolicy.Operation()
        operation.ports = list { $0.number() }
        operation.notPorts = list { $0.number() }
        operation.hosts = texts()
        operation.notHosts = texts()
        operation.methods = texts()
        operation.notMethods = texts()
        operation.paths = texts()
        operation.notPaths = texts()
        return operation
    }
}
