# SPDX-License-Identifier: Apache-2.0
"""Policies about requests end to end: MeshPolicy, AuthorizationPolicy with fields of HTTP, metrics, the access log."""

import json
import os
import signal
import socket

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness import manifests
from harness.manifests import authorization_policy
from harness.processes import PATIENCE, run
from harness.routed import ADDRESSES, PORT, TARGET, Routed, http_route, to
from harness.world import eventually

METRICS = 15020


@pytest.fixture(scope="module")
def routed():
    made = Routed(["--metrics", f"127.0.0.1:{METRICS}", "--proxy-workers", "1", "--proxy-access-log", "json"])
    yield made
    made.close()


@pytest.fixture
def client(routed):
    return routed.clients["a"]


@pytest.fixture(autouse=True)
def clean(routed):
    yield
    routed.forget()


def mesh_policy(name, spec, service="web", namespace=manifests.NAMESPACE):
    target = {"kind": "Service", "name": service} if service else {"kind": "Namespace"}
    return {"apiVersion": "sockmesh.io/v1alpha1", "kind": "MeshPolicy",
            "metadata": {"name": name, "namespace": namespace}, "spec": {"targetRefs": [target], **spec}}


def met_by(client, **options):
    """The pod that a request has met; `None` if that was none."""
    return client.ask(**options).get("answer", {}).get("pod")


def becomes(condition, what):
    return eventually(condition, what=what)


def test_a_rate_limit_says_when_to_come_back(routed, client):
    routed.routes(http_route("plain", [{"backendRefs": [to("v2")]}]))
    becomes(lambda: met_by(client) == "c", "the route")
    routed.agent.write_config("policies.yaml", mesh_policy(
        "slow", {"rateLimit": [{"key": "Route", "requestsPerSecond": 1, "burst": 2}]}))
    found = becomes(lambda: (found := client.ask()).get("status") == 429 and found, "a request too many")
    headers = {name.lower(): value for name, value in found["headers"].items()}
    assert headers["retry-after"] == "1" and headers["ratelimit-policy"] == '"route";q=2;w=2'
    assert headers["ratelimit"].startswith('"route";r=0;t=')
    routed.agent.write_config("policies.yaml")
    becomes(lambda: client.count(5) == {"c": 5}, "the end of the limit")


def test_faults_are_made_for_their_share(routed, client):
    routed.routes(http_route("plain", [{"backendRefs": [to("v1")]}]))
    routed.agent.write_config("policies.yaml", mesh_policy(
        "fault", {"fault": {"abort": {"httpStatus": 418}, "delay": "100ms", "percent": 100}}))
    found = becomes(lambda: (found := client.ask()).get("status") == 418 and found, "the fault")
    assert found["seconds"] >= 0.1
    routed.agent.write_config("policies.yaml", mesh_policy("fault", {"fault": {"abort": {"httpStatus": 418},
                                                                               "percent": 50}}))
    becomes(lambda: client.count(20).get("b"), "a request without a fault")
    met = client.count(200)
    # Of 200 with a probability of 0.5: 100, standard deviation 7.1.
    assert met["418"] + met["b"] == 200 and 60 <= met["418"] <= 140, met


def test_keys_lead_to_one_endpoint(routed, client):
    """Service "both" has b and c as endpoints; a header keeps requests together."""
    slice_ = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
              "metadata": {"name": "both", "namespace": manifests.NAMESPACE,
                           "labels": {"kubernetes.io/service-name": "both"}},
              "ports": [{"name": f"p{PORT}", "port": TARGET, "protocol": "TCP"}],
              "endpoints": [{"addresses": [routed.meshed.pod(name).ipv4], "conditions": {"ready": True}}
                            for name in ("b", "c")]}
    routed.agent.write_config("both.yaml", manifests.service("both", None, [(PORT, TARGET)], ["10.96.1.9"]), slice_)
    routed.routes(http_route("both", [{"backendRefs": [to("both")]}]))
    routed.agent.write_config("policies.yaml", mesh_policy("sticky", {"resilience": {"loadBalancing": {
        "algorithm": "Maglev", "hash": {"key": "Header", "header": "x-user"}}}}, service="both"))

    def pods(user):
        return {met_by(client, headers={"X-User": user}) for _ in range(5)}

    def met():
        """The pods, if each of many users meets one only."""
        found = [pods(f"user{number}") for number in range(20)]
        return set().union(*found) if all(len(each) == 1 for each in found) else set()
    # Before the route all meet b, before the policy each meets both.
    becomes(lambda: met() == {"b", "c"}, "one endpoint for each key")


