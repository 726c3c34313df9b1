# SPDX-License-Identifier: Apache-2.0
"""`meshctl policy explain SRC DST:PORT METHOD PATH` says what a real request then gets."""

import pytest

from harness.manifests import NAMESPACE, authorization_policy
from harness.routed import ADDRESSES, PORT, http_route, to
from harness.world import eventually

USAGE = 2


@pytest.fixture
def client(routed):
    return routed.clients["a"]


@pytest.fixture(autouse=True)
def clean(routed):
    yield
    routed.forget()


def explain(routed, path="/", headers=None, method="GET"):
    lines = {"Host": ADDRESSES["web"], **(headers or {})}
    words = [word for name, value in lines.items() for word in ("-H", f"{name}: {value}")]
    return routed.agent.json("policy", "explain", "test/a", f"test/web:{PORT}", method, path, *words)["request"]


def agreed(routed, client, path="/", headers=None):
    """The report, if a real request gets what it says; `None` if not."""
    report = explain(routed, path, headers)
    found = client.ask(path=path, headers=headers)
    if report["outcome"] == "answered":
        location = {name.lower(): value for name, value in found.get("headers", {}).items()}.get("location")
        return report if (found.get("status"), location) == (report["status"], report.get("location")) else None
    pods = {f"{NAMESPACE}/{found['answer']['pod']}" if found.get("status") == 200 else None}
    mine = {endpoint.get("workload") for backend in report["backends"] if backend["percent"] > 0
            for endpoint in backend["endpoints"]}
    arrives = {backend["path"] for backend in report["backends"]}
    ok = report["outcome"] == "forwarded" and pods <= mine and found["answer"]["path"] in arrives
    return report if ok else None


def agrees(routed, client, outcome, path="/", headers=None):
    """The report, when it is of that outcome (a word, or a status of the proxy's) and a real request gets the same."""
    def met():
        report = agreed(routed, client, path, headers)
        return report and outcome in (report["outcome"], report.get("status")) and report
    return eventually(met, what=f"{outcome} for {path}, by the request and by what explains it")


