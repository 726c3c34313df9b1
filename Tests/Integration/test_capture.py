# SPDX-License-Identifier: Apache-2.0
"""Connections of pods that the node proxy carries: led to it unseen, handed over with their origin, cut by policy.

A process of the test stands in for the proxy; capture flags and verdicts are written into the maps.
"""

import errno
import socket

import pytest

from harness import manifests
from harness.capture import EGRESS, INGRESS, Origin, captured, client_of, nobody_waits
from harness.manifests import app, network_policy
from harness.meshed import Applied
from harness.remote import Peer
from harness.services import PORT, TARGET, V4, V6
from harness.world import eventually, family_number

FORMS = {"ipv4": (V4, 4), "ipv6": (V6, 6), "mapped": (f"::ffff:{V4}", 4)}
SKIPPED = 8777


@pytest.mark.parametrize("form", FORMS)
def test_neither_end_sees_that_it_was_led_away(proxied, targets, rules, proxy, form):
    address, family = FORMS[form]
    own = proxied.pod("a").address("mapped" if form == "mapped" else family)
    number = rules.capture(address.removeprefix("::ffff:"), PORT)
    client = client_of(proxied, "a", address)
    client.connect((address, PORT))
    assert client.getpeername()[:2] == [address, PORT]
    assert client.getsockname()[0] == own
    accepted, origin, seen = proxy.accept(family)
    port = client.getsockname()[1]
    plain = proxied.pod("a").address(family)
    assert seen == (plain, port)
    assert origin.destination == (address.removeprefix("::ffff:"), PORT)
    assert origin.client == (plain, port)
    assert origin.netns == origin.source_netns == proxy.cookie
    assert origin.direction == EGRESS
    assert origin.service == number
    assert origin.identity >= 256
    assert origin.generation == proxied.agent.json("status")["generation"]
    leg = proxy.dial(proxied.pod("b").address(family), TARGET)
    server, (peer, *_) = targets[family].accept()
    assert peer == plain
    for sender, receiver in ((client, accepted), (leg, server), (server, leg), (accepted, client)):
        sender.send(b"whole")
        assert receiver.recv(10) == b"whole"
    for end in (client, accepted, leg, server):
        end.close()


def test_both_connections_take_the_fast_path_whole(proxied, targets, rules, proxy, family):
    address = {4: V4, 6: V6}[family]
    rules.capture(address, PORT)
    client, accepted, _ = captured(proxied, proxy, address, PORT)
    leg = proxy.dial(proxied.pod("b").address(family), TARGET)
    server, _ = targets[family].accept()
    pumps = [proxy.peer.start("pump", *pair) for pair in ((accepted, leg), (leg, accepted))]
    client.send(b"go")
    assert server.recv(10) == b"go"
    assert [path for path, _ in proxied.paths(client)][0] == "redirect"
    assert [path for path, _ in proxied.paths(leg)][0] == "redirect"
    total = 8 << 20
    pouring, draining = client.start_pour(total), server.start_drain(total)
    assert draining.result() == [total, None] and pouring.result() == total
    pouring, draining = server.start_pour(total), client.start_drain(total)
    assert draining.result() == [total, None] and pouring.result() == total
    redirected = {report["source"]["port"]: report["bytesRedirected"] for report in proxied.agent.json("connections")}
    assert redirected[client.getsockname()[1]] > 0 and redirected[leg.getsockname()[1]] > 0
    client.shutdown(socket.SHUT_WR)
    assert server.recv(1) == b""
    server.close()
    assert [pump.result() for pump in pumps] == [total + 2, total]
    assert client.recv(1) == b""
    for end in (client, accepted, leg):
        end.close()


def test_a_connection_of_the_list_says_where_it_wants_to_go(proxied, rules, proxy):
    rules.capture(V4, PORT)
    client, accepted, _ = captured(proxied, proxy, V4, PORT)
    report, = [one for one in proxied.agent.json("connections") if one["source"]["port"] == client.getsockname()[1]]
    assert (report["destination"]["address"], report["destination"]["port"]) == (V4, PORT)
    assert report["source"]["workload"] == "test/a"
    assert report["destination"].get("workload") is None
    client.close()
    accepted.close()