def test_a_path_is_denied_by_its_policy_wherever_the_request_comes_from(routed, client):
    """Captured because of the policy: no route is needed, and the pod's own address has the policy too."""
    routed.agent.write_config("policies.yaml", authorization_policy(
        "readers", {"app": "b"}, "ALLOW", [{"to": [{"operation": {"methods": ["GET"], "paths": ["/open*"]}}]}]))
    address = routed.meshed.pod("b").ipv4
    becomes(lambda: client.ask(path="/closed").get("status") == 403, "the policy")
    assert client.ask(path="/open/a")["answer"]["pod"] == "b"
    assert client.ask(path="/open/../closed").get("status") == 403
    assert client.ask(path="/closed", address=address, port=TARGET).get("status") == 403
    assert client.ask(path="/open", address=address, port=TARGET)["answer"]["pod"] == "b"
    # A route does not lead past it.
    routed.routes(http_route("around", [{"backendRefs": [to("v1")], "filters": [
        {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/closed"}}}]}]))
    becomes(lambda: client.ask(path="/open").get("status") == 403, "the route")


def test_who_may_is_known_by_the_kernel(routed):
    source = {"from": [{"source": {"namespaces": ["other"]}}], "to": [{"operation": {"methods": ["GET"]}}]}
    routed.agent.write_config("policies.yaml", authorization_policy("others", {"app": "b"}, "ALLOW", [source]))
    becomes(lambda: "errno" in (found := routed.clients["a"].ask()) or found.get("status") == 403, "the policy")
    assert routed.clients["o"].ask()["answer"]["pod"] == "b"


def test_the_access_log_names_the_policy(routed, client):
    routed.agent.write_config("policies.yaml", authorization_policy(
        "no-admin", {"app": "b"}, "DENY", [{"to": [{"operation": {"paths": ["/admin*"]}}]}]))
    becomes(lambda: client.ask(path="/admin").get("status") == 403, "the policy")
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    client.ask(path="/admin/logged", headers={"User-Agent": "curl/8", "X-Request-Id": "r-1", "traceparent": trace})

    def line():
        for text in routed.agent.log_tail(200).splitlines():
            if '"/admin/logged"' in text and text.startswith("{"):
                return json.loads(text)
        return None
    found = becomes(line, "the line")
    assert found["status"] == 403 and found["reason"] == "policy_denied" and found["response_flags"] == "UAEX"
    assert found["decided_by"] == "AuthorizationPolicy test/no-admin rule 0"
    assert found["user_agent"] == "curl/8" and found["request_id"] == "r-1"
    assert found["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"


def test_trace_context_goes_on_as_it_came(routed, client):
    """W3C Trace Context: who takes no part in a trace forwards both fields unchanged, known version or not."""
    routed.routes(http_route("traced", [{"backendRefs": [to("v2")]}]))
    becomes(lambda: met_by(client) == "c", "the route")
    for parent in ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "cc-4bf92f3577b34da6a3ce929d0e0e4736-1", "x"):
        sent = {"traceparent": parent, "tracestate": "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"}
        found = client.ask(headers=sent)["answer"]["headers"]
        assert {name: found.get(name) for name in sent} == sent


def test_prometheus_reads_the_metrics(routed, client):
    routed.routes(http_route("counted", [{"backendRefs": [to("v2")]}]))
    becomes(lambda: met_by(client) == "c", "the route")

    def families():
        """The page as Prometheus' own client reads it; it raises where the format is broken."""
        text = run(*routed.meshed.node.enter("curl", "-sf", f"http://127.0.0.1:{METRICS}/metrics")).stdout
        return {family.name: family for family in text_string_to_metric_families(text)}

    def counted():
        return {sample.labels["destination_service_name"]: sample.value
                for sample in families()["istio_requests"].samples
                if sample.name == "istio_requests_total" and sample.labels["response_code"] == "200"}
    before = counted()["v2"]
    client.count(10)
    becomes(lambda: counted()["v2"] == before + 10, "ten more requests")
    page = families()
    assert page["istio_request_duration_milliseconds"].type == "histogram"
    assert page["sockmesh_proxy_up"].samples[0].value == 1
    one = next(sample for sample in page["istio_requests"].samples
               if sample.labels.get("destination_service_name") == "v2")
    assert one.labels["reporter"] == "source" and one.labels["source_workload"] == "a"
    assert one.labels["source_principal"] == "spiffe://cluster.local/ns/test/sa/sa-a"
    assert one.labels["destination_workload"] == "c"
    # The same by the agent's own socket: it needs no port.
    assert {family.name for family in text_string_to_metric_families(routed.agent.ctl("metrics", "--raw").stdout)} == set(page)
    shown = routed.agent.json("metrics", "istio_requests_total")
    assert next(item["value"] for item in shown if item["labels"].get("destination_service_name") == "v2"
                and item["labels"]["response_code"] == "200") == before + 10
    line = next(line for line in routed.agent.ctl("metrics", "istio_requests").stdout.splitlines() if "test/v2" in line)
    assert line.split()[:3] == ["istio_requests_total", "test/a", "test/v2"] and "response_code=200" in line


def test_what_has_come_by_both_paths_before_the_proxy_reads_is_read(routed, client):
    """A run of small writes leaves the fast path: its first bytes and its last wait in two queues of the proxy's socket, and
    no read gives both."""
    routed.routes(http_route("plain", [{"backendRefs": [to("v1")]}]))
    becomes(lambda: met_by(client) == "b", "the route")
    opened = routed.meshed.peer("a").socket(socket.AF_INET, socket.SOCK_STREAM)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.settimeout(PATIENCE)
    opened.connect((ADDRESSES["web"], PORT))

    def answer():
        found = b""
        while not found.endswith(b"}"):
            received = opened.recv(65536)
            assert received, found
            found += received
        return json.loads(found.partition(b"\r\n\r\n")[2])
    opened.send(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
    assert answer()["pod"] == "b"
    assert routed.meshed.paths(opened)[0][0] == "redirect", "the connection is on the fast path"
    proxy = routed.serving()
    os.kill(proxy, signal.SIGSTOP)
    try:
        opened.send(b"PUT / HTTP/1.1\r\nHost: web\r\nContent-Length: 20000\r\n\r\n")
        opened.pour(20_000, chunk=50)
    finally:
        os.kill(proxy, signal.SIGCONT)
    assert answer()["received"] == 20_000
    assert routed.meshed.paths(opened)[0][0] == "tcp", "it has left the fast path"
    opened.close()
