// SPDX-License-Identifier: Apache-2.0

import AdminTestSupport
import MeshAdmin
import Testing

@testable import meshctl

/// What people see, character by character.
@Suite struct ReportTests {
    @Test func status() {
        var report = Samples.status(notReady: ["pod shop/web is pending", "no policy"])
        report.acceleration = AccelerationReport(
            enabled: false, reason: "the memory gate is closed",
            selfTest: [
                CheckItem("order", .passed, "in order"),
                CheckItem("memory", .failed, "grew by 9 MB", hint: "use Linux 6.13 or newer"),
            ])
        #expect(
            StatusText.render(report) == """
                Node          n1
                Agent         0.1.0, pid 41, up 12.5s
                Ready         no: pod shop/web is pending; no policy
                Generation    7
                Kernel        6.18.44
                Acceleration  off: the memory gate is closed
                Workloads     2 enabled, 1 pending, 0 failed
                Config        /etc/sockmesh/n1
                State         /var/lib/sockmesh/n1
                Cgroup        /c
                BPF           /b
                Socket        /s

                RESULT  CHECK   FOUND
                FAILED  memory  grew by 9 MB
                                -> use Linux 6.13 or newer

                COUNTER        VALUE  MEANING
                policy-egress      3  refused by the egress policy

                MAP        ENTRIES  CAPACITY  FULL
                mesh_ends       12    131072  0.0%

                Findings
                  a.yaml:4: warning: NetworkPolicy a/b: SCTP is not enforced

                """)
    }

    @Test func workloads() {
        #expect(
            WorkloadText.render([Samples.workload(number: 0)]) == """
                POD         ADDRESSES         REDIRECTION            ACCELERATED  IDENTITY  POLICIES  OPEN  DENIED  LOST
                shop/web-0  10.1.0.2,fd00::2  failed: no such netns  no (auto)    256       deny-all     1       2     9

                warning: shop/web-0: process 77 (nginx -g daemon off;) is outside the hooked cgroup
                start processes of pods with: meshctl run --pod NAMESPACE/NAME -- COMMAND

                """)
        #expect(WorkloadText.render([]) == "No pods are enrolled.\n")
    }

    @Test func services() {
        var service = Samples.service
        service.frontends[0].backends.append(
            BackendReport(address: "fd00::3", port: 8080, weight: 0, ready: false, local: false))
        let empty = ServiceReport(
            namespace: "shop", name: "gone", type: "ClusterIP",
            frontends: [FrontendReport(address: "fd00:96::1", port: 80, protocol: "UDP", backends: [])])
        #expect(
            ServiceText.render([service, empty]) == """
                SERVICE    TYPE       ADDRESS              AFFINITY  BACKEND         POD         WEIGHT  READY  LOCAL
                shop/web   ClusterIP  10.96.0.1:80/TCP     1m00s     10.1.0.2:8080   shop/web-1       9  yes    yes
                                                                     [fd00::3]:8080  -                0  no     no
                shop/gone  ClusterIP  [fd00:96::1]:80/UDP  -         none: refuses   -                -  -      -

                """)
    }

    @Test func routes() {
        let alone = RouteReport(kind: "GRPCRoute", namespace: "shop", name: "edge", parents: [])
        var raw = Samples.route
        raw.name = "raw"
        raw.parents[0].conditions = [("Accepted", "attached"), ("PassedBy", "it speaks TCP")].map {
            RouteConditionReport(type: $0, status: "True", reason: "r", message: $1)
        }
        #expect(
            RouteText.render([Samples.route, raw, alone]) == """
                ROUTE                  PARENT               ACCEPTED  RESOLVED             MESSAGE
                HTTPRoute shop/canary  Service shop/web:80  yes       no: BackendNotFound  Service shop/v2 not found
                HTTPRoute shop/raw     Service shop/web:80  yes       -                    it speaks TCP
                GRPCRoute shop/edge    none is a Service    -         -                    -

                """)
        #expect(RouteText.render([]) == "No routes.\n")
    }

    @Test func certificates() {
        let missing = CertificateReport(
            identity: "spiffe://cluster.local/ns/shop/sa/db", pods: ["shop/db"], state: .missing,
            provider: Samples.certificate.provider)
        #expect(
            CertificateText.render([Samples.certificate, missing]) == """
                IDENTITY                                                      PODS                    STATE              SERIAL  NOT BEFORE            NOT AFTER             RENEWAL               PROVIDER
                spiffe://cluster.local/ns/shop/sa/web                         shop/web-1, shop/web-2  renewal fails (!)  4A01    2026-06-01T00:00:00Z  2026-06-02T00:00:00Z  2026-06-01T12:13:20Z  local authority /var/lib/sockmesh/n1/authority.pem
                  the authority is out of reach (since 2026-06-01T11:56:40Z)
                spiffe://cluster.local/ns/shop/sa/db                          shop/db                 missing            -       -                     -                     -                     local authority /var/lib/sockmesh/n1/authority.pem

                """)
        #expect(CertificateText.render([]) == "No identities.\n")
        #expect(
            AuthorityText.render(Samples.authority) == """
                Trust domain  cluster.local
                File          /var/lib/sockmesh/n1/authority.pem

                CERTIFICATE        STAGE    NOT AFTER             SHA-256
                root 40            signing  2026-06-02T00:00:00Z  ab
                  intermediate 41           2026-06-01T12:13:20Z  cd

                """)
    }

    @Test func metrics() {
        let labels = [
            "source_workload": "cart", "source_workload_namespace": "shop", "destination_service_name": "web",
            "destination_service_namespace": "shop", "response_code": "200", "source_version": "1",
            "source_app": "unknown",
            "response_flags": "-",
        ]
        func part(_ suffix: String, _ value: Double, le: String? = nil) -> MetricSample {
            let labels = labels.merging(le.map { ["le": $0] } ?? [:]) { $1 }
            return MetricSample(name: "time\(suffix)", type: "histogram", labels: labels, value: value)
        }
        let other = labels.merging(["source_version": "2"]) { $1 }
        #expect(
            MetricText.render([
                MetricSample(name: "requests", type: "counter", labels: labels, value: 3),
                MetricSample(name: "requests", type: "counter", labels: other, value: 4),
                part("_bucket", 1, le: "0.5"), part("_bucket", 3, le: "5"), part("_bucket", 4, le: "+Inf"),
                part("_sum", 10), part("_count", 4),
                MetricSample(name: "up", type: "gauge", value: 0.25),
            ]) == """
                METRIC    SOURCE     DESTINATION  LABELS             VALUE
                requests  shop/cart  shop/web     response_code=200  7
                time      shop/cart  shop/web     response_code=200  4, mean 2.5, p50 <= 5, p99 more
                up        -          -            -                  0.3

                """)
        #expect(MetricText.render([]) == "No metrics.\n")
    }

    @Test func connections() {
        #expect(
            ConnectionText.render([Samples.connection]) == """
                SOURCE           DESTINATION   SERVICE       SENT       BYTES  RECEIVED             BYTES  REDIRECTED    AGE
                shop/web-1:4000  data/db:5432  data/db:5432  redirect  1.0 MB  tcp (small-writes)  2.0 KB      1.0 MB  1m01s

                """)
        #expect(ConnectionText.render([]) == "No open connections.\n")
    }

    @Test func flows() {
        var event = Samples.flow(number: 5)
        #expect(
            FlowText.render(event) == """
                2023-11-14T22:13:20.000Z closed TCP shop/web-1:4000 -> data/db:5432 sent 10 B redirect, \
                received 20 B redirect, in 1.5s, rtt 40us

                """)
        event.kind = .denied
        event.reason = "policy-egress"
        event.source = EndReport(address: "fd00::9", port: 1)
        event.serviceAddress = ServiceAddressReport(service: nil, address: "10.96.0.9", port: 80)
        #expect(
            FlowText.render(event) == """
                2023-11-14T22:13:20.000Z denied TCP [fd00::9]:1 -> data/db:5432 (service 10.96.0.9:80) egress \
                policy-egress by NetworkPolicy shop/deny-all

                """)
        #expect(FlowText.lost(1) == "1 event was lost here: they came faster than they were read\n")
    }

    @Test func policies() {
        var refused = Samples.policyReport
        refused.origin = .applied
        refused.file = nil
        refused.state = .lastGood
        refused.selects = ["a/1", "a/2", "a/3", "a/4"]
        refused.findings = [Finding(.error, "not a port", line: 3, object: "NetworkPolicy shop/deny-all")]
        #expect(
            PolicyText.list([Samples.policyReport, refused]) == """
                KIND           NAME           ORIGIN                             STATE              SELECTS                 FINDINGS
                NetworkPolicy  shop/deny-all  directory /etc/sockmesh/n1/a.yaml  enforced           shop/web-1              -
                NetworkPolicy  shop/deny-all  applied                            last good version  a/1,a/2,a/3 and 1 more  1
                error: NetworkPolicy shop/deny-all: not a port

                """)
        #expect(
            PolicyText.manifests([refused]) == """
                ---
                # NetworkPolicy shop/deny-all: applied, last good version
                # error: NetworkPolicy shop/deny-all: not a port
                kind: NetworkPolicy

                """)
    }

    @Test func changes() {
        #expect(
            PolicyText.change(Samples.change) == """
                created  NetworkPolicy shop/deny-all
                enforced as generation 8, after 1.3ms

                """)
        var same = Samples.change
        same.generation = 7
        same.changes[0].action = .unchanged
        #expect(PolicyText.change(same).hasSuffix("nothing to change: generation 7 stays in force\n"))
        #expect(
            PolicyText.diff(Samples.diff) == """
                --- NetworkPolicy shop/deny-all (in force)
                +++ NetworkPolicy shop/deny-all (new)
                @@ -1,1 +1,1 @@
                -a
                +b

                """)
        #expect(
            PolicyText.generations([Samples.generation]) == """
                GENERATION  TIME                  CAUSE                  CHANGES
                         7  2023-11-14T22:13:20Z  apply by root (uid 0)  created NetworkPolicy shop/deny-all  in force

                """)
    }

    @Test func explain() {
        #expect(
            ExplainText.render(Samples.explain) == """
                denied: shop/web-1 -> data/db, port 5432/TCP, generation 7

                source       shop/web-1 10.1.0.2 identity 256 spiffe://cluster.local/ns/shop/sa/web
                destination  data/db 10.1.0.9 identity 256 spiffe://cluster.local/ns/shop/sa/web: denied (policy-ingress)
                  egress     allowed: no policy selects the source
                  ingress    denied: nothing allows it [NetworkPolicy shop/deny-all]

                """)
    }

    @Test func explainOfARequest() {
        #expect(
            RequestExplainText.render(Samples.request) == """
                request     GET /api/x, Host web.shop
                outcome     it depends: it depends
                proxy       the Service has routes
                route       HTTPRoute shop/web rule 1 'api', match 0: path prefix /api
                filter      rewrite of the host: a
                backend     shop/v1:80, weight 2, 66.7 %, 1 ready, gets /api/x, Host a
                  endpoint  shop/v1-0 10.1.0.3:8080: denied with 403: it denies; with dry-run policies allowed
                backend     none, weight 1, 33.3 %, 0 ready, the proxy answers 500: Service not found
                setting     fault: answer 418 for 50 % [NetworkPolicy shop/deny-all, for shop/web:80]

                """)
        var report = Samples.explain
        report.request = RequestReport(
            method: "GET", path: "/old", host: "web.shop", outcome: .answered, status: 302, location: "http://a/new",
            explanation: "the rule redirects", capture: "the Service has routes")
        #expect(
            ExplainText.render(report).hasSuffix(
                """
                  ingress    denied: nothing allows it [NetworkPolicy shop/deny-all]

                request   GET /old, Host web.shop
                outcome   answered by the proxy with 302: the rule redirects
                location  http://a/new
                proxy     the Service has routes

                """))
    }

    @Test func uninstall() {
        #expect(UninstallText.render([Samples.step]) == "failed  link mesh_sockops: busy\n")
        let pins = (0..<4).map { UninstallStep("pin: /b/\($0)", .removed) }
        let cgroup = UninstallStep("cgroup: /c", .removed)
        #expect(
            UninstallText.render(pins + [cgroup, Samples.step])
                == "removed  4 x pin, from /b/0\nremoved  cgroup: /c\nfailed  link mesh_sockops: busy\n")
        #expect(UninstallText.leftovers([], node: "n1") == "Nothing is left of node n1.\n")
    }

    @Test func errors() {
        let error = AdminError(
            .invalidInput, "1 of 2 documents is refused", hint: "correct it",
            findings: [
                Finding(.error, "not a list", file: "a.yaml", line: 3, field: "spec.ingress", hint: "write - before it")
            ])
        #expect(
            Console.describe(error) == """
                meshctl: 1 of 2 documents is refused
                  a.yaml:3: error: spec.ingress: not a list (write - before it)
                  hint: correct it

                """)
    }
}

