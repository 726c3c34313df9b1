# SPDX-License-Identifier: Apache-2.0
"""Backends that go and come back behind the node proxy, as a rolling update has it: no request notices."""

import time

import pytest

from harness import manifests
from harness.routed import PORT, TARGET, Steady, http_route, to
from harness.world import eventually

READY = {"ready": True, "serving": True, "terminating": False}
GOING = {"ready": False, "serving": True, "terminating": True}
GONE = {"ready": False, "serving": False, "terminating": True}


@pytest.fixture
def both(routed):
    """both(b=conditions, c=conditions): the endpoints of Service `both`, to which the route of `web` leads."""
    def endpoints(**conditions):
        routed.agent.write_config("both.yaml", manifests.service("both", None, [(PORT, TARGET)], ["10.96.1.9"]), {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "both", "namespace": manifests.NAMESPACE,
                         "labels": {"kubernetes.io/service-name": "both"}},
            "ports": [{"name": f"p{PORT}", "port": TARGET, "protocol": "TCP"}],
            "endpoints": [{"addresses": [routed.meshed.pod(name).ipv4], "conditions": state}
                          for name, state in conditions.items()]})
    endpoints(b=READY, c=READY)
    routed.routes(http_route("both", [{"backendRefs": [to("both")]}]))
    eventually(lambda: set(routed.clients["a"].count(20)) == {"b", "c"}, what="the route")
    yield endpoints
    routed.routes()


@pytest.mark.parametrize("state", [GOING, GONE], ids=["serving", "not-serving"])
def test_a_rolling_update_fails_no_request_and_asks_no_terminating_backend(routed, both, state):
    client = routed.clients["a"]
    with Steady(routed.meshed, "a", "web") as one, Steady(routed.meshed, "o", "web") as two:
        for victim, other in (("c", "b"), ("b", "c"), ("c", "b")):
            both(**{victim: state, other: READY})
            eventually(lambda other=other: client.count(20) == {other: 20}, what=f"requests to {other} alone")
            # The proxy has several workers, and each has the change: whoever asks from now on meets one backend only.
            assert client.count(100) == {other: 100}
            # Who was asked before has answered: each of these clients makes one request after the other.
            for steady in (one, two):
                steady.until(time.monotonic())
            routed.restart_server(victim)
            both(b=READY, c=READY)
            eventually(lambda victim=victim: victim in client.count(20), what=f"requests to {victim} again")
        for steady in (one, two):
            report = steady.until(time.monotonic())
            assert report["failed"] == [] and report["ok"] > 0
