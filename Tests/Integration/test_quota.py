# SPDX-License-Identifier: Apache-2.0
"""A pod that takes all it can of the node's connections and UDP flows: its share ends, the others' goes on."""

import errno
import select
import socket

import pytest

from harness.manifests import app, network_policy
from harness.meshed import Meshed
from harness.processes import run
from harness.world import eventually

# What else the machine does would show in its times or counts.
pytestmark = pytest.mark.alone

# Of mesh_abi.h and ControlParameters: an eighth of the ends of TCP connections, and of the UDP flows, of a node.
QUOTA = 131072 // 8
PORT = 8600
# Each of two servers has so many: their own shares do not end.
HALF = QUOTA // 2


@pytest.fixture(scope="module")
def node():
    """A node of its own: what these tests use up would be missing elsewhere."""
    made = Meshed(pods=("a", "b", "c"))
    for name in ("b", "c"):
        run(*made.pod(name).enter("sh", "-c", f"echo {QUOTA} > /proc/sys/net/core/somaxconn"))
    yield made
    made.remove()


def open_ends(node, name):
    return next(one for one in node.agent.json("workloads") if one["name"] == name)["connections"]["open"]


def crowd(node, peers, family=4):
    """Fills pod a's share: half with connections to b, half to c, which nobody accepts; a process of a for each."""
    number = socket.AF_INET if family == 4 else socket.AF_INET6
    listeners = []
    for name, peer in peers.items():
        peer.do("limit_descriptors", HALF + 100)
        listener = node.peer(name).socket(number, socket.SOCK_STREAM)
        listener.bind((node.pod(name).address(family), PORT))
        listener.listen(QUOTA)
        listeners.append(listener)
        address = (node.pod(name).address(family), PORT)
        held, error = peer.start("hold", number, address, HALF).result()
        if name == "b":
            assert (held, error) == (HALF, 0)
        else:
            # One connection is there already, and ends of others may still be on their way out.
            assert error == errno.EPERM, f"the share did not end: {held} more connections, error {error}"
            assert HALF - 64 <= held < HALF, f"it ended after {HALF + held} connections"
    return listeners


def test_connections(node):
    peers = {name: node.peer("a", fresh=True) for name in ("b", "c")}
    try:
        first = node.connect(clients="a", servers="c")
        listeners = crowd(node, peers)
        assert node.denial(PORT, "quota")["reporter"] == "test/a"
        server = node.server("b", PORT + 1)
        assert node.outcome("a", "b", PORT + 1) == "EPERM", "whichever pod it asks"
        assert node.outcome("c", "b", PORT + 1) == "ok", "others have their own share"
        into, out = node.connect(clients="c", servers="a")
        into.send(b"to a full pod")
        assert out.recv(20) == b"to a full pod", "what comes goes on without a record"
        into.close()
        out.close()
        first[0].send(b"still open")
        assert first[1].recv(20) == b"still open"
        assert node.agent.json("status")["ready"]
        # A listener that closes resets what nobody accepted.
        for listener in listeners:
            listener.close()
        for peer in peers.values():
            peer.start("release").result()
        eventually(lambda: all(open_ends(node, name) < 100 for name in "abc"), what="the connections' end")
        assert node.outcome("a", "b", PORT + 1) == "ok", "what has ended is given back"
        for end in (server, *first):
            end.close()
    finally:
        for peer in peers.values():
            peer.close()


def test_udp_flows(node):
    """Over its share a pod's flows are not remembered: answers need a policy of their own, which it does not have."""
    node.agent.apply(*[network_policy(f"{name}-hears-nobody", app(name), ingress=[]) for name in ("a", "c")])
    server = node.peer("b").socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((node.pod("b").ipv4, PORT))

    def is_answered(name, wait=10_000):
        client = node.peer(name).socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.sendto(b"question", (node.pod("b").ipv4, PORT))
        data, sender = server.recvfrom(100)
        server.sendto(data, tuple(sender[:2]))
        try:
            return client.poll(select.POLLIN, wait) == select.POLLIN
        finally:
            client.close()

    assert is_answered("a") and is_answered("c")
    flooder = node.peer("a").socket(socket.AF_INET, socket.SOCK_DGRAM)
    assert node.peer("a").start("send_to_ports", flooder, "10.81.0.1", 20_000, QUOTA).result() > QUOTA * 0.95
    flooder.close()
    flooder = node.peer("a").socket(socket.AF_INET, socket.SOCK_DGRAM)
    node.peer("a").start("send_to_ports", flooder, "10.81.0.1", 20_000, QUOTA).result()
    assert QUOTA <= open_ends(node, "a") <= QUOTA + 8
    assert not is_answered("a", wait=300)
    assert is_answered("c"), "others have their own share"
    counters = {entry["name"]: entry["value"] for entry in node.agent.json("status")["counters"]}
    assert counters["quota"] >= QUOTA * 0.9
    for end in (flooder, server):
        end.close()
