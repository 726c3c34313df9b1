# SPDX-License-Identifier: Apache-2.0
"""Connections that the node proxy carries: led to it unseen, handed over with their origin, and its own held in bounds.

A process of the test stands in for the proxy; capture flags and verdicts are written into the maps.
"""

import errno
import socket
import struct

import pytest

from harness.capture import EGRESS, INGRESS, ORIGIN, SOL, Origin, Proxy, Rules, cookie_of
from harness.manifests import app, network_policy
from harness.meshed import Applied, Meshed
from harness.remote import Peer
from harness.services import PORT, TARGET, V4, V6, Services, web
from harness.world import eventually, family_number

FORMS = {"ipv4": (V4, 4), "ipv6": (V6, 6), "mapped": (f"::ffff:{V4}", 4)}
MILLISECOND = 0.001
SKIPPED = 8777


@pytest.fixture(scope="module")
def node():
    made = Meshed(pods=("a", "b", "c", "u"))
    try:
        Services(made)(web({"role": "server"}), pods={"b"})
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def servers(node):
    made = {family: node.server("b", TARGET, family) for family in (4, 6)}
    yield made
    for listener in made.values():
        listener.close()


@pytest.fixture
def rules(node):
    made = Rules(node.agent)
    made.control["proxy_live"] = 1
    yield made
    made.control["proxy_live"] = 0
    made.close()


@pytest.fixture(scope="module")
def proxies(node):
    made = {name: Proxy(node, name) for name in ("a", "b")}
    yield made
    for proxy in made.values():
        proxy.close()


@pytest.fixture
def proxy(proxies):
    return proxies["a"]


def client_of(node, name, address):
    return node.peer(name).socket(family_number(6 if ":" in address else 4), socket.SOCK_STREAM)


def captured(node, proxy, address, port, name="a"):
    """A connection that was led to the proxy: (client, accepted, its origin)."""
    client = client_of(node, name, address)
    client.connect((address, port))
    accepted, origin, _ = proxy.accept(6 if ":" in address.removeprefix("::ffff:") else 4)
    return client, accepted, origin


def nobody_waits(listener):
    return listener.poll(1, 0) == 0


@pytest.mark.parametrize("form", FORMS)
def test_neither_end_sees_that_it_was_led_away(node, servers, rules, proxy, form):
    address, family = FORMS[form]
    own = node.pod("a").address("mapped" if form == "mapped" else family)
    number = rules.capture(address.removeprefix("::ffff:"), PORT)
    client = client_of(node, "a", address)
    client.connect((address, PORT))
    assert client.getpeername()[:2] == [address, PORT]
    assert client.getsockname()[0] == own
    accepted, origin, seen = proxy.accept(family)
    port = client.getsockname()[1]
    plain = node.pod("a").address(family)
    assert seen == (plain, port)
    assert origin.destination == (address.removeprefix("::ffff:"), PORT)
    assert origin.client == (plain, port)
    assert origin.netns == origin.source_netns == proxy.cookie
    assert origin.direction == EGRESS
    assert origin.service == number
    assert origin.identity >= 256
    assert origin.generation == node.agent.json("status")["generation"]
    leg = proxy.dial(node.pod("b").address(family), TARGET)
    server, (peer, *_) = servers[family].accept()
    assert peer == plain
    for sender, receiver in ((client, accepted), (leg, server), (server, leg), (accepted, client)):
        sender.send(b"whole")
        assert receiver.recv(10) == b"whole"
    for end in (client, accepted, leg, server):
        end.close()


