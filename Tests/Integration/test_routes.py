# SPDX-License-Identifier: Apache-2.0
"""HTTPRoutes end to end: real agent, socket factory and proxy; web servers and clients in pods."""

import json
import os
import signal
import time

import pytest

from harness import manifests
from harness.meshed import OTHER
from harness.processes import PATIENCE, CommandFailed
from harness.routed import ADDRESSES, PORT, WEB6, http_route, to
from harness.world import eventually, fastest


@pytest.fixture
def client(routed):
    return routed.clients["a"]


@pytest.fixture
def routes(routed):
    """routes(*objects) is the configuration until the end of the test."""
    yield routed.routes
    routed.routes()


def answer(found):
    assert found.get("status") == 200, found
    return found["answer"]


def becomes(condition, what):
    return eventually(condition, what=what)


def test_without_a_route_the_kernel_leads_to_the_endpoints(routed, client):
    found = client.ask()
    assert answer(found)["pod"] == "b" and "via" not in answer(found)["headers"]
    assert routed.agent.json("status")["proxy"]["proxies"][0]["state"] == "serving"


def test_a_canary_gets_its_share(routes, client):
    routes(http_route("canary", [{"backendRefs": [to("v1", 90), to("v2", 10)]}]))
    becomes(lambda: client.count(20).get("c"), "an answer of the canary")
    met = client.count(500)
    # Of 500 with a probability of 0.1: 50, standard deviation 6.7.
    assert met["b"] + met["c"] == 500 and 18 <= met["c"] <= 82, met


def test_a_header_chooses_the_backend(routes, client):
    routes(http_route("header", [
        {"matches": [{"headers": [{"name": "x-env", "value": "canary"}]}], "backendRefs": [to("v2")]},
        {"backendRefs": [to("v1")]}]))
    becomes(lambda: answer(client.ask(headers={"X-Env": "canary"}))["pod"] == "c", "the canary")
    assert answer(client.ask(headers={"X-Env": "other"}))["pod"] == "b"
    assert answer(client.ask())["pod"] == "b"


def test_what_no_rule_matches_is_not_found(routes, client):
    routes(http_route("narrow", [{"matches": [{"path": {"type": "PathPrefix", "value": "/api"}}],
                                  "backendRefs": [to("v1")]}]))
    becomes(lambda: client.ask(path="/other").get("status") == 404, "a 404")
    assert answer(client.ask(path="/api/x"))["path"] == "/api/x"


def test_paths_and_headers_are_rewritten(routes, client):
    routes(http_route("rewrite", [{
        "matches": [{"path": {"type": "PathPrefix", "value": "/api"}}],
        "filters": [
            {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/v2"}}},
            {"type": "RequestHeaderModifier", "requestHeaderModifier": {
                "set": [{"name": "x-set", "value": "new"}], "add": [{"name": "x-add", "value": "more"}],
                "remove": ["x-gone"]}}],
        "backendRefs": [to("v2")]}]))
    becomes(lambda: client.ask(path="/other").get("status") == 404, "the route")
    found = answer(client.ask(path="/api/users?id=1", headers={"X-Set": "old", "X-Gone": "1"}))
    assert (found["pod"], found["path"]) == ("c", "/v2/users?id=1")
    headers = found["headers"]
    assert headers["x-set"] == "new" and headers["x-add"] == "more" and "x-gone" not in headers


def test_a_route_changes_under_an_open_connection(routes, client):
    routes(http_route("live", [{"backendRefs": [to("v1")]}]))
    becomes(lambda: answer(client.ask(headers={}))["pod"] == "b", "the first version")
    assert answer(client.ask(keep=True))["pod"] == "b"
    routes(http_route("live", [{"backendRefs": [to("v2")]}]))
    # The connection is the same, so it is the proxy that has changed.
    becomes(lambda: answer(client.ask(keep=True))["pod"] == "c", "the second version")


def test_a_route_that_goes_leaves_the_endpoints(routes, client):
    routes(http_route("gone", [{"backendRefs": [to("v2")]}]))
    becomes(lambda: answer(client.ask())["pod"] == "c", "the route")
    routes()
    assert client.count(20) == {"b": 20}


def test_a_backend_without_endpoints_is_unavailable(routes, client):
    routes(http_route("empty", [{"backendRefs": [to("empty")]}]))
    becomes(lambda: client.ask().get("status") == 503, "a 503")


def test_a_backend_that_does_not_exist_is_an_error_and_reported(routed, routes, client):
    routes(http_route("broken", [{"backendRefs": [to("nothing")]}]))
    becomes(lambda: client.ask().get("status") == 500, "a 500")
    conditions = {one["type"]: one for one in routed.agent.json("routes")[0]["parents"][0]["conditions"]}
    assert conditions["Accepted"]["status"] == "True"
    assert (conditions["ResolvedRefs"]["status"], conditions["ResolvedRefs"]["reason"]) == ("False", "BackendNotFound")
    text = routed.agent.ctl("routes").stdout
    assert "HTTPRoute test/broken" in text and "Service test/nothing not found" in text


@pytest.mark.parametrize("address", [ADDRESSES["web"], WEB6])
def test_the_application_sees_the_service(routes, client, address):
    routes(http_route("seen", [{"backendRefs": [to("v1")]}, ]))
    found = becomes(lambda: (one := client.ask(address=address)).get("status") == 200 and one, "an answer")
    assert found["peer"] == [address, PORT]
    # What comes back was the proxy's work only if the next request finds another route.
    routes(http_route("seen", [{"matches": [{"path": {"type": "Exact", "value": "/only"}}],
                                "backendRefs": [to("v1")]}]))
    becomes(lambda: client.ask(address=address).get("status") == 404, "a 404")
    assert client.ask(address=address)["peer"] == [address, PORT]


def test_routes_of_a_namespace_are_for_its_clients_only(routed, routes, client):
    other = routed.clients["o"]
    grant = {"apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
             "metadata": {"name": "in", "namespace": manifests.NAMESPACE},
             "spec": {"from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": OTHER}],
                      "to": [{"group": "", "kind": "Service"}]}}
    routes(grant, http_route("mine", [{"backendRefs": [to("v2", namespace=manifests.NAMESPACE)]}], namespace=OTHER))
    becomes(lambda: answer(other.ask())["pod"] == "c", "the consumer's route")
    assert client.count(20) == {"b": 20}