def test_a_socket_with_a_port_of_its_own_shows_the_pods_address(proxied, rules, proxy, family):
    """It cannot be bound to the address any more, so it goes from loopback."""
    address = {4: V4, 6: V6}[family]
    rules.capture(address, PORT)
    client = client_of(proxied, "a", address)
    client.bind(({4: "0.0.0.0", 6: "::"}[family], 0))
    client.connect((address, PORT))
    assert client.getsockname()[0] == proxied.pod("a").address(family)
    assert client.getpeername()[:2] == [address, PORT]
    accepted, origin, _ = proxy.accept(family)
    assert origin.destination == (address, PORT)
    assert origin.source_netns == proxy.cookie
    client.send(b"whole")
    assert accepted.recv(10) == b"whole"
    client.close()
    accepted.close()


def test_a_socket_bound_to_a_device_is_refused(proxied, rules, proxy):
    rules.capture(V4, PORT)
    client = client_of(proxied, "a", V4)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
    with pytest.raises(ConnectionRefusedError):
        client.connect((V4, PORT))
    proxied.denial(PORT, "needs-proxy")
    client.close()


def test_only_clients_of_a_class_with_routes_are_captured(proxied, targets, rules, proxy):
    rules.capture(V4, PORT, route_class=7)
    assert proxied.outcome("a", V4, PORT) == "ok"
    targets[4].accept()[0].close()
    rules.route_class(proxy.cookie, 8)
    assert proxied.outcome("a", V4, PORT) == "ok"
    targets[4].accept()[0].close()
    rules.route_class(proxy.cookie, 7)
    client, accepted, origin = captured(proxied, proxy, V4, PORT)
    assert origin.destination == (V4, PORT)
    client.close()
    accepted.close()


@pytest.mark.parametrize("gone", ["no proxy", "no listener"])
def test_without_a_proxy_it_is_refused_at_once(proxied, targets, rules, proxy, gone):
    rules.capture(V4, PORT)
    rules.capture(V6, PORT)
    if gone == "no proxy":
        rules.control["proxy_live"] = 0
    else:
        proxy.forget()
    try:
        for address in (V4, V6):
            assert proxied.is_at_once("ECONNREFUSED", "a", address, PORT)
        proxied.denial(PORT, "needs-proxy")
    finally:
        proxy.serve()
    assert nobody_waits(targets[4]) and nobody_waits(proxy.outbound[4])


def test_the_proxys_ports_are_for_captured_connections(proxied, rules, proxy):
    for family, addresses in ((4, ("127.0.0.1", "127.8.9.10", "0.0.0.0", "::ffff:127.0.0.1")), (6, ("::1", "::"))):
        for address in addresses:
            assert proxied.outcome("a", address, proxy.ports[family]) == "ECONNREFUSED"
    assert proxied.outcome("a", "::1", proxy.inbound_ports[6]) == "ECONNREFUSED"
    proxied.denial(proxy.ports[4], "listener")
    assert all(nobody_waits(one) for one in (*proxy.outbound.values(), *proxy.inbound.values()))
    # The same number elsewhere is nobody's.
    other = proxied.server("b", proxy.ports[4])
    assert proxied.outcome("a", "b", proxy.ports[4]) == "ok"
    other.close()


def test_a_process_past_the_hooks_does_not_reach_the_proxy_either(proxied, rules, proxy):
    """Not in the mesh's cgroup: no hook sees its connect(2)."""
    outside = Peer(proxied.pod("a").enter(), "a process outside")
    try:
        client = outside.socket(socket.AF_INET, socket.SOCK_STREAM)
        client.bind((proxied.pod("a").ipv4, 0))
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


def test_self_traffic_is_not_captured(proxied, rules, proxy, family):
    rules.needs_l7(proxy.cookie, EGRESS, 8300)
    own = proxied.server("a", 8300, family)
    loop = {4: "127.0.0.1", 6: "::1"}[family]
    peer = proxied.peer("a")
    local = peer.socket(family_number(family), socket.SOCK_STREAM)
    local.bind((loop, 8301))
    local.listen(1)
    assert proxied.outcome("a", "a", 8300, family) == "ok"
    assert proxied.outcome("a", loop, 8301, family) == "ok"
    assert nobody_waits(proxy.outbound[family])
    own.close()
    local.close()