def test_both_connections_take_the_fast_path_whole(node, servers, rules, proxy, family):
    address = {4: V4, 6: V6}[family]
    rules.capture(address, PORT)
    client, accepted, _ = captured(node, proxy, address, PORT)
    leg = proxy.dial(node.pod("b").address(family), TARGET)
    server, _ = servers[family].accept()
    pumps = [proxy.peer.start("pump", *pair) for pair in ((accepted, leg), (leg, accepted))]
    client.send(b"go")
    assert server.recv(10) == b"go"
    assert [path for path, _ in node.paths(client)][0] == "redirect"
    assert [path for path, _ in node.paths(leg)][0] == "redirect"
    total = 8 << 20
    pouring, draining = client.start_pour(total), server.start_drain(total)
    assert draining.result() == [total, None] and pouring.result() == total
    pouring, draining = server.start_pour(total), client.start_drain(total)
    assert draining.result() == [total, None] and pouring.result() == total
    redirected = {report["source"]["port"]: report["bytesRedirected"] for report in node.agent.json("connections")}
    assert redirected[client.getsockname()[1]] > 0 and redirected[leg.getsockname()[1]] > 0
    client.shutdown(socket.SHUT_WR)
    assert server.recv(1) == b""
    server.close()
    assert [pump.result() for pump in pumps] == [total + 2, total]
    assert client.recv(1) == b""
    for end in (client, accepted, leg):
        end.close()


def test_a_connection_of_the_list_says_where_it_wants_to_go(node, rules, proxy):
    rules.capture(V4, PORT)
    client, accepted, _ = captured(node, proxy, V4, PORT)
    report, = [one for one in node.agent.json("connections") if one["source"]["port"] == client.getsockname()[1]]
    assert (report["destination"]["address"], report["destination"]["port"]) == (V4, PORT)
    assert report["source"]["workload"] == "test/a"
    assert report["destination"].get("workload") is None
    client.close()
    accepted.close()


def test_a_socket_with_a_port_of_its_own_shows_the_pods_address(node, rules, proxy, family):
    """It cannot be bound to the address any more, so it goes from loopback."""
    address = {4: V4, 6: V6}[family]
    rules.capture(address, PORT)
    client = client_of(node, "a", address)
    client.bind(({4: "0.0.0.0", 6: "::"}[family], 0))
    client.connect((address, PORT))
    assert client.getsockname()[0] == node.pod("a").address(family)
    assert client.getpeername()[:2] == [address, PORT]
    accepted, origin, _ = proxy.accept(family)
    assert origin.destination == (address, PORT)
    assert origin.source_netns == proxy.cookie
    client.send(b"whole")
    assert accepted.recv(10) == b"whole"
    client.close()
    accepted.close()


def test_a_socket_bound_to_a_device_is_refused(node, rules, proxy):
    rules.capture(V4, PORT)
    client = client_of(node, "a", V4)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
    with pytest.raises(ConnectionRefusedError):
        client.connect((V4, PORT))
    node.denial(PORT, "needs-proxy")
    client.close()


def test_only_clients_of_a_class_with_routes_are_captured(node, servers, rules, proxy):
    rules.capture(V4, PORT, route_class=7)
    assert node.outcome("a", V4, PORT) == "ok"
    servers[4].accept()[0].close()
    rules.route_class(proxy.cookie, 8)
    assert node.outcome("a", V4, PORT) == "ok"
    servers[4].accept()[0].close()
    rules.route_class(proxy.cookie, 7)
    client, accepted, origin = captured(node, proxy, V4, PORT)
    assert origin.destination == (V4, PORT)
    client.close()
    accepted.close()


@pytest.mark.parametrize("gone", ["no proxy", "no listener"])
def test_without_a_proxy_it_is_refused_at_once(node, servers, rules, proxy, gone):
    rules.capture(V4, PORT)
    rules.capture(V6, PORT)
    if gone == "no proxy":
        rules.control["proxy_live"] = 0
    else:
        proxy.forget()
    try:
        for address in (V4, V6):
            assert node.median_seconds("ECONNREFUSED", "a", address, PORT) < MILLISECOND
        node.denial(PORT, "needs-proxy")
    finally:
        proxy.serve()
    assert nobody_waits(servers[4]) and nobody_waits(proxy.outbound[4])


def test_the_proxys_ports_are_for_captured_connections(node, rules, proxy):
    for family, addresses in ((4, ("127.0.0.1", "127.8.9.10", "0.0.0.0", "::ffff:127.0.0.1")), (6, ("::1", "::"))):
        for address in addresses:
            assert node.outcome("a", address, proxy.ports[family]) == "ECONNREFUSED"
    assert node.outcome("a", "::1", proxy.inbound_ports[6]) == "ECONNREFUSED"
    node.denial(proxy.ports[4], "listener")
    assert all(nobody_waits(one) for one in (*proxy.outbound.values(), *proxy.inbound.values()))
    # The same number elsewhere is nobody's.
    other = node.server("b", proxy.ports[4])
    assert node.outcome("a", "b", proxy.ports[4]) == "ok"
    other.close()


