// SPDX-License-Identifier: Apache-2.0

public import MeshAdmin

/// One plausible value of every report.
public enum Samples {
    public static func status(notReady: [String] = []) -> StatusReport {
        StatusReport(
            node: "n1", version: "0.1.0", pid: 41, uptimeSeconds: 12.5, ready: notReady.isEmpty, notReady: notReady,
            generation: 7, kernel: "6.18.44",
            acceleration: AccelerationReport(
                enabled: true, selfTest: [CheckItem("redirect ipv4", .passed, "1 MB in order")]),
            workloads: WorkloadCountReport(enabled: 2, pending: 1, failed: 0),
            counters: [CounterReport(name: "policy-egress", value: 3, meaning: "refused by the egress policy")],
            maps: [MapReport(name: "mesh_ends", entries: 12, capacity: 131_072)],
            findings: [Finding(.warning, "SCTP is not enforced", file: "a.yaml", line: 4, object: "NetworkPolicy a/b")],
            paths: PathsReport(
                configDirectory: "/etc/sockmesh/n1", stateDirectory: "/var/lib/sockmesh/n1", cgroup: "/c",
                bpffs: "/b", socket: "/s"))
    }

    public static let identity = IdentityReport(number: 256, name: "spiffe://cluster.local/ns/shop/sa/web")
    public static let policy = PolicyReference(kind: "NetworkPolicy", namespace: "shop", name: "deny-all")
    public static let change = PolicyChangeResult(
        changes: [PolicyChange(policy, .created)], generation: 8, previousGeneration: 7, milliseconds: 1.25,
        findings: [])
    public static let generation = GenerationReport(
        generation: 7, time: Timestamp(nanoseconds: 1_700_000_000_000_000_000), cause: "apply by root (uid 0)",
        changes: [PolicyChange(policy, .created)], current: true, restorable: true)
    public static let service = ServiceReport(
        namespace: "shop", name: "web", type: "ClusterIP", affinitySeconds: 60,
        frontends: [
            FrontendReport(
                address: "10.96.0.1", port: 80, protocol: "TCP", portName: "http",
                backends: [
                    BackendReport(
                        address: "10.1.0.2", port: 8080, weight: 9, ready: true, local: true, zone: "a",
                        workload: "shop/web-1")
                ])
        ])
    public static let route = RouteReport(
        kind: "HTTPRoute", namespace: "shop", name: "canary",
        parents: [
            RouteParentReport(
                namespace: "shop", name: "web", port: 80,
                conditions: [
                    RouteConditionReport(
                        type: "Accepted", status: "True", reason: "Accepted", message: "attached to port 80"),
                    RouteConditionReport(
                        type: "ResolvedRefs", status: "False", reason: "BackendNotFound",
                        message: "Service shop/v2 not found"),
                ])
        ])
    public static let certificate = CertificateReport(
        identity: "spiffe://cluster.local/ns/shop/sa/web", pods: ["shop/web-1", "shop/web-2"], state: .renewalFails,
        provider: "local authority /var/lib/sockmesh/n1/authority.pem", alarming: true, serial: "4A01",
        notBefore: Timestamp(nanoseconds: 1_780_272_000_000_000_000),
        notAfter: Timestamp(nanoseconds: 1_780_358_400_000_000_000),
        nextRenewal: Timestamp(nanoseconds: 1_780_316_000_000_000_000), error: "the authority is out of reach",
        failingSince: Timestamp(nanoseconds: 1_780_315_000_000_000_000))
    public static let authority = AuthorityReport(
        trustDomain: "cluster.local", file: "/var/lib/sockmesh/n1/authority.pem",
        generations: [
            .init(
                stage: .signing,
                root: .init(
                    serial: "40", fingerprint: "ab", notBefore: Timestamp(nanoseconds: 0),
                    notAfter: Timestamp(nanoseconds: 1_780_358_400_000_000_000), pem: "PEM\n"),
                intermediate: .init(
                    serial: "41", fingerprint: "cd", notBefore: Timestamp(nanoseconds: 0),
                    notAfter: Timestamp(nanoseconds: 1_780_316_000_000_000_000), pem: "PEM\n"))
        ])

    /// A part of the metrics of more than 64 KB.
    public static func metrics(number: Int) -> String {
        "# HELP part Filled.\n# TYPE part counter\n"
            + "part{number=\"\(number)\",filling=\"\(String(repeating: "x", count: 64 << 10))\"} \(number)\n"
    }
    public static let source = EndReport(workload: "shop/web-1", address: "10.1.0.2", port: 4000, identity: identity)
    public static let destination = EndReport(workload: "data/db", address: "10.1.0.9", port: 5432, identity: identity)

