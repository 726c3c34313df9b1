# SPDX-License-Identifier: Apache-2.0
"""Services: translation at connect(2), weights, affinity, refusals, what applications see."""

import socket

import pytest

from harness import manifests
from harness.manifests import service
from harness.services import PORT, TARGET, V4, V6, slice_of, web
from harness.world import eventually, family_number


@pytest.mark.parametrize("address", [V4, V6, f"::ffff:{V4}"])
def test_a_service_leads_to_its_pods(meshed, services, backends, address):
    services(web({"role": "server"}), pods={"b"})
    family = 6 if address == V6 else 4
    client = meshed.peer("a").socket(family_number(6 if ":" in address else 4), socket.SOCK_STREAM)
    client.connect((address, PORT))
    assert client.getpeername()[:2] == [address, PORT], "the application sees the address that it asked for"
    server, (seen, *_) = backends["b", family].accept()
    assert seen == meshed.pod("a").address(family)
    client.send(b"hello")
    assert server.recv(10) == b"hello"
    server.close()
    client.close()


def test_weights(meshed, services, backends):
    """3 to 1, by the pods' annotation: 1000 connections within 5 standard deviations."""
    pods = [meshed.pod_object(name, {"serves": "web"}, annotations={"sockmesh.io/weight": weight})
            for name, weight in (("b", "3"), ("c", "1"))]
    objects = [meshed.pod_object("a", {"role": "client"}), meshed.pod_object("o"), meshed.pod_object("u"), *pods]
    original = (meshed.agent.config / "objects.yaml").read_text()
    try:
        manifests.write(meshed.agent.config / "objects.yaml", manifests.namespace("test", {"team": "red"}),
                        manifests.namespace("other", {"team": "blue"}), *objects)
        services(web({"serves": "web"}), pods={"b", "c"})
        met = backends.ask(V4, times=1000)
        assert abs(met["b"] - 750) < 5 * (1000 * 0.75 * 0.25) ** 0.5, met
    finally:
        manifests.replace(meshed.agent.config / "objects.yaml", original)
        eventually(lambda: meshed.agent.json("status")["ready"], what="readiness")


def test_without_affinity_both_pods_are_met(meshed, services, backends):
    services(web(), slice_of("both", 4, [meshed.pod("b").ipv4, meshed.pod("c").ipv4]), pods={"b", "c"})
    assert len(backends.ask(V4, times=60)) == 2


def test_affinity(meshed, services, backends):
    services(web(sessionAffinity="ClientIP"), slice_of("both", 4, [meshed.pod("b").ipv4, meshed.pod("c").ipv4]),
             pods={"b", "c"})
    for source in ("a", "o"):
        assert len(backends.ask(V4, source, times=40)) == 1


def test_no_ready_endpoint_refuses_at_once(meshed, services):
    services(web({"app": "nobody"}), pods=set())
    for address in (V4, V6):
        assert meshed.is_at_once("ECONNREFUSED", "a", address, PORT)
    meshed.denial(PORT, "no-endpoint")


def test_an_unready_endpoint_gets_nothing(meshed, services, backends):
    services(web(), slice_of("one", 4, [meshed.pod("b").ipv4]),
             slice_of("two", 4, [meshed.pod("c").ipv4], ready=False), pods={"b"})
    assert backends.ask(V4, times=50) == {"b": 50}


def test_a_port_that_the_service_does_not_have_is_refused(meshed, services):
    services(web({"role": "server"}), pods={"b"})
    assert meshed.is_at_once("ECONNREFUSED", "a", V4, 81)


def test_policy_sees_the_pod_behind_the_service(meshed, services, backends, policies):
    services(web({"role": "server"}), pods={"b"})
    policies(manifests.network_policy("b-hears-c", manifests.app("b"), ingress=[
        {"from": [{"podSelector": manifests.app("c")}], "ports": [{"port": TARGET}]}]))
    assert meshed.outcome("a", V4, PORT) == "ECONNREFUSED"
    assert backends.ask(V4, source="c") == {"b": 1}
    assert meshed.denial(PORT, "policy-ingress")["serviceAddress"]["service"] == "test/web"


def test_a_pod_behind_its_own_service(meshed, services, backends):
    """Hairpin: b asks the Service whose only pod it is, under a policy that lets nobody in."""
    services(web({"role": "server"}), pods={"b"})
    assert backends.ask(V4, source="b") == {"b": 1}


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "unconnected"])
def test_udp_service(meshed, services, connected, family):
    """Answers come from the service's address, whichever way the client sends."""
    address = V4 if family == 4 else V6
    services(service("dns", {"role": "server"}, [(53, 5300, "UDP")], [V4, V6]), pods={"b"})
    server = meshed.peer("b").socket(family_number(family), socket.SOCK_DGRAM)
    server.bind((meshed.pod("b").address(family), 5300))
    client = meshed.peer("a").socket(family_number(family), socket.SOCK_DGRAM)
    if connected:
        client.connect((address, 53))
        client.send(b"query")
    else:
        client.sendto(b"query", (address, 53))
    data, sender = server.recvfrom(100)
    server.sendto(b"answer", tuple(sender[:2]))
    answer, source = client.recvfrom(100)
    assert (data, answer) == (b"query", b"answer")
    assert source[:2] == [address, 53]
    for end in (client, server):
        end.close()