def test_a_process_past_the_hooks_does_not_reach_the_proxy_either(node, rules, proxy):
    """Not in the mesh's cgroup: no hook sees its connect(2)."""
    outside = Peer(node.pod("a").enter(), "a process outside")
    try:
        client = outside.socket(socket.AF_INET, socket.SOCK_STREAM)
        client.bind((node.pod("a").ipv4, 0))
        with pytest.raises(ConnectionRefusedError):
            client.connect(("127.0.0.1", proxy.ports[4]))
        # From loopback nothing tells the pod before the connection stands: it is cut then, and has no origin.
        client = outside.socket(socket.AF_INET, socket.SOCK_STREAM)
        client.connect(("127.0.0.1", proxy.ports[4]))
        accepted, _ = proxy.outbound[4].accept()
        with pytest.raises(OSError) as failure:
            Origin.of(accepted)
        assert failure.value.errno == errno.ENOENT
        with pytest.raises(OSError) as failure:
            client.recv(1)
        assert failure.value.errno in (errno.ECONNRESET, errno.ECONNABORTED)
        accepted.close()
    finally:
        outside.close()


def test_self_traffic_is_not_captured(node, rules, proxy, family):
    rules.needs_l7(proxy.cookie, EGRESS, 8300)
    own = node.server("a", 8300, family)
    loop = {4: "127.0.0.1", 6: "::1"}[family]
    peer = node.peer("a")
    local = peer.socket(family_number(family), socket.SOCK_STREAM)
    local.bind((loop, 8301))
    local.listen(1)
    assert node.outcome("a", "a", 8300, family) == "ok"
    assert node.outcome("a", loop, 8301, family) == "ok"
    assert nobody_waits(proxy.outbound[family])
    own.close()
    local.close()


def test_skipped_ports_are_not_captured(node, rules, proxy):
    original = (node.agent.config / "objects.yaml").read_text()
    from harness import manifests
    objects = [node.pod_object("a", {"role": "client"}, annotations={"sockmesh.io/skip-outbound-ports": str(SKIPPED)}),
               node.pod_object("b", {"role": "server"}), node.pod_object("c"), node.pod_object("u")]
    node.agent.write_config("objects.yaml", manifests.namespace("test", {"team": "red"}), *objects)
    server = node.server("b", SKIPPED)
    try:
        rules.needs_l7(proxy.cookie, EGRESS, SKIPPED)
        eventually(lambda: node.outcome("a", "b", SKIPPED) == "ok" and not nobody_waits(server),
                   what="the skipped port")
    finally:
        server.close()
        (node.agent.config / "objects.yaml").write_text(original)
        while not nobody_waits(proxy.outbound[4]):
            proxy.outbound[4].accept()[0].close()


def test_a_verdict_of_l7_leads_to_the_proxy_and_its_leg_out_again(node, servers, rules, proxies, family):
    """Egress of a and ingress of b both need L7: captured once, not again where the leg comes in."""
    rules.needs_l7(proxies["a"].cookie, EGRESS, TARGET)
    rules.needs_l7(proxies["b"].cookie, INGRESS, TARGET)
    address = node.pod("b").address(family)
    client, accepted, origin = captured(node, proxies["a"], address, TARGET)
    assert origin.destination == (address, TARGET) and origin.service == 0
    assert client.getpeername()[:2] == [address, TARGET]
    leg = proxies["a"].dial(address, TARGET)
    server, (seen, *_) = servers[family].accept()
    assert seen == node.pod("a").address(family)
    leg.send(b"through")
    assert server.recv(10) == b"through"
    assert nobody_waits(proxies["b"].inbound[family])
    for end in (client, accepted, leg, server):
        end.close()
    rules.control["proxy_live"] = 0
    assert node.outcome("a", "b", TARGET, family) == "ECONNREFUSED"


