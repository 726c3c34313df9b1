# SPDX-License-Identifier: Apache-2.0
"""Which endpoints of a Service a pod of this node meets: readiness, termination, node, zone, affinity."""

import errno
import socket
import time

import pytest

from harness import manifests
from harness.manifests import service
from harness.services import PORT, TARGET, V4, V6, slice_of, web
from harness.world import eventually, family_number

EXTERNAL = "198.51.100.7"
ADDRESS = {4: V4, 6: V6}
UDP = (PORT, TARGET, "UDP")


@pytest.fixture
def change_pods(meshed):
    """change_pods(name=change) rewrites Pod objects by `change(object)` until the end of the test."""
    path = meshed.agent.config / "objects.yaml"
    original = path.read_text()

    def rewrite(**changes):
        objects = meshed.pod_objects({"a": {"role": "client"}, "b": {"role": "server"}})
        for item in objects:
            if item["kind"] == "Pod" and item["metadata"]["name"] in changes:
                changes[item["metadata"]["name"]](item)
        manifests.write(path, *objects)
    yield rewrite
    manifests.replace(path, original)
    eventually(lambda: meshed.agent.json("status")["ready"], what="readiness")


def unready(pod):
    pod["status"]["conditions"] = [{"type": "Ready", "status": "False"}]


def terminating(pod):
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"


def serves(pod):
    pod["metadata"]["labels"]["serves"] = "web"


def both(*changes):
    """One change out of several."""
    def change(pod):
        for one in changes:
            one(pod)
    return change


def node_object(meshed, zone):
    return {"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": meshed.node.id, "labels": {"topology.kubernetes.io/zone": zone}}}


def slices(meshed, family, port=(PORT, TARGET, "TCP"), **by_pod):
    """A slice for each pod, with the place and conditions that are given for it."""
    return [slice_of(f"{pod}-{family}", family, [meshed.pod(pod).address(family)], port, **what)
            for pod, what in by_pod.items()]


def test_internal_traffic_stays_on_the_node(meshed, services, backends, family):
    places = slices(meshed, family, b={"node": meshed.node.id}, c={"node": "elsewhere"})
    services(web(internalTrafficPolicy="Local", externalIPs=[EXTERNAL]), *places,
             pods={"b", "c"} if family == 4 else {"b"})
    assert backends.ask(ADDRESS[family], times=30) == {"b": 30}
    if family == 4:
        assert len(backends.ask(EXTERNAL, times=60)) == 2, "the policy is for cluster addresses"


def test_no_endpoint_on_the_node_refuses(meshed, services, backends, family):
    services(web(internalTrafficPolicy="Local"), *slices(meshed, family, c={"node": "elsewhere"}), pods=set())
    assert meshed.outcome("a", ADDRESS[family], PORT) == "ECONNREFUSED"
    meshed.denial(PORT, "no-endpoint")


def test_udp_stays_on_the_node(meshed, services, datagrams, family):
    places = slices(meshed, family, UDP, b={"node": "elsewhere"}, c={"node": meshed.node.id})
    services(service("web", None, [UDP], [V4, V6], internalTrafficPolicy="Local"), *places, pods={"c"})
    assert datagrams.ask(ADDRESS[family], times=20) == {"c": 20}


@pytest.mark.parametrize("distribution", ["PreferClose", "PreferSameZone"])
def test_the_own_zone_is_preferred(meshed, services, backends, family, distribution):
    places = slices(meshed, family, b={"zone": "east"}, c={"zone": "west"})
    services(node_object(meshed, "west"), web(trafficDistribution=distribution), *places, pods={"c"})
    assert backends.ask(ADDRESS[family], times=30) == {"c": 30}


def test_without_an_endpoint_in_the_zone_all_are_met(meshed, services, backends, family):
    places = slices(meshed, family, b={"zone": "east"}, c={"zone": "west"})
    services(node_object(meshed, "north"), web(trafficDistribution="PreferClose"), *places, pods={"b", "c"})
    assert len(backends.ask(ADDRESS[family], times=60)) == 2


def test_without_a_distribution_zones_do_not_matter(meshed, services, backends):
    places = slices(meshed, 4, b={"zone": "east"}, c={"zone": "west"})
    services(node_object(meshed, "west"), web(), *places, pods={"b", "c"})
    assert len(backends.ask(V4, times=60)) == 2


def test_hints_are_followed_if_all_have_one(meshed, services, backends):
    """They say more than zones: the controller balances by them."""
    services(node_object(meshed, "west"), web(),
             *slices(meshed, 4, b={"zone": "east", "hints": ["west"]}, c={"zone": "west", "hints": ["east"]}),
             pods={"b"})
    assert backends.ask(V4, times=30) == {"b": 30}
    services(node_object(meshed, "west"), web(),
             *slices(meshed, 4, b={"zone": "east", "hints": ["west"]}, c={"zone": "west"}), pods={"b", "c"})
    assert len(backends.ask(V4, times=60)) == 2


def test_the_own_node_is_preferred(meshed, services, backends):
    places = slices(meshed, 4, b={"node": "elsewhere"}, c={"node": meshed.node.id})
    services(web(trafficDistribution="PreferSameNode"), *places, pods={"c"})
    assert backends.ask(V4, times=30) == {"c": 30}


