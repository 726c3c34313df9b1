# SPDX-License-Identifier: Apache-2.0
"""A change of policy under requests: nothing is judged by less than what `meshctl policy apply` has acknowledged."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from harness import manifests
from harness.manifests import authorization_policy
from harness.meshed import Applied
from harness.processes import stop
from harness.routed import ADDRESSES, PORT, Client, Routed, http_route, to
from harness.world import eventually

# More of both by hand: what is looked for is a matter of milliseconds.
FLIPS = int(os.environ.get("MESH_TEST_FLIPS", "20"))
ENROLMENTS = int(os.environ.get("MESH_TEST_ENROLMENTS", "5"))
OPEN = authorization_policy("open", {"app": "c"}, "ALLOW", [{"to": [{"operation": {"methods": ["GET"]}}]}])
CLOSED = authorization_policy("closed", {"app": "c"}, "DENY", [{"to": [{"operation": {"paths": ["/closed"]}}]}])


@pytest.fixture(scope="module")
def routed():
    made = Routed(["--proxy-workers", "2"])
    yield made
    made.close()


@pytest.fixture
def policies(routed):
    """What decides about pod c; every connection to it is the proxy's from here on."""
    made = Applied(routed.agent)
    made(OPEN)
    eventually(lambda: routed.clients["a"].ask("plain", "/closed").get("status") == 200, what="an answer of pod c")
    yield made
    made.close()


class Asker:
    """A process in a pod that asks for /closed without end: on a connection that it keeps, then on a new one."""

    def __init__(self, routed, service="plain", pod="a"):
        program = os.path.join(os.path.dirname(__file__), "harness", "web.py")
        self._process = routed.meshed.spawn(pod, sys.executable, program, "judged", ADDRESSES[service], str(PORT),
                                            "/closed", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout.readline() == "ready\n"

    def end(self):
        """All requests: when each began, when it ended, what it came to, and whether by a kept connection."""
        self._process.stdin.close()
        found = [line.split(maxsplit=3) for line in self._process.stdout]
        stop(self._process)
        return [(float(began), float(ended), kind, what.strip()) for began, ended, kind, what in found]


def test_what_was_acknowledged_judges_every_request(routed, policies):
    askers = [Asker(routed), Asker(routed, pod="o")]
    denied, allowed = [], []
    for _ in range(FLIPS):
        policies(CLOSED)
        acknowledged = time.monotonic()
        # Under a load of its own the client may not have had its turn.
        assert routed.clients["a"].ask("plain", "/closed", keep=True)["status"] == 403
        assert routed.clients["a"].ask("plain", "/closed")["status"] == 403
        denied.append((acknowledged, time.monotonic()))
        policies.delete(CLOSED)
        acknowledged = time.monotonic()
        assert routed.clients["a"].ask("plain", "/closed", keep=True)["status"] == 200
        allowed.append((acknowledged, time.monotonic()))
    requests = [one for asker in askers for one in asker.end()]
    for began, ended, kind, what in requests:
        assert what in ("200", "403"), (kind, what)
        within = [outcome for outcome, spans in (("403", denied), ("200", allowed))
                  for first, last in spans if first <= began and ended <= last]
        assert within in ([], [what]), (kind, what, within)
    assert len({(kind, what) for _, _, kind, what in requests}) == 4, "both outcomes by both kinds of connection"


def test_a_pod_that_joins_is_judged_from_the_first_moment(routed, policies):
    """Its address was an endpoint before, and connections that lead there are open: they are the proxy's by the route."""
    policies(CLOSED)
    routed.routes(http_route("c", [{"backendRefs": [to("v2")]}]))
    objects = routed.meshed.pod_objects({"a": {"role": "client"}, "b": {"role": "server"}})
    without = [one if one["metadata"]["name"] != "c" else routed.meshed.pod_object("c", mesh="disabled")
               for one in objects]

    def state():
        return next((one["redirection"]["state"] for one in routed.agent.json("workloads") if one["name"] == "c"), None)

    asker = Asker(routed, "web")
    spans = []
    try:
        for _ in range(ENROLMENTS):
            routed.agent.write_config("objects.yaml", *without)
            eventually(lambda: state() != "enabled", what="pod c outside the mesh")
            eventually(lambda: routed.clients["a"].ask("web", "/closed", keep=True).get("status") == 200,
                       what="a request that nobody judges")
            routed.agent.write_config("objects.yaml", *objects)
            eventually(lambda: state() == "enabled", what="pod c in the mesh")
            enabled = time.monotonic()
            for keep in (True, False):
                assert routed.clients["a"].ask("web", "/closed", keep=keep)["status"] == 403
            spans.append((enabled, time.monotonic()))
    finally:
        routed.agent.write_config("objects.yaml", *objects)
        requests = asker.end()
        routed.routes()
    for began, ended, kind, what in requests:
        if any(first <= began and ended <= last for first, last in spans):
            assert what == "403", (kind, what)
    assert {"200", "403"} <= {what for *_, what in requests}


def test_a_proxy_that_does_not_take_a_policy_is_replaced(routed, policies):
    old = routed.serving()
    os.kill(old, signal.SIGSTOP)
    began = time.monotonic()
    change = threading.Thread(target=policies, args=(CLOSED,))
    change.start()
    answered = 0
    while change.is_alive():
        routed.agent.json("status")
        answered += change.is_alive()
    assert answered >= 2, "the agent answers while the change waits"
    assert time.monotonic() - began < 30, "a dead proxy does not keep policy from coming into force"
    routed.serving(but=old)
    eventually(lambda: routed.clients["a"].ask("plain", "/closed").get("status") == 403, what="an answer of the next")
    policies.delete(CLOSED)
    assert routed.clients["a"].ask("plain", "/closed")["status"] == 200


def test_what_changed_without_an_agent_holds_for_the_first_connection(routed, policies):
    """The kernel decides by it before the proxy can have heard of it: the connection waits for that."""
    client = Client(routed.meshed, "a")
    pid = routed.serving()
    try:
        for round_ in range(2):
            routed.agent.kill()
            routed.agent.write_config("closed.yaml", CLOSED)
            routed.agent.start()
            assert client.ask("plain", "/closed")["status"] == 403, round_
            routed.agent.kill()
            routed.agent.write_config("closed.yaml")
            routed.agent.start()
            eventually(lambda: client.ask("plain", "/closed").get("status") == 200, what="the policy before")
        assert routed.serving() == pid
    finally:
        routed.agent.write_config("closed.yaml")
        client.close()
