# SPDX-License-Identifier: Apache-2.0
"""Connections from outside the mesh whose verdict needs L7: led to the proxy inside their destination's pod."""

import socket

import pytest

from harness.capture import INGRESS, Origin, cookie_of, nobody_waits
from harness.manifests import app, network_policy
from harness.meshed import Applied
from harness.remote import Peer
from harness.services import TARGET
from harness.world import family_number


@pytest.fixture(params=["u", "node"])
def outsider(request, proxied):
    """Somebody without a record of a pod: a pod that is not in the mesh, and the node itself."""
    if request.param == "u":
        yield proxied.peer("u"), proxied.pod("u").address
        return
    peer = Peer(proxied.node.enter(), "node")
    yield peer, {4: "10.81.0.1", 6: "fd81::1"}.get
    peer.close()


def test_who_comes_from_outside_is_led_to_the_inbound_listener(proxied, targets, rules, proxies, outsider, family):
    peer, address_of = outsider
    proxy = proxies["b"]
    rules.needs_l7(proxy.cookie, INGRESS, TARGET)
    address = proxied.pod("b").address(family)
    client = peer.socket(family_number(family), socket.SOCK_STREAM)
    client.connect((address, TARGET))
    accepted, seen = proxy.inbound[family].accept()
    origin = Origin.of(accepted)
    assert origin.destination == (address, TARGET)
    assert origin.client == (address_of(family), client.getsockname()[1])
    assert origin.direction == INGRESS
    assert origin.netns == proxy.cookie and origin.source_netns == 0 and origin.service == 0
    client.send(b"in")
    assert accepted.recv(10) == b"in"
    assert nobody_waits(targets[family])
    # The proxy hands it on inside the pod: the application sees who is behind it.
    leg = proxy.dial(address, TARGET, netns=0, identity=origin.identity, client=origin.client)
    server, shown = targets[family].accept()
    assert tuple(shown[:2]) == origin.client
    assert tuple(server.getpeername()[:2]) == origin.client
    leg.send(b"on")
    assert server.recv(10) == b"on"
    for end in (client, accepted, leg, server):
        end.close()


@pytest.mark.parametrize("gone", ["no proxy", "no listener"])
def test_without_a_proxy_nobody_comes_in_from_outside(proxied, targets, rules, proxies, gone):
    rules.needs_l7(proxies["b"].cookie, INGRESS, TARGET)
    if gone == "no proxy":
        rules.control["proxy_live"] = 0
    else:
        rules.needs_l7(cookie_of(proxied.agent, "c"), INGRESS, TARGET)
    target = "b" if gone == "no proxy" else "c"
    assert proxied.is_at_once("ECONNREFUSED", "u", target, TARGET)
    proxied.denial(TARGET, "needs-proxy")
    assert nobody_waits(targets[4]) and nobody_waits(proxies["b"].inbound[4])


def test_probes_of_the_node_go_past_the_proxy(proxied, targets, rules, proxies):
    proxy = proxies["b"]
    rules.needs_l7(proxy.cookie, INGRESS, TARGET)
    rules.probe(proxy.cookie, TARGET)
    host = Peer(proxied.node.enter(), "node")
    try:
        client = host.socket(socket.AF_INET, socket.SOCK_STREAM)
        client.connect((proxied.pod("b").ipv4, TARGET))
        server, _ = targets[4].accept()
        client.send(b"alive?")
        assert server.recv(10) == b"alive?"
        server.close()
    finally:
        host.close()
    assert proxied.outcome("u", "b", TARGET) == "ok"  # to the proxy
    accepted, _ = proxy.inbound[4].accept()
    assert Origin.of(accepted).client[0] == proxied.pod("u").ipv4
    accepted.close()


def test_a_leg_from_outside_is_under_the_pods_policy(proxied, targets, rules, proxies):
    policies = Applied(proxied.agent)
    try:
        policies(network_policy("b-hears-c", app("b"), ingress=[{"from": [{"podSelector": app("c")}]}]))
        with pytest.raises(ConnectionRefusedError):
            proxies["b"].dial(proxied.pod("b").ipv4, TARGET, netns=0, identity=1)
        leg = proxies["b"].dial(proxied.pod("b").ipv4, TARGET)
        targets[4].accept()[0].close()
        leg.close()
    finally:
        policies.close()
