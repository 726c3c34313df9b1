# SPDX-License-Identifier: Apache-2.0
"""What else a Service can be reached by, as enrolled pods see it: node ports, load balancers, external addresses."""

import errno
import select
import socket

import pytest

from harness.manifests import app, network_policy, service
from harness.remote import Peer
from harness.services import PORT, TARGET, V4, V6
from harness.world import eventually, family_number

NODE_PORT = 30080
NODE = {4: "10.81.0.1", 6: "fd81::1"}
BALANCER = {4: "192.0.2.10", 6: "2001:db8::10"}
EXTERNAL = {4: "198.51.100.7", 6: "2001:db8:1::7"}
CLUSTER = {4: V4, 6: V6}


def exposed(protocol="TCP", selector=None, balancers=tuple(BALANCER.values()), mode="VIP"):
    """Service web of pod b, by all the ways that there are."""
    made = service("web", selector or {"role": "server"}, [(PORT, TARGET, protocol)], [V4, V6], type="LoadBalancer",
                   externalIPs=list(EXTERNAL.values()))
    made["spec"]["ports"][0]["nodePort"] = NODE_PORT
    made["status"] = {"loadBalancer": {"ingress": [{"ip": address, "ipMode": mode} for address in balancers]}}
    return made


@pytest.fixture(params=["node-port", "load-balancer", "external-ip", "cluster-ip"])
def way(request, family):
    """Address and port of one of the ways."""
    return {"node-port": (NODE[family], NODE_PORT), "load-balancer": (BALANCER[family], PORT),
            "external-ip": (EXTERNAL[family], PORT), "cluster-ip": (CLUSTER[family], PORT)}[request.param]


def test_tcp(meshed, services, backends, way, family):
    services(exposed(), pods={"b"})
    client = meshed.peer("a").socket(family_number(family), socket.SOCK_STREAM)
    client.connect(way)
    assert client.getpeername()[:2] == list(way), "the application sees the address that it asked for"
    server, (seen, *_) = backends["b", family].accept()
    assert seen == meshed.pod("a").address(family), "the pod sees who asks, not the node"
    client.send(b"hello")
    assert server.recv(10) == b"hello"
    assert meshed.paths(client)[0] == ("redirect", None)
    server.close()
    client.close()


def test_udp(services, datagrams, way):
    services(exposed("UDP"), pods={"b"})
    address, port = way
    assert datagrams.ask(address, port=port) == {"b": 1}


def test_policy_is_that_of_the_pod_behind(meshed, services, backends, policies, way):
    services(exposed(), pods={"b"})
    policies(network_policy("b-hears-c", app("b"), ingress=[{"from": [{"podSelector": app("c")}]}]))
    address, port = way
    assert meshed.outcome("a", address, port) == "ECONNREFUSED"
    assert backends.ask(address, "c", port=port) == {"b": 1}


def test_no_endpoint_refuses(meshed, services, way):
    services(exposed(selector={"app": "nobody"}), pods=set())
    address, port = way
    assert meshed.is_at_once("ECONNREFUSED", "a", address, port)
    meshed.denial(port, "no-endpoint")


def test_udp_without_endpoint_is_refused(meshed, services, way, family):
    services(exposed("UDP", selector={"app": "nobody"}), pods=set())
    client = meshed.peer("a").socket(family_number(family), socket.SOCK_DGRAM)
    with pytest.raises(ConnectionRefusedError):
        client.sendto(b"question", way)
    client.close()


@pytest.mark.parametrize("mode", ["VIP", "Proxy"])
def test_a_balancer_that_must_see_the_traffic_sees_it(meshed, services, backends, family, mode):
    """KEP-1860: connections to an address with ipMode Proxy are not for the node to shorten."""
    services(exposed(balancers=[BALANCER[family]], mode=mode), pods={"b"})
    client = meshed.peer("a").socket(family_number(family), socket.SOCK_STREAM)
    client.setblocking(False)
    with pytest.raises(OSError) as caught:
        client.connect((BALANCER[family], PORT))
    # No route leads from this node to a balancer.
    assert caught.value.errno in (errno.EINPROGRESS, errno.ENETUNREACH)
    if mode == "VIP":
        backends["b", family].accept()[0].close()
    else:
        assert backends["b", family].poll(select.POLLIN, 200) == 0
    client.close()


def test_a_node_port_leaves_the_nodes_other_ports_alone(meshed, services):
    """Something of the node listens there: no Service, no refusal."""
    services(exposed(), pods={"b"})
    host = socket_of_the_node(meshed, NODE_PORT + 1)
    try:
        assert meshed.outcome("a", NODE[4], NODE_PORT + 1) == "ok"
    finally:
        host.close()


def socket_of_the_node(meshed, port):
    """A peer in the node's own namespace that listens."""
    peer = Peer(meshed.node.enter(), "node")
    listener = peer.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((NODE[4], port))
    listener.listen(8)
    return peer


def test_a_service_that_goes_takes_its_addresses_along(meshed, services, backends, way, family):
    services(exposed(), pods={"b"})
    address, port = way
    assert backends.ask(address, port=port) == {"b": 1}
    services.close()
    eventually(lambda: not services.leads_to(), what="the Service's end")
    client = meshed.peer("a").socket(family_number(family), socket.SOCK_STREAM)
    client.setblocking(False)
    with pytest.raises(OSError):
        client.connect(way)
    assert backends["b", family].poll(select.POLLIN, 100) == 0
    client.close()