def replace_prefix(kind, field, prefix):
    return {"type": kind, field: {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": prefix}}}


def prefix(path, **rest):
    return {"matches": [{"path": {"type": "PathPrefix", "value": path}}], **rest}


def test_every_kind_of_rule(routed, client):
    routed.routes(http_route("all", [
        prefix("/old", filters=[replace_prefix("RequestRedirect", "requestRedirect", "/new")]),
        prefix("/api", filters=[replace_prefix("URLRewrite", "urlRewrite", "/v2")], backendRefs=[to("v2")]),
        prefix("/gone", backendRefs=[to("nothing")]), prefix("/empty", backendRefs=[to("empty")]),
        prefix("/zero", backendRefs=[to("v1", 0)]),
        {"matches": [{"path": {"type": "PathPrefix", "value": "/only"},
                      "headers": [{"name": "x-env", "value": "canary"}]}], "backendRefs": [to("v2")]}]))
    report = agrees(routed, client, 302, "/old/x?y=1")
    assert report["location"] == f"http://{ADDRESSES['web']}/new/x?y=1" and not report["backends"]
    report = agrees(routed, client, "forwarded", "/api/x?y=1")
    assert report["route"]["name"] == "all" and report["route"]["rule"] == 1
    assert report["route"]["condition"] == "path prefix /api"
    assert report["backends"][0]["service"] == "test/v2" and report["backends"][0]["path"] == "/v2/x?y=1"
    assert "the Service has routes" in report["capture"]
    assert "Service test/nothing not found" in agrees(routed, client, 500, "/gone")["explanation"]
    assert "no ready endpoint" in agrees(routed, client, 503, "/empty")["explanation"]
    assert "weight 0" in agrees(routed, client, 500, "/zero")["explanation"]
    assert "route" not in agrees(routed, client, 404, "/only")
    assert agrees(routed, client, "forwarded", "/only", {"X-Env": "canary"})["route"]["rule"] == 5


def test_shares(routed, client):
    routed.routes(http_route("split", [{"backendRefs": [to("v1", 3), to("v2", 1)]}]))
    report = agrees(routed, client, "forwarded")
    assert [(one["service"], one["weight"], one["percent"], one["ready"]) for one in report["backends"]] == [
        ("test/v1", 3, 75, 1), ("test/v2", 1, 25, 1)]
    met = client.count(100)
    # Of 100 with a probability of 0.75: 75, standard deviation 4.3.
    assert met["b"] + met["c"] == 100 and 53 <= met["b"] <= 97, met


def test_policy_and_dry_run(routed, client):
    routed.routes(http_route("plain", [prefix("/", backendRefs=[to("v1")])]))
    dry = authorization_policy("later", {"app": "b"}, "DENY", [{"to": [{"operation": {"paths": ["/soon"]}}]}],
                               annotations={"sockmesh.io/dry-run": "true"})
    routed.agent.write_config("policies.yaml", dry, authorization_policy(
        "no-admin", {"app": "b"}, "DENY", [{"to": [{"operation": {"methods": ["HEAD"]}}]},
                                           {"to": [{"operation": {"paths": ["/admin*"]}}]}]))
    endpoint = agrees(routed, client, 403, "/admin/x")["backends"][0]["endpoints"][0]
    assert endpoint["workload"] == "test/b" and endpoint["verdict"] == "deny" and endpoint["rule"] == 1
    assert endpoint["policies"] == [{"kind": "AuthorizationPolicy", "namespace": "test", "name": "no-admin"}]
    agrees(routed, client, 403, "/x/../admin")
    assert "dryRun" not in agrees(routed, client, "forwarded", "/open")["backends"][0]["endpoints"][0]
    assert agrees(routed, client, "forwarded", "/soon")["backends"][0]["endpoints"][0]["dryRun"] == "deny"
    # The policy alone leads the connection to the proxy, too.
    routed.routes()
    report = agrees(routed, client, 403, "/admin")
    assert "a policy looks at requests" in report["capture"] and "route" not in report


def test_settings_have_a_source(routed, client):
    routed.routes(http_route("plain", [{"backendRefs": [to("v2")]}]))
    routed.agent.write_config("policies.yaml", {
        "apiVersion": "sockmesh.io/v1alpha1", "kind": "MeshPolicy", "metadata": {"name": "fault", "namespace": "test"},
        "spec": {"targetRefs": [{"kind": "Service", "name": "web"}], "fault": {"abort": {"httpStatus": 418}}}})
    report = agrees(routed, client, 418)
    assert report["settings"] == [{"service": "test/web:80", "field": "fault", "value": "answer 418 for 100 %",
                                   "policy": {"kind": "MeshPolicy", "namespace": "test", "name": "fault"}}]
    assert "fault: answer 418 for 100 %" in report["filters"]


def test_without_routes_nobody_reads_the_request(routed, client):
    report = eventually(lambda: (found := explain(routed))["outcome"] == "direct" and found, what="the end of routes")
    assert not report["backends"] and "no route is in force" in report["capture"]
    assert "via" not in client.ask()["answer"]["headers"]


def test_tables_and_exit_codes(routed):
    routed.routes(http_route("narrow", [prefix("/api", backendRefs=[to("v1")])]))

    def ask(*words):
        return routed.agent.ctl("policy", "explain", "test/a", f"test/web:{PORT}", *words, "--exit-code", check=False)
    # The route is acknowledged before the kernel's rows say so.
    eventually(lambda: ask("GET", "/other").returncode == 6, what="a request that is answered")
    assert "answered by the proxy with 404" in ask("GET", "/other").stdout
    done = ask("GET", "/api")
    assert done.returncode == 0 and "HTTPRoute test/narrow rule 0, match 0: path prefix /api" in done.stdout
    assert "outcome: forwarded" in ask("GET", "/api", "-o", "yaml").stdout


@pytest.mark.parametrize("words, text", [
    (["G T", "/"], "'G T' is no method"), (["GET", "api"], "'api' is no path"),
    (["GET", "/", "-H", "nothing"], "'nothing' is no header"), (["GET"], "A request has a path"),
    (["-H", "a: b"], "-H is for a request")])
def test_what_is_no_request_is_a_usage_error(routed, words, text):
    done = routed.agent.ctl("policy", "explain", "test/a", f"test/web:{PORT}", *words, check=False)
    assert done.returncode == USAGE and text in done.stderr, done.stderr


def test_a_request_needs_tcp(routed):
    done = routed.agent.ctl("policy", "explain", "test/a", f"pod/test/b:{PORT}/udp", "GET", "/", check=False)
    assert done.returncode == USAGE and "no requests of HTTP over UDP" in done.stderr, done.stderr