def test_a_leg_goes_only_where_it_was_sent(node, servers, rules, proxy):
    b, c = node.pod("b").ipv4, node.pod("c").ipv4
    for address, port in ((c, TARGET), (b, TARGET + 1), (V4, PORT), ("127.0.0.1", TARGET), ("203.0.113.5", 80)):
        leg = proxy.leg(b, TARGET)
        with pytest.raises(PermissionError):
            leg.connect((address, port))
        leg.close()
    node.denial(80, "leg")
    leg = proxy.dial(b, TARGET)
    servers[4].accept()[0].close()
    leg.close()


def test_sockets_of_the_factory_without_a_mark_go_nowhere(node, rules, proxy):
    for address in (node.pod("b").ipv4, "127.0.0.1", "203.0.113.5", node.pod("b").ipv6):
        client = proxy.peer.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        with pytest.raises(PermissionError):
            client.connect((address, TARGET))
        client.close()
        datagrams = proxy.peer.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        with pytest.raises(PermissionError):
            datagrams.sendto(b"out", (address, TARGET))
        with pytest.raises(PermissionError):
            datagrams.connect((address, TARGET))
        datagrams.close()


def test_an_accepted_socket_cannot_be_turned_into_a_leg(node, rules, proxy):
    rules.capture(V4, PORT)
    client, accepted, _ = captured(node, proxy, V4, PORT)
    proxy.peer.do("disconnect", accepted)
    with pytest.raises(PermissionError):
        accepted.connect((node.pod("b").ipv4, TARGET))
    client.close()
    accepted.close()


def test_a_leg_is_under_its_pods_policy(node, servers, rules, proxy):
    policies = Applied(node.agent)
    try:
        policies(network_policy("b-hears-c", app("b"), ingress=[{"from": [{"podSelector": app("c")}]}]))
        with pytest.raises(ConnectionRefusedError):
            proxy.dial(node.pod("b").ipv4, TARGET)
        policies(network_policy("a-says-nothing", app("a"), egress=[]))
        with pytest.raises(PermissionError):
            proxy.dial(node.pod("b").ipv4, TARGET)
    finally:
        policies.close()


