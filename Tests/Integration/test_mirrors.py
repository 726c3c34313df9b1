# SPDX-License-Identifier: Apache-2.0
"""Copies of requests for mirrors, and limits that several workers share, end to end on real pods."""

import json
import subprocess
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness import manifests
from harness.processes import run
from harness.routed import ADDRESSES, TARGET, Routed, http_route, to
from harness.world import eventually

METRICS = 15021
BODY = bytes(range(256)) * 1000


def mirror(name, **share):
    backend = {key: value for key, value in to(name).items() if key != "weight"}
    return {"type": "RequestMirror", "requestMirror": {"backendRef": backend, **share}}


def rule(path, backend, *filters):
    return {"matches": [{"path": {"type": "PathPrefix", "value": path}}], "filters": list(filters),
            "backendRefs": [to(backend)]}


@pytest.fixture(scope="module")
def routed():
    """Service v1 is b, by HTTP/1.1; v2 is c, by HTTP/2."""
    made = Routed(["--metrics", f"127.0.0.1:{METRICS}", "--proxy-workers", "4", "--proxy-access-log", "json"],
                  protocols={"v2": "kubernetes.io/h2c"}, servers={"c": "h2serve.py"})
    made.routes(http_route("mirrors", [
        rule("/one", "v1", mirror("v1")), rule("/two", "v1", mirror("v2")),
        rule("/three", "v2", mirror("v1")), rule("/four", "v2", mirror("v2")),
        rule("/both", "v1", mirror("v1"), mirror("v2")), rule("/dead", "v1", mirror("empty"), mirror("nothing")),
        rule("/half", "v1", mirror("v1", fraction={"numerator": 1, "denominator": 2})),
        rule("/none", "v1", mirror("v1", percent=0)), rule("/", "v1")]))
    eventually(lambda: post(made, "/none", "--http1.1")[0] == "200", what="the routes")
    yield made
    made.close()


def post(routed, path, client):
    done = subprocess.run(
        routed.meshed.argv("a", "curl", "--silent", "--show-error", "--max-time", "20", client, "--data-binary", "@-", "--write-out",
                           "\n%{http_code}", f"http://{ADDRESSES['web']}{path}"),
        input=BODY, capture_output=True, timeout=120)
    assert done.returncode == 0, (done.stderr, routed.agent.log_tail(30))
    body, _, status = done.stdout.decode().rpartition("\n")
    return status, json.loads(body) if status == "200" else None


def copies(routed, path):
    """The lines of the access log about copies of requests for a path."""
    lines = (text for text in routed.agent.log_tail(2000).splitlines() if text.startswith("{") and f'"{path}"' in text)
    return [line for line in map(json.loads, lines) if line.get("mirror")]


@pytest.mark.parametrize("client", ["--http1.1", "--http2-prior-knowledge"])
@pytest.mark.parametrize("path, pods", [("/one", "bb"), ("/two", "bc"), ("/three", "cb"), ("/four", "cc")])
def test_each_protocol_is_copied_to_each(routed, client, path, pods):
    path = f"{path}/{client.strip('-')}"
    status, answer = post(routed, path, client)
    assert status == "200" and answer["pod"] == pods[0] and answer["received"] == len(BODY)
    found = eventually(lambda: copies(routed, path), what="the line of the copy")
    assert len(found) == 1
    assert (found[0]["status"], found[0]["reason"], found[0]["method"]) == (200, "-", "POST")
    assert found[0]["upstream.addr"] == f"{routed.meshed.pod(pods[1]).ipv4}:{TARGET}"
    assert found[0]["bytes_sent"] == len(BODY) and found[0]["bytes_recv"] > 0


def test_there_may_be_several_mirrors(routed):
    assert post(routed, "/both/x", "--http1.1")[0] == "200"
    found = eventually(lambda: len(lines := copies(routed, "/both/x")) == 2 and lines, what="both copies")
    assert {line["upstream.addr"].split(":")[0] for line in found} == {
        routed.meshed.pod("b").ipv4, routed.meshed.pod("c").ipv4}


def test_mirrors_that_lead_nowhere_harm_nobody_and_are_counted(routed):
    def counted():
        text = run(*routed.meshed.node.enter("curl", "-sf", f"http://127.0.0.1:{METRICS}/metrics")).stdout
        family = {one.name: one for one in text_string_to_metric_families(text)}["sockmesh_proxy_mirrored_requests"]
        return {sample.labels["reason"]: sample.value for sample in family.samples}
    before = counted()
    for number in range(5):
        assert post(routed, f"/dead/{number}", "--http1.1")[0] == "200"
    eventually(lambda: all(counted().get(reason, 0) >= before.get(reason, 0) + 5 for reason in (
        "no_healthy_endpoint", "invalid_route")), what="ten copies that failed")


def test_a_share_is_copied(routed):
    client = routed.clients["a"]
    for _ in range(100):
        assert client.ask(path="/half/share").get("status") == 200
        assert client.ask(path="/none/share").get("status") == 200
    # Copies come a moment later than the answers. 50 expected, deviation 5: five of them.
    found = eventually(lambda: len(lines := copies(routed, "/half/share")) >= 25 and lines, what="half of the copies")
    assert len(found) <= 75 and not copies(routed, "/none/share")


def test_a_limit_is_the_nodes_and_not_the_workers(routed):
    policy = {"apiVersion": "sockmesh.io/v1alpha1", "kind": "MeshPolicy",
              "metadata": {"name": "slow", "namespace": manifests.NAMESPACE},
              "spec": {"targetRefs": [{"kind": "Service", "name": "web"}],
                       "rateLimit": [{"key": "Route", "requestsPerSecond": 1, "burst": 1}]}}
    client = routed.clients["a"]
    routed.agent.write_config("policies.yaml", policy)
    try:
        eventually(lambda: client.ask().get("status") == 429, what="the limit")
        began = time.monotonic()
        # One connection each, so that every worker serves some.
        met = client.count(60)
        passed = time.monotonic() - began
        assert met["429"] + met.get("b", 0) == 60
        # One is there, and one comes each second.
        assert met.get("b", 0) <= passed + 2, (met, passed)
    finally:
        routed.agent.write_config("policies.yaml")
