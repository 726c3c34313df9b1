# SPDX-License-Identifier: Apache-2.0
"""Which way bytes go: what the wire sees, what the mesh says, and what stands still in the socket's statistics."""

import socket
import struct
import time

import pytest

from harness.processes import run
from harness.world import eventually

NODELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
MEGABYTE = 1 << 20
TCP_INQ, TCP_INFO = 36, 11
SO_TIMESTAMPNS = 35


def sent_by(pod):
    """Bytes that the pod's interface has sent."""
    words = run("ip", "-n", pod.netns, "-s", "link", "show", "eth0").stdout.split()
    return int(words[words.index("TX:") + 7])


def exchange(client, server, rounds, size):
    """Question and answer, so that no direction runs full and goes over to TCP."""
    for number in range(rounds):
        assert client.pour(size, position=number * size) == size
        assert server.drain(size, position=number * size) == size


def test_redirected_bytes_do_not_pass_the_wire(world, family):
    """The proof that needs nobody's word: 8 MB through the veth, or nearly nothing."""
    client, server = world.connect(family, client_options=[NODELAY])
    before = sent_by(world.pod("a"))
    exchange(client, server, 64, MEGABYTE // 8)
    passed = sent_by(world.pod("a")) - before
    if world.redirects:
        assert passed < 100_000
    else:
        assert passed > 8 * MEGABYTE


def test_connections_say_the_path_and_why(world, family):
    if world.mode == "plain":
        return  # nobody says anything
    client, server = world.connect(family)
    client.send(b"question")
    assert server.recv(10) == b"question"
    expected = {"enabled": ("redirect", None), "disabled": ("tcp", "accel-disabled"), "auto": ("tcp", "accel-auto")}
    assert world.paths(client)[0] == expected[world.mode]


def test_closed_connections_are_reported(world, family):
    """Bytes each way, path and duration, one event for each connection."""
    if world.mode == "plain":
        return
    began = time.monotonic()
    client, server = world.connect(family)
    port = client.getsockname()[1]
    exchange(client, server, 10, 10_000)
    server.send(b"x" * 500)
    assert len(client.recv(1000)) == 500
    client.close()
    server.close()

    def closed():
        return [event for event in world.agent.json("flows") if event["kind"] == "closed"
                and event["source"]["port"] == port and event["source"]["workload"] == "test/a"]
    event, = eventually(closed, what="the event")
    assert (event["bytesSent"], event["bytesReceived"]) == (100_000, 500)
    assert event["bytesRedirected"] == (100_500 if world.redirects else 0)
    assert event["sent"]["path"] == ("redirect" if world.redirects else "tcp")
    assert event["destination"]["workload"] == "test/b"
    assert 0 < event["durationSeconds"] < time.monotonic() - began


def test_socket_statistics(world):
    """Plain: TCP_INFO counts bytes. Redirected: it stands still."""
    client, server = world.connect(client_options=[NODELAY])
    exchange(client, server, 10, 10_000)

    def bytes_acked():
        return struct.unpack_from("=Q", client.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 192), 120)[0]
    if world.redirects:
        assert bytes_acked() < 100
    else:
        # A receiver may put the acknowledgement of the last bytes off.
        eventually(lambda: bytes_acked() >= 100_000, what="the acknowledgement")


@pytest.mark.parametrize("level, option", [(socket.IPPROTO_TCP, TCP_INQ), (socket.SOL_SOCKET, SO_TIMESTAMPNS)],
                         ids=["TCP_INQ", "SO_TIMESTAMPNS"])
def test_control_messages_of_a_receive(world, level, option):
    """Plain: recvmsg says how much is queued, or when it came. Redirected: no control message."""
    client, server = world.connect()
    server.setsockopt(level, option, 1)
    # The kernel begins to take times a moment after the first socket asks for them (net_enable_timestamp, a work item).
    for _ in range(1 if world.redirects else 50):
        client.send(b"x" * 40)
        data, ancillary, _, _ = server.recvmsg(40, 512)
        assert data == b"x" * 40
        if ancillary:
            break
        time.sleep(0.01)
    assert bool(ancillary) is not world.redirects