def died(end):
    try:
        end.recv(1, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError as error:
        assert error.errno in (errno.ECONNABORTED, errno.ECONNRESET), error
        return True
    return False


def test_a_policy_change_cuts_captured_connections_and_legs(node, servers, rules, proxy):
    rules.needs_l7(proxy.cookie, EGRESS, TARGET)
    client, accepted, _ = captured(node, proxy, node.pod("b").ipv4, TARGET)
    leg = proxy.dial(node.pod("b").ipv4, TARGET)
    server, _ = servers[4].accept()
    other, kept, _ = captured(node, proxy, node.pod("c").ipv4, TARGET)
    policies = Applied(node.agent)
    try:
        policies(network_policy("a-says-c", app("a"), egress=[{"to": [{"podSelector": app("c")}]}]))
        for name, end in (("client", client), ("accepted", accepted), ("leg", leg), ("server", server)):
            eventually(lambda: died(end), what=f"the end of the {name}")
        other.send(b"kept")
        assert kept.recv(10) == b"kept"
    finally:
        policies.close()
        for end in (client, accepted, leg, server, other, kept):
            end.close()


def test_a_redirected_captured_connection_is_decided_again_at_its_next_message(node, rules, proxy):
    """The generation moves while it is idle: allowed, it goes on by redirect."""
    rules.needs_l7(proxy.cookie, EGRESS, TARGET)
    client, accepted, before = captured(node, proxy, node.pod("b").ipv4, TARGET)
    client.send(b"one")
    assert accepted.recv(10) == b"one"
    policies = Applied(node.agent)
    try:
        policies(network_policy("c-hears-nobody", app("c"), ingress=[]))
        client.send(b"two")
        assert accepted.recv(10) == b"two"
        assert node.paths(client)[0][0] == "redirect"
        accepted.send(b"three")
        assert client.recv(10) == b"three"
        assert Origin.of(accepted).generation > before.generation
    finally:
        policies.close()
        client.close()
        accepted.close()


@pytest.fixture(params=["u", "node"])
def outsider(request, node):
    """Somebody without a record of a pod: a pod that is not in the mesh, and the node itself."""
    if request.param == "u":
        yield node.peer("u"), node.pod("u").address
        return
    peer = Peer(node.node.enter(), "node")
    yield peer, {4: "10.81.0.1", 6: "fd81::1"}.get
    peer.close()


def test_who_comes_from_outside_is_led_to_the_inbound_listener(node, servers, rules, proxies, outsider, family):
    peer, address_of = outsider
    proxy = proxies["b"]
    rules.needs_l7(proxy.cookie, INGRESS, TARGET)
    address = node.pod("b").address(family)
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
    assert nobody_waits(servers[family])
    # The proxy hands it on inside the pod: the application sees who is behind it.
    leg = proxy.dial(address, TARGET, netns=0, identity=origin.identity, client=origin.client)
    server, shown = servers[family].accept()
    assert tuple(shown[:2]) == origin.client
    assert tuple(server.getpeername()[:2]) == origin.client
    leg.send(b"on")
    assert server.recv(10) == b"on"
    for end in (client, accepted, leg, server):
        end.close()


@pytest.mark.parametrize("gone", ["no proxy", "no listener"])
def test_without_a_proxy_nobody_comes_in_from_outside(node, servers, rules, proxies, gone):
    rules.needs_l7(proxies["b"].cookie, INGRESS, TARGET)
    if gone == "no proxy":
        rules.control["proxy_live"] = 0
    else:
        rules.needs_l7(cookie_of(node.agent, "c"), INGRESS, TARGET)
    target = "b" if gone == "no proxy" else "c"
    assert node.median_seconds("ECONNREFUSED", "u", target, TARGET) < 5 * MILLISECOND
    node.denial(TARGET, "needs-proxy")
    assert nobody_waits(servers[4]) and nobody_waits(proxies["b"].inbound[4])


def test_probes_of_the_node_go_past_the_proxy(node, servers, rules, proxies):
    proxy = proxies["b"]
    rules.needs_l7(proxy.cookie, INGRESS, TARGET)
    rules.probe(proxy.cookie, TARGET)
    host = Peer(node.node.enter(), "node")
    try:
        client = host.socket(socket.AF_INET, socket.SOCK_STREAM)
        client.connect((node.pod("b").ipv4, TARGET))
        server, _ = servers[4].accept()
        client.send(b"alive?")
        assert server.recv(10) == b"alive?"
        server.close()
    finally:
        host.close()
    assert node.outcome("u", "b", TARGET) == "ok"  # to the proxy
    accepted, _ = proxy.inbound[4].accept()
    assert Origin.of(accepted).client[0] == node.pod("u").ipv4
    accepted.close()


def test_a_leg_from_outside_is_under_the_pods_policy(node, servers, rules, proxies):
    policies = Applied(node.agent)
    try:
        policies(network_policy("b-hears-c", app("b"), ingress=[{"from": [{"podSelector": app("c")}]}]))
        with pytest.raises(ConnectionRefusedError):
            proxies["b"].dial(node.pod("b").ipv4, TARGET, netns=0, identity=1)
        leg = proxies["b"].dial(node.pod("b").ipv4, TARGET)
        servers[4].accept()[0].close()
        leg.close()
    finally:
        policies.close()


def test_the_option_is_for_the_proxys_sockets(node, servers, rules, proxy):
    client = client_of(node, "a", node.pod("b").ipv4)
    client.connect((node.pod("b").ipv4, TARGET))
    server, _ = servers[4].accept()
    for end in (client, server):
        with pytest.raises(OSError) as failure:
            end.getsockopt(SOL, ORIGIN, 72)
        assert failure.value.errno in (errno.EOPNOTSUPP, errno.ENOPROTOOPT)
    rules.capture(V4, PORT)
    other, accepted, _ = captured(node, proxy, V4, PORT)
    with pytest.raises(OSError) as failure:
        accepted.getsockopt(SOL, ORIGIN, 71)
    assert failure.value.errno == errno.EINVAL
    assert struct.unpack("=i", accepted.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE, 4))[0] == socket.SOCK_STREAM
    for end in (client, server, other, accepted):
        end.close()
