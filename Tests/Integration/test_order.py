# SPDX-License-Identifier: Apache-2.0
"""A stream keeps its order and its bytes, whatever way its first bytes went and wherever it changes way."""

import socket

import pytest

from harness.node import TCP_RMEM_MAX, TCP_WMEM_MAX

NODELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
# More than a redirected direction may hold (what TCP could hold for the pair) and TCP's own buffers together.
PAST_HIGH_WATER = 2 * (TCP_RMEM_MAX + TCP_WMEM_MAX) + (4 << 20)


def receive_all(server, count):
    """Reads until `count` bytes are there."""
    got = b""
    while len(got) < count:
        data = server.recv(count - len(got))
        assert data, f"the stream ends after {got!r}"
        got += data
    return got


def test_deferred_accept(world, family):
    """The first byte makes the connection, so it travels by TCP; later ones must not pass it."""
    client, server = world.connect(
        family, client_options=[NODELAY], first=b"0",
        listener_options=[(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)])
    for byte in b"123456789":
        client.send(bytes([byte]))
    assert receive_all(server, 10) == b"0123456789"
    server.send(b"answer")
    assert client.recv(100) == b"answer"


def test_deferred_accept_many_times(world, family):
    """A race that loses once in a thousand is lost: 300 connections, each byte by itself."""
    payload = bytes(range(48, 58))
    listener, address = world.listen(
        "b", family, [(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)])
    accepting = world.peer("b").start("accept_many", listener, 300, payload)
    number = socket.AF_INET if family == 4 else socket.AF_INET6
    assert world.peer("a").do("connect_many", number, address, 300, payload) == []
    assert accepting.result() == []
    listener.close()


def test_bytes_right_after_connect(world, family):
    """connect() may return before the server's end is known to the mesh; its first bytes come first all the same."""
    payload = bytes(range(48, 58))
    listener, address = world.listen("b", family)
    accepting = world.peer("b").start("accept_many", listener, 500, payload)
    number = socket.AF_INET if family == 4 else socket.AF_INET6
    assert world.peer("a").do("connect_many", number, address, 500, payload) == []
    assert accepting.result() == []
    listener.close()


@pytest.mark.parametrize("attempt", ["without cookie", "with cookie"])
def test_fast_open(world, family, attempt):
    """Bytes in the SYN: not before the rest, not after it."""
    listener, address = world.listen("b", family, [(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)])
    client = world.peer("a").socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    client.setsockopt(*NODELAY)
    assert client.sendto(b"01", socket.MSG_FASTOPEN, address) == 2
    for byte in b"23456789":
        client.send(bytes([byte]))
    server, _ = listener.accept()
    listener.close()
    assert receive_all(server, 10) == b"0123456789"
    server.send(b"answer")
    assert client.recv(100) == b"answer"


@pytest.mark.parametrize("chunk", [1000, 16384, 262144, 1 << 20])
def test_a_stream_that_fills_every_buffer(world, family, chunk):
    """The receiver reads nothing until the sender stands still, then everything: the direction changes way once."""
    client, server = world.connect(family)
    pouring = client.start_pour(PAST_HIGH_WATER, chunk=chunk).wait_blocked()
    draining = server.start_drain(PAST_HIGH_WATER)
    assert draining.result() == [PAST_HIGH_WATER, None]
    assert pouring.result() == PAST_HIGH_WATER
    # The other direction has not noticed, and the stream goes on.
    server.send(b"answer")
    assert client.recv(100) == b"answer"
    assert client.pour(100_000, position=PAST_HIGH_WATER) == 100_000
    assert server.drain(100_000, position=PAST_HIGH_WATER) == 100_000


def test_many_small_writes_unread(world, family):
    """A stream of small writes leaves the fast path; its order must not."""
    client, server = world.connect(family, client_options=[NODELAY])
    count = 30_000
    draining = None
    assert client.pour(count // 2, chunk=1) == count // 2
    draining = server.start_drain(count, chunk=100)
    assert client.pour(count - count // 2, position=count // 2, chunk=1) == count - count // 2
    assert draining.result() == [count, None]


def test_a_receiver_that_is_never_empty_and_keeps_up(world, family):
    """What it has read is not unread: only one that falls behind makes the direction leave the fast path."""
    def left():
        if not world.agent:
            return 0
        return sum(one["value"] for one in world.agent.json("status")["counters"] if one["name"] in ("small-writes", "message-cap"))
    client, server = world.connect(family, client_options=[NODELAY])
    before, burst, rounds, position = left(), 20, 60, 0
    client.pour(burst * 10, chunk=10)
    for number in range(1, rounds):
        client.pour(burst * 10, position=number * burst * 10, chunk=10)
        assert server.drain(burst * 10, position=position) == burst * 10
        position += burst * 10
    assert left() == before
    client.pour(300 * 10, position=rounds * burst * 10, chunk=10)
    assert server.drain(320 * 10, position=position) == 320 * 10
    assert left() == before + (world.mode == "enabled")


def test_both_directions_at_once_past_every_buffer(world, family):
    client, server = world.connect(family)
    there = client.start_pour(PAST_HIGH_WATER).wait_blocked()
    back = server.start_pour(PAST_HIGH_WATER).wait_blocked()
    here, away = server.start_drain(PAST_HIGH_WATER, 0, 50_000), client.start_drain(PAST_HIGH_WATER, 0, 70_000)
    assert here.result() == [PAST_HIGH_WATER, None]
    assert away.result() == [PAST_HIGH_WATER, None]
    assert (there.result(), back.result()) == (PAST_HIGH_WATER, PAST_HIGH_WATER)


def test_two_sending_threads_keep_their_messages_whole(world):
    """Plain TCP: the order among threads is undefined, each message arrives whole. The same under the mesh."""
    client, server = world.connect(client_options=[NODELAY])
    message = {letter: letter * 700 for letter in (b"A", b"B")}
    rounds = 50
    pending = [client.later("sendall", message[letter] * 1) for _ in range(rounds) for letter in message]
    got = receive_all(server, 2 * rounds * 700)
    for one in pending:
        one.result()
    for start in range(0, len(got), 700):
        assert got[start:start + 700] in message.values(), f"torn message at {start}"


def test_the_stream_before_accept(world, family):
    """Bytes wait for accept() in order, also when there are more of them than one read takes."""
    listener, address = world.listen("b", family)
    client = world.peer("a").socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    client.connect(address)
    assert client.pour(60_000, chunk=1000) == 60_000
    server, _ = listener.accept()
    listener.close()
    assert server.drain(60_000) == 60_000
