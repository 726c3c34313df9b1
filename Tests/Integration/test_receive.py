# SPDX-License-Identifier: Apache-2.0
"""How receiving calls behave. Plain TCP is the reference; what `enabled` does otherwise is pinned here."""

import select
import socket

import pytest

from harness.world import eventually

NODELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
SPLICE_F_NONBLOCK = 2


def test_poll_reports_what_can_be_read(world, family):
    client, server = world.connect(family)
    assert server.poll(select.POLLIN) == 0
    client.send(b"x")
    assert server.poll(select.POLLIN, 10_000) == select.POLLIN
    server.recv(1)
    assert server.poll(select.POLLIN) == 0


def test_peek_leaves_the_bytes(world, family):
    client, server = world.connect(family)
    client.send(b"hello")
    assert server.recv(3, socket.MSG_PEEK) == b"hel"
    assert server.recv(100, socket.MSG_PEEK) == b"hello"
    assert server.recv(100) == b"hello"
    client.send(b"again")
    assert server.recv(100, socket.MSG_PEEK) == b"again"
    assert server.recv(2) == b"ag"
    assert server.recv(100, socket.MSG_PEEK) == b"ain"


def test_fionread_counts_what_can_be_read(world, family):
    """Plain: the bytes. A redirected connection: the redirected bytes."""
    client, server = world.connect(family, client_options=[NODELAY])
    client.send(b"x" * 100)
    assert server.poll(select.POLLIN, 10_000)
    assert server.fionread() == 100
    assert server.recv(40) == b"x" * 40
    assert server.fionread() == 60


def test_fionread_of_bytes_that_came_by_tcp(world):
    """A direction that went by TCP from its first byte: its socket must not stay a member that counts them as 0."""
    client, server = world.connect(
        client_options=[NODELAY], first=b"0" * 10, listener_options=[(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)])
    assert server.recv(10) == b"0" * 10
    client.send(b"x" * 50)
    assert server.poll(select.POLLIN, 10_000)
    assert server.fionread() == 50


def test_waitall_waits_for_all(world, family):
    """Plain: blocks until 100 bytes are there. Redirected: may return short, at a boundary of what was sent."""
    client, server = world.connect(family, client_options=[NODELAY])
    client.send(b"a" * 50)
    assert server.poll(select.POLLIN, 10_000)
    pending = server.later("recv", 100, socket.MSG_WAITALL)
    if world.redirects:
        assert pending.result() == b"a" * 50
        client.send(b"b" * 50)
        assert server.recv(100) == b"b" * 50
        return
    pending.wait_blocked()
    client.send(b"b" * 50)
    assert pending.result() == b"a" * 50 + b"b" * 50


def test_a_read_ends_where_the_redirected_bytes_do(world, family):
    """After a run of small writes that nobody has read, the others come by TCP. A read gives what was redirected: less than
    it was asked for, though more is there."""
    client, server = world.connect(family, client_options=[NODELAY])
    assert client.pour(40_000, chunk=100) == 40_000
    first = len(server.recv(65536))
    if world.redirects:
        # Fewer, at the end of a window of 64, if they came so fast that they are a stream.
        assert first in (63 * 100, 127 * 100, 191 * 100, 255 * 100, 256 * 100)
    assert server.drain(40_000 - first, position=first) == 40_000 - first


def test_waitall_ends_at_the_end_of_the_stream(world, family):
    client, server = world.connect(family)
    client.send(b"a" * 50)
    client.close()
    assert server.recv(100, socket.MSG_WAITALL) == b"a" * 50
    assert server.recv(100, socket.MSG_WAITALL) == b""


def assert_low_water_mark_of_100_holds(client, server):
    """poll and a waiting recv take no notice of 50 bytes; both do of 100.

    (A recv that has already copied 50 bytes would wait for 100 *more*: a quirk of TCP that no test may rest on.)
    """
    pending = server.later("recv", 200).wait_blocked()
    client.send(b"a" * 50)
    assert server.poll(select.POLLIN, 50) == 0
    pending.wait_blocked()
    client.send(b"b" * 50)
    assert pending.result() == b"a" * 50 + b"b" * 50


def test_low_water_mark_of_the_listener(world, family):
    """Set before the connection, so that it is not redirected."""
    client, server = world.connect(
        family, client_options=[NODELAY], listener_options=[(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 100)])
    assert_low_water_mark_of_100_holds(client, server)


def test_low_water_mark_set_later(world, family):
    """From the next message on it holds: the peer's direction goes to TCP."""
    client, server = world.connect(family, client_options=[NODELAY])
    client.send(b"before")
    assert server.recv(100) == b"before"
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 100)
    assert_low_water_mark_of_100_holds(client, server)