@pytest.mark.parametrize("publish", [True, False])
def test_addresses_that_are_not_ready(meshed, services, backends, family, publish):
    """By slices, as in a cluster."""
    places = slices(meshed, family, b={}, c={"ready": False, "serving": False})
    services(web(publishNotReadyAddresses=publish), *places, pods={"b", "c"} if publish else {"b"})
    assert len(backends.ask(ADDRESS[family], times=60)) == (2 if publish else 1)


@pytest.mark.parametrize("publish", [True, False])
def test_pods_that_are_not_ready(meshed, services, backends, change_pods, publish):
    """By selector, as without a cluster."""
    change_pods(b=serves, c=both(serves, unready))
    services(web({"serves": "web"}, publishNotReadyAddresses=publish), pods={"b", "c"} if publish else {"b"})
    assert len(backends.ask(V4, times=60)) == (2 if publish else 1)


def unreachable(meshed, address, family):
    """Asks for an address that nobody has, and does not wait."""
    client = meshed.peer("a").socket(family_number(family), socket.SOCK_STREAM)
    client.setblocking(False)
    with pytest.raises(OSError) as caught:
        client.connect((address, PORT))
    assert caught.value.errno in (errno.EINPROGRESS, errno.ENETUNREACH)
    client.close()


TERMINATING = {"ready": False, "serving": True, "terminating": True}


def test_a_terminating_endpoint_serves_only_when_nobody_else_does(meshed, services, backends, family):
    """KEP-1669."""
    services(web(), *slices(meshed, family, b={}, c=TERMINATING), pods={"b"})
    assert backends.ask(ADDRESS[family], times=30) == {"b": 30}
    services(web(), *slices(meshed, family, b={"ready": False, "serving": False}, c=TERMINATING), pods={"c"})
    assert backends.ask(ADDRESS[family], times=30) == {"c": 30}


def test_a_terminating_endpoint_that_does_not_serve_is_none(meshed, services, family):
    services(web(), *slices(meshed, family, c={**TERMINATING, "serving": False}), pods=set())
    assert meshed.outcome("a", ADDRESS[family], PORT) == "ECONNREFUSED"


def test_terminating_pods(meshed, services, backends, change_pods):
    """By selector: a pod with a deletionTimestamp, then no other than that."""
    change_pods(b=serves, c=both(serves, terminating))
    services(web({"serves": "web"}), pods={"b"})
    assert backends.ask(V4, times=30) == {"b": 30}
    change_pods(c=both(serves, terminating))
    eventually(lambda: services.leads_to() == {"web": {"c"}}, what="the fallback")
    assert backends.ask(V4, times=30) == {"c": 30}


def test_a_headless_service_has_no_address(meshed, services, backends, family):
    """Its pods are met by their own addresses, and what was its cluster address is nobody's."""
    services(web({"role": "server"}), pods={"b"})
    assert backends.ask(ADDRESS[family]) == {"b": 1}
    headless = service("web", {"role": "server"}, [(PORT, TARGET)], [])
    services(headless, pods=set())
    report, = meshed.agent.json("services")
    assert (report["type"], report["frontends"]) == ("Headless", [])
    assert backends.ask(meshed.pod("b").address(family), port=TARGET) == {"b": 1}
    assert meshed.outcome("a", meshed.pod("b").address(family), PORT) == "ECONNREFUSED", "nobody listens there"
    before = len(meshed.denials(PORT))
    unreachable(meshed, ADDRESS[family], family)
    assert len(meshed.denials(PORT)) == before, "it is no Service's that could refuse"


def test_affinity_ends_after_its_time(meshed, services, backends):
    """Two seconds since the last use; four clients, each of which chooses anew with even odds."""
    seconds = 2
    config = {"clientIP": {"timeoutSeconds": seconds}}
    services(web(sessionAffinity="ClientIP", sessionAffinityConfig=config), *slices(meshed, 4, b={}, c={}),
             pods={"b", "c"})
    clients = ("a", "b", "c", "o")

    def chosen():
        return {source: next(iter(backends.ask(V4, source))) for source in clients}
    began = last = time.monotonic()
    first = chosen()
    while time.monotonic() - began < 1.5 * seconds:
        time.sleep(0.3)
        again = time.monotonic()
        now = chosen()
        # A machine that stood still says nothing.
        assert now == first or time.monotonic() - last > seconds, "each use keeps the choice for its time again"
        first, last = now, again
    for _ in range(6):
        time.sleep(seconds + 0.1)
        if chosen() != first:
            return
    raise AssertionError(f"the choices {first} never ended")


def test_affinity_of_udp(meshed, services, datagrams, family):
    services(service("web", None, [UDP], [V4, V6], sessionAffinity="ClientIP"),
             *slices(meshed, family, UDP, b={}, c={}), pods={"b", "c"})
    assert len(datagrams.ask(ADDRESS[family], times=30)) == 1


def test_udp_without_affinity_meets_both(meshed, services, datagrams, family):
    services(service("web", None, [UDP], [V4, V6]), *slices(meshed, family, UDP, b={}, c={}), pods={"b", "c"})
    assert len(datagrams.ask(ADDRESS[family], times=60)) == 2
