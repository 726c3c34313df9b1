# SPDX-License-Identifier: Apache-2.0
"""Traffic inside a pod, and the same loopback 4-tuple in two pods, which must never meet."""

import socket

import pytest

LOOPBACK = {4: "127.0.0.1", 6: "::1"}


def in_pod(world, name, family, server_port, client_port):
    """A connection inside a pod with both ports given."""
    peer = world.peer(name)
    number = socket.AF_INET if family == 4 else socket.AF_INET6
    listener = peer.socket(number, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((LOOPBACK[family], server_port))
    listener.listen(8)
    client = peer.socket(number, socket.SOCK_STREAM)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.bind((LOOPBACK[family], client_port))
    client.connect((LOOPBACK[family], server_port))
    server, _ = listener.accept()
    listener.close()
    return client, server


def test_two_pods_with_the_same_loopback_tuple(world, family):
    """A key of addresses and ports alone delivers pod a's bytes to pod b."""
    pairs = {name: in_pod(world, name, family, 9001, 9002) for name in ("a", "b", "c")}
    for round_ in range(3):
        for name, (client, server) in pairs.items():
            client.send(f"{name} asks {round_}".encode())
            server.send(f"{name} answers {round_}".encode())
        for name, (client, server) in pairs.items():
            assert server.recv(100) == f"{name} asks {round_}".encode()
            assert client.recv(100) == f"{name} answers {round_}".encode()
    for client, server in pairs.values():
        client.close()
        assert server.recv(1) == b""
        server.close()


def test_loopback_streams_are_exact(world, family):
    client, server = in_pod(world, "a", family, 9003, 9004)
    pouring = client.start_pour(16 << 20)
    assert server.start_drain(16 << 20).result() == [16 << 20, None]
    assert pouring.result() == 16 << 20


def test_a_pod_talks_to_its_own_address(world, family):
    client, server = world.connect(family, clients="a", servers="a")
    client.send(b"me")
    assert server.recv(10) == b"me"
    server.send(b"too")
    assert client.recv(10) == b"too"


def test_ipv4_mapped_client_meets_ipv4_server(world):
    """Java and Go connect to ::ffff:a.b.c.d; the two ends have different families."""
    listener, (address, port) = world.listen("b", 4)
    client = world.peer("a").socket(socket.AF_INET6, socket.SOCK_STREAM)
    client.connect((f"::ffff:{address}", port))
    server, _ = listener.accept()
    client.send(b"mapped")
    assert server.recv(100) == b"mapped"
    server.send(b"plain")
    assert client.recv(100) == b"plain"
    assert client.getpeername()[0] == f"::ffff:{address}"


def test_ipv4_client_meets_dual_stack_server(world):
    peer = world.peer("b")
    port = world.next_port()
    listener = peer.socket(socket.AF_INET6, socket.SOCK_STREAM)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(("::", port))
    listener.listen(8)
    client = world.peer("a").socket(socket.AF_INET, socket.SOCK_STREAM)
    client.connect((world.pod("b").ipv4, port))
    server, (seen, *_) = listener.accept()
    assert seen == f"::ffff:{world.pod('a').ipv4}"
    for number in range(50):
        client.send(b"%d," % number)
    got = b""
    while got.count(b",") < 50:
        got += server.recv(1000)
    assert got == b"".join(b"%d," % number for number in range(50))


@pytest.mark.parametrize("times", [30])
def test_a_reused_tuple_is_a_new_connection(world, family, times):
    """The same four numbers again at once: nothing of the earlier connection shows."""
    for number in range(times):
        client, server = in_pod(world, "a", family, 9005, 9006)
        client.send(b"%d" % number)
        assert server.recv(10) == b"%d" % number
        server.send(b"-%d" % number)
        assert client.recv(10) == b"-%d" % number
        # The client aborts, so that no TIME_WAIT holds the tuple.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, (1).to_bytes(4, "little") + bytes(4))
        client.close()
        server.close()