def test_low_water_mark_with_bytes_that_are_there_already(world, family):
    """Plain: 50 bytes do not reach the mark. Redirected bytes are readable at once; nothing hangs."""
    client, server = world.connect(family, client_options=[NODELAY])
    client.send(b"a" * 50)
    assert server.poll(select.POLLIN, 10_000)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 100)
    if world.redirects:
        assert server.poll(select.POLLIN) == select.POLLIN
        assert server.recv(200) == b"a" * 50
        client.send(b"b" * 100)
        assert server.recv(200) == b"b" * 100
        return
    assert server.poll(select.POLLIN, 50) == 0
    client.send(b"b" * 50)
    assert server.poll(select.POLLIN, 10_000) == select.POLLIN
    assert server.recv(200) == b"a" * 50 + b"b" * 50


def test_splice_from_the_socket(world, family):
    """Plain: the bytes. Redirected: splice sees none, EAGAIN although poll says readable (it waits if it may)."""
    client, server = world.connect(family, client_options=[NODELAY])
    client.send(b"spliced")
    assert server.poll(select.POLLIN, 10_000) == select.POLLIN
    server.setblocking(False)
    if world.redirects:
        with pytest.raises(BlockingIOError):
            server.peer.do("splice_from", server, 100, SPLICE_F_NONBLOCK)
        assert server.recv(100) == b"spliced"
    else:
        assert server.peer.do("splice_from", server, 100, SPLICE_F_NONBLOCK) == b"spliced"


def test_truncating_receive(world):
    """MSG_TRUNC on TCP discards without copying. Redirected: the bytes are copied all the same."""
    client, server = world.connect()
    client.send(b"discard keep")
    assert server.poll(select.POLLIN, 10_000)
    got = server.recv(8, socket.MSG_TRUNC)
    assert len(got) == 8
    assert (got == b"discard ") is world.redirects
    assert server.recv(100) == b"keep"


def test_peek_offset(world):
    """Plain: SO_PEEK_OFF moves with each peek. Redirected: ignored, each peek begins at the front."""
    so_peek_off = 42
    client, server = world.connect()
    server.setsockopt(socket.SOL_SOCKET, so_peek_off, 0)
    client.send(b"abcdef")
    assert server.poll(select.POLLIN, 10_000)
    assert server.recv(3, socket.MSG_PEEK) == b"abc"
    assert server.recv(3, socket.MSG_PEEK) == (b"abc" if world.redirects else b"def")
    assert server.recv(100) == b"abcdef"


def test_urgent_receive_without_urgent_data(world):
    """Plain: EINVAL at once. Redirected: the flag is ignored and the bytes are taken as ordinary ones."""
    client, server = world.connect()
    client.send(b"plain")
    assert server.poll(select.POLLIN, 10_000)
    if world.redirects:
        assert server.recv(100, socket.MSG_OOB) == b"plain"
        return
    with pytest.raises(OSError, match="Invalid argument"):
        server.recv(100, socket.MSG_OOB)
    assert server.recv(100) == b"plain"


def test_two_readers_share_the_stream(world, family):
    """Each byte goes to one of them. Redirected: the one without data may get EAGAIN where TCP goes on waiting."""
    client, server = world.connect(family, client_options=[NODELAY])
    readers = [server.later("recv", 4).wait_blocked() for _ in range(2)]
    client.send(b"abcd")
    got, waiting, again = b"", list(readers), 0

    def look():
        nonlocal got, again
        for reader in [one for one in waiting if one.done()]:
            waiting.remove(reader)
            try:
                got += reader.result()
            except BlockingIOError:
                again += 1
        return got
    eventually(look, what="the bytes")
    assert got == b"abcd"
    client.send(b"efgh")
    try:
        rest = waiting[0].result() if waiting else server.recv(4)
    except BlockingIOError:  # it woke late, for the bytes before
        again += 1
        rest = server.recv(4)
    assert rest == b"efgh"
    assert again <= (1 if world.redirects else 0)


def test_a_signal_while_receiving(world, family):
    """With SA_RESTART plain recv goes on waiting. Redirected: it may answer EAGAIN once."""
    client, server = world.connect(family, client_options=[NODELAY])
    client.send(b"first")
    assert server.recv(100) == b"first"
    pending = server.later("recv", 100).wait_blocked()
    server.peer.signal(pending)
    if world.redirects:
        with pytest.raises(BlockingIOError):
            pending.result()
        pending = server.later("recv", 100).wait_blocked()
    else:
        pending.wait_blocked()
    client.send(b"second")
    assert pending.result() == b"second"


def test_receive_timeout(world, family):
    """SO_RCVTIMEO ends a wait with EAGAIN, after the time and not before."""
    client, server = world.connect(family)
    client.send(b"x")
    assert server.recv(1) == b"x"
    seconds = (0).to_bytes(8, "little") + (200_000).to_bytes(8, "little")
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, seconds)
    error, elapsed = server.peer.timed("call", server, "recv", 1)
    assert isinstance(error, BlockingIOError)
    assert elapsed > 0.15
    client.send(b"y")
    assert server.recv(1) == b"y"