@Suite struct TableTests {
    @Test func columnsAreAlignedAndNothingTrails() {
        var table = Table("A", ">NUMBER", "LAST")
        table.add("a", "1", "x")
        table.add("long", "22", "")
        table.addContinuation("", "", "more")
        #expect(
            table.rendered(empty: "none")
                == "A     NUMBER  LAST\na          1  x\nlong      22  -\n              more\n")
        #expect(Table("A").rendered(empty: "none") == "none\n")
    }

    @Test(
        arguments: [
            (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KB"), (1536, "1.5 KB"), (1_048_575, "1.0 MB"),
            (1 << 30, "1.0 GB"),
            (1 << 50, "1024.0 TB"),
        ] as [(UInt64, String)])
    func bytes(count: UInt64, text: String) {
        #expect(Units.bytes(count) == text)
    }

    @Test(arguments: [
        (0.0004, "0.4ms"), (1.25, "1.3s"), (59.9, "59.9s"), (61, "1m01s"), (3_725, "1h02m"), (90_000, "1d01h"),
    ])
    func durations(seconds: Double, text: String) {
        #expect(Units.seconds(seconds) == text)
    }
}

@Suite struct MachineOutputTests {
    @Test func jsonHasTheKeysInOrder() throws {
        #expect(
            try Console.json(Samples.policy, pretty: true) == """
                {
                  "kind" : "NetworkPolicy",
                  "name" : "deny-all",
                  "namespace" : "shop"
                }
                """)
        #expect(try Console.json(Samples.run, pretty: false).contains("\"netns\":\"/run/netns/web\""))
    }

    /// Text that looks like something else must come back as text.
    @Test func yamlKeepsTextText() throws {
        let policy = PolicyReference(kind: "yes", namespace: "1", name: "null: x\ny")
        let text = try Console.yaml(policy)
        #expect(text == "kind: 'yes'\nnamespace: '1'\nname: 'null: x\n\n  y'\n")
    }
}