def test_policy_holds_for_what_the_proxy_sends(routed, routes, client):
    routes(http_route("denied", [{"backendRefs": [to("v2")]}]))
    becomes(lambda: answer(client.ask())["pod"] == "c", "the route")
    policy = manifests.network_policy("closed", manifests.app("c"), ingress=[])
    routed.agent.apply(policy)
    try:
        becomes(lambda: client.ask().get("status") == 503, "a refusal")
    finally:
        routed.agent.delete(policy)
    becomes(lambda: client.ask().get("status") == 200, "the end of the refusal")


def test_meshctl_applies_and_deletes_routes(routed, client):
    route = http_route("applied", [{"backendRefs": [to("v2")]}])
    routed.agent.apply(route)
    becomes(lambda: answer(client.ask())["pod"] == "c", "the route")
    routed.agent.delete(route)
    becomes(lambda: client.ask()["answer"]["pod"] == "b", "the end of the route")


def test_a_route_that_becomes_invalid_stays_as_it_was(routed, routes, client):
    routes(http_route("kept", [{"backendRefs": [to("v2")]}]))
    becomes(lambda: answer(client.ask())["pod"] == "c", "the route")
    routed.agent.write_config("routes.yaml", http_route("kept", [{"backendRefs": [to("v1", weight=-1)]}]))
    becomes(lambda: "object refused" in routed.agent.log_tail(200), "the refusal")
    assert client.count(10) == {"c": 10}


@pytest.mark.alone
def test_a_killed_proxy_is_replaced_within_half_a_second(routed, routes, client):
    routes(http_route("killed", [{"backendRefs": [to("v2")]}]))
    becomes(lambda: answer(client.ask())["pod"] == "c", "the route")
    other = routed.clients["o"]
    assert answer(other.ask("plain", keep=True))["pod"] == "c"

    def seconds():
        pid = routed.serving()
        os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        # What needs no proxy goes on, old and new.
        assert answer(other.ask("plain", keep=True))["pod"] == "c"
        assert answer(client.ask("plain"))["pod"] == "c"
        # Nothing waits for a proxy that is not there, or the time would not be met.
        while (found := client.ask()).get("status") != 200:
            assert time.monotonic() - began < PATIENCE, found
        taken = time.monotonic() - began
        assert found["answer"]["pod"] == "c"
        routed.serving(but=pid)
        return taken
    assert fastest(seconds, 0.5, times=3) < 0.5


def test_routes_outlive_the_agent(routed, routes, client):
    routes(http_route("lasting", [{"backendRefs": [to("v2")]}]))
    becomes(lambda: answer(client.ask())["pod"] == "c", "the route")
    pid = routed.serving()
    routed.agent.kill()
    assert client.count(10) == {"c": 10}
    routed.agent.start()
    assert client.count(10) == {"c": 10}
    assert routed.serving() == pid
    assert client.count(10) == {"c": 10}


def test_an_agent_without_a_proxy_leads_nothing_to_the_old_one(routed, routes, client):
    routes(http_route("left", [{"backendRefs": [to("v2")]}]))
    becomes(lambda: answer(client.ask())["pod"] == "c", "the route")
    routed.agent.proxy = "none"
    routed.agent.stop()
    routed.agent.start()
    try:
        assert client.count(10) == {"b": 10}
        assert "routes need the node proxy" in routed.agent.log_tail(50)
    finally:
        routed.agent.stop()
        routed.agent.proxy = None
        routed.agent.start()
        routed.serving()
    becomes(lambda: answer(client.ask())["pod"] == "c", "the route again")


def test_without_a_proxy_routes_are_refused(meshed):
    with pytest.raises(CommandFailed) as refused:
        meshed.agent.apply(http_route("early", [{"backendRefs": [to("v1")]}]))
    assert "routes need the node proxy" in str(refused.value) and "--proxy" in str(refused.value)
    done = meshed.agent.ctl("routes", check=False)
    assert done.returncode != 0 and "no node proxy runs" in done.stderr
    assert json.loads(meshed.agent.ctl("status", "-o", "json").stdout).get("proxy") is None
