# SPDX-License-Identifier: Apache-2.0
"""gRPC through the node proxy: grpcio at both ends, in pods; GRPCRoutes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness import manifests
from harness.processes import PATIENCE, run
from harness.routed import ADDRESSES, PORT, Routed, to
from harness.world import eventually

METRICS = 15022
_PROGRAM = Path(__file__).parent / "harness" / "grpc_peer.py"


def grpc_route(name, rules):
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GRPCRoute",
            "metadata": {"name": name, "namespace": manifests.NAMESPACE},
            "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": "web", "port": PORT}], "rules": rules}}


def method(name):
    return {"matches": [{"method": {"service": "shop.Echo", "method": name}}]}


@pytest.fixture(scope="module")
def routed():
    made = Routed(["--metrics", f"127.0.0.1:{METRICS}", "--proxy-access-log", "json"], servers={"b": "grpc_peer.py serve", "c": "grpc_peer.py serve"})
    made.routes(grpc_route("calls", [
        {**method("Unary"), "backendRefs": [to("v2")]},
        {"matches": [{"method": {"service": "shop.Echo", "method": "Stream"},
                      "headers": [{"name": "x-none", "value": "1"}]}], "backendRefs": [to("v2")]},
        *({**method(name), "backendRefs": [to("v1")]} for name in (
            "Fail", "Collect", "Stream", "Chat", "Wait", "Cancelled")),
        {**method("Broken"), "backendRefs": [to("empty")]}]))
    eventually(lambda: call(made, "Unary").get("answer") == "hello from c", what="the route")
    yield made
    made.close()


def call(routed, name, kind="unary", count=0, timeout=PATIENCE):
    done = subprocess.run(
        routed.meshed.argv("a", sys.executable, _PROGRAM, "call", ADDRESSES["web"], str(PORT), name, kind, str(count),
                           str(timeout)), capture_output=True, text=True, timeout=2 * PATIENCE)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_unary_call_reaches_the_backend_of_its_method_with_its_trailers(routed):
    found = call(routed, "Unary")
    assert found["answer"] == "hello from c"
    assert found["trailers"]["x-pod"] == "c" and found["trailers"]["x-data-bin"] == str(b"\x00\xff")


def test_a_status_and_its_message_are_the_backends(routed):
    found = call(routed, "Fail")
    assert (found["code"], found["details"]) == ("FAILED_PRECONDITION", "no: \u00e4%")


def test_streams_pass_in_every_direction(routed):
    assert call(routed, "Collect", "collect", 500)["answer"] == str(500 * 1000)
    assert call(routed, "Stream", "stream", 500)["answer"] == [str(number) for number in range(500)]
    assert call(routed, "Chat", "chat", 50)["answer"] == [1000] * 50


def test_a_cancelled_call_is_cancelled_at_the_backend(routed):
    before = int(call(routed, "Cancelled")["answer"].split()[0])
    assert call(routed, "Wait", "cancel")["answer"] == "begun"
    eventually(lambda: int(call(routed, "Cancelled")["answer"].split()[0]) > before, what="the cancellation")


def test_a_deadline_ends_the_call_on_both_sides(routed):
    before = int(call(routed, "Cancelled")["answer"].split()[0])
    found = call(routed, "Wait", "deadline", timeout=2)
    assert found["code"] == "DEADLINE_EXCEEDED"
    eventually(lambda: int(call(routed, "Cancelled")["answer"].split()[0]) > before, what="the end")


def test_the_proxys_own_answers_are_statuses(routed):
    assert call(routed, "Nothing")["code"] == "UNIMPLEMENTED"
    assert call(routed, "Broken")["code"] == "UNAVAILABLE"


def test_the_status_of_a_call_is_in_log_and_metrics(routed):
    def line(name):
        for text in reversed(routed.agent.log_tail(500).splitlines()):
            if text.startswith("{") and f'"/shop.Echo/{name}"' in text:
                return json.loads(text)
        return None

    def counted():
        text = run(*routed.meshed.node.enter("curl", "-sf", f"http://127.0.0.1:{METRICS}/metrics")).stdout
        families = {family.name: family for family in text_string_to_metric_families(text)}
        return {sample.labels["grpc_response_status"] for sample in families["istio_requests"].samples
                if sample.name == "istio_requests_total" and sample.labels["request_protocol"] == "grpc"}
    for name, status in (("Unary", 0), ("Fail", 9), ("Nothing", 12), ("Broken", 14)):
        call(routed, name)
        found = eventually(lambda name=name: line(name), what=f"the line of {name}")
        assert (found["status"], found["grpc_status"]) == (200, status)
    eventually(lambda: {"0", "9", "12", "14"} <= counted(), what="the statuses in the metrics")