    public static func workload(number: Int) -> WorkloadReport {
        WorkloadReport(
            namespace: "shop", name: "web-\(number)", serviceAccount: "web", addresses: ["10.1.0.2", "fd00::2"],
            node: "n1", netns: "/run/netns/web", netnsCookie: 4097, identity: identity,
            redirection: RedirectionReport(.failed, reason: "no such netns"),
            acceleration: WorkloadAccelerationReport(requested: "auto", effective: false, reason: "auto"),
            policySet: 3, policies: [policy],
            connections: ConnectionCountReport(open: 1, opened: 5, denied: 2, closed: 4), lostEvents: 9,
            outsideProcesses: [ProcessReport(pid: 77, command: "nginx -g daemon off;", cgroup: "/system.slice")])
    }

    public static let connection = ConnectionReport(
        source: source, destination: destination,
        serviceAddress: ServiceAddressReport(service: "data/db", address: "10.96.0.9", port: 5432),
        sent: PathReport(.redirect), received: PathReport(.tcp, reason: "small-writes"), bytesSent: 1 << 20,
        bytesReceived: 2048, bytesRedirected: 1 << 20, ageSeconds: 61.5, generation: 7)

    public static func flow(number: UInt32) -> FlowEvent {
        FlowEvent(
            time: Timestamp(nanoseconds: 1_700_000_000_000_000_000 + Int64(number)), kind: .closed, protocol: "TCP",
            source: source, destination: destination, direction: .egress, reporter: "shop/web-1",
            reason: nil, policy: policy, generation: number, sent: PathReport(.redirect),
            received: PathReport(.redirect), bytesSent: 10, bytesReceived: 20, bytesRedirected: 30,
            durationSeconds: 1.5, rttMicroseconds: 40, retransmits: 0)
    }

    public static let policyReport = PolicyReport(
        policy: policy, origin: .directory, file: "/etc/sockmesh/n1/a.yaml", state: .enforced,
        selects: ["shop/web-1"], findings: [], manifest: "kind: NetworkPolicy\n")
    public static let diff = PolicyDiff(
        entries: [PolicyDiff.Entry(change: PolicyChange(policy, .updated), before: "a\n", after: "b\n")], findings: [])
    public static let explain = ExplainReport(
        source: source, service: nil, port: 5432, protocol: "TCP", verdict: .deny,
        answers: [
            ExplainReport.Answer(
                destination: destination, verdict: .deny, reason: "policy-ingress",
                egress: ExplainReport.DirectionReport(
                    verdict: .allow, policySet: 0, policies: [], explanation: "no policy selects the source"),
                ingress: ExplainReport.DirectionReport(
                    verdict: .deny, policySet: 4, policies: [policy], explanation: "nothing allows it"),
                path: nil)
        ],
        generation: 7, findings: [])
    public static let request = RequestReport(
        method: "GET", path: "/api/x", host: "web.shop", outcome: .mixed, explanation: "it depends",
        capture: "the Service has routes",
        route: RouteRuleReport(
            kind: "HTTPRoute", namespace: "shop", name: "web", rule: 1, ruleName: "api", match: 0,
            condition: "path prefix /api"),
        filters: ["rewrite of the host: a"],
        backends: [
            RequestBackendReport(
                service: "shop/v1", port: 80, weight: 2, percent: 200 / 3, path: "/api/x", host: "a", ready: 1,
                endpoints: [
                    RequestEndpointReport(
                        workload: "shop/v1-0", address: "10.1.0.3", port: 8080, verdict: .deny, status: 403,
                        policies: [policy], rule: 0, explanation: "it denies", dryRun: .allow)
                ]),
            RequestBackendReport(
                service: nil, port: nil, weight: 1, percent: 100 / 3, status: 500, explanation: "Service not found",
                path: "/api/x", host: "web.shop", ready: 0, endpoints: []),
        ],
        settings: [
            RequestSettingReport(service: "shop/web:80", field: "fault", value: "answer 418 for 50 %", policy: policy)
        ])
    public static let step = UninstallStep("link mesh_sockops", .failed, detail: "busy")
    public static let run = RunTarget(
        netns: "/run/netns/web", netnsCookie: 7, cgroup: "/c", redirection: RedirectionReport(.enabled))
    public static let check = CheckReport(items: [CheckItem("cgroup2", .failed, "not mounted", hint: "mount it")])
}