def test_skipped_ports_are_not_captured(proxied, rules, proxy):
    original = (proxied.agent.config / "objects.yaml").read_text()
    objects = [proxied.pod_object("a", {"role": "client"}, annotations={"sockmesh.io/skip-outbound-ports": str(SKIPPED)}),
               proxied.pod_object("b", {"role": "server"}), proxied.pod_object("c"), proxied.pod_object("u")]
    server = proxied.server("b", SKIPPED)
    try:
        proxied.agent.write_config("objects.yaml", manifests.namespace("test", {"team": "red"}), *objects)
        # The agent writes the pod's row anew, over a rule that is there before it.
        eventually(lambda: rules.skips_ports(proxy.cookie), what="the annotation")
        rules.needs_l7(proxy.cookie, EGRESS, SKIPPED)
        assert proxied.outcome("a", "b", SKIPPED) == "ok"
        assert not nobody_waits(server) and nobody_waits(proxy.outbound[4])
    finally:
        server.close()
        rules.undo()
        manifests.replace(proxied.agent.config / "objects.yaml", original)
        eventually(lambda: not rules.skips_ports(proxy.cookie), what="the end of the annotation")


def test_a_verdict_of_l7_leads_to_the_proxy_and_its_leg_out_again(proxied, targets, rules, proxies, family):
    """Egress of a and ingress of b both need L7: captured once, not again where the leg comes in."""
    rules.needs_l7(proxies["a"].cookie, EGRESS, TARGET)
    rules.needs_l7(proxies["b"].cookie, INGRESS, TARGET)
    address = proxied.pod("b").address(family)
    client, accepted, origin = captured(proxied, proxies["a"], address, TARGET)
    assert origin.destination == (address, TARGET) and origin.service == 0
    assert client.getpeername()[:2] == [address, TARGET]
    leg = proxies["a"].dial(address, TARGET)
    server, (seen, *_) = targets[family].accept()
    assert seen == proxied.pod("a").address(family)
    leg.send(b"through")
    assert server.recv(10) == b"through"
    assert nobody_waits(proxies["b"].inbound[family])
    for end in (client, accepted, leg, server):
        end.close()
    rules.control["proxy_live"] = 0
    assert proxied.outcome("a", "b", TARGET, family) == "ECONNREFUSED"


def died(end):
    try:
        end.recv(1, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError as error:
        assert error.errno in (errno.ECONNABORTED, errno.ECONNRESET), error
        return True
    return False


def test_a_policy_change_cuts_captured_connections_and_legs(proxied, targets, rules, proxy):
    rules.needs_l7(proxy.cookie, EGRESS, TARGET)
    client, accepted, _ = captured(proxied, proxy, proxied.pod("b").ipv4, TARGET)
    leg = proxy.dial(proxied.pod("b").ipv4, TARGET)
    server, _ = targets[4].accept()
    other, kept, _ = captured(proxied, proxy, proxied.pod("c").ipv4, TARGET)
    policies = Applied(proxied.agent)
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


def test_a_redirected_captured_connection_is_decided_again_at_its_next_message(proxied, rules, proxy):
    """The generation moves while it is idle: allowed, it goes on by redirect."""
    rules.needs_l7(proxy.cookie, EGRESS, TARGET)
    client, accepted, before = captured(proxied, proxy, proxied.pod("b").ipv4, TARGET)
    client.send(b"one")
    assert accepted.recv(10) == b"one"
    policies = Applied(proxied.agent)
    try:
        policies(network_policy("c-hears-nobody", app("c"), ingress=[]))
        client.send(b"two")
        assert accepted.recv(10) == b"two"
        assert proxied.paths(client)[0][0] == "redirect"
        accepted.send(b"three")
        assert client.recv(10) == b"three"
        assert Origin.of(accepted).generation > before.generation
    finally:
        policies.close()
        client.close()
        accepted.close()
