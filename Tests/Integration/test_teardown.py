# SPDX-License-Identifier: Apache-2.0
"""How connections end: half-closes, resets, dying processes."""

import errno
import select
import socket
import struct
import time

import pytest

from harness.processes import PATIENCE, run

LINGER_RESET = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def read_to_end(end):
    got = b""
    while data := end.recv(65536):
        got += data
    return got


def test_half_close_by_the_client(world, family):
    """The other direction goes on for as long as the server wants."""
    client, server = world.connect(family)
    client.send(b"question")
    client.shutdown(socket.SHUT_WR)
    assert read_to_end(server) == b"question"
    for part in (b"a long ", b"answer"):
        server.send(part)
    assert client.recv(7) == b"a long "
    server.shutdown(socket.SHUT_WR)
    assert read_to_end(client) == b"answer"


def test_half_close_by_the_server(world, family):
    client, server = world.connect(family)
    server.send(b"greeting")
    server.shutdown(socket.SHUT_WR)
    assert read_to_end(client) == b"greeting"
    client.send(b"all ")
    client.send(b"my bytes")
    client.close()
    assert read_to_end(server) == b"all my bytes"


def test_both_half_close_at_once_with_bytes_on_the_way(world, family):
    for _ in range(30):
        client, server = world.connect(family)
        client.send(b"from client")
        server.send(b"from server")
        client.shutdown(socket.SHUT_WR)
        server.shutdown(socket.SHUT_WR)
        assert read_to_end(server) == b"from client"
        assert read_to_end(client) == b"from server"
        client.close()
        server.close()


@pytest.mark.parametrize("size", [1, 1000, 100_000, 3 << 20])
def test_bytes_before_a_close_all_arrive(world, family, size):
    """close() right after the last send: the end of the stream comes after its last byte."""
    client, server = world.connect(family)
    draining = server.start_drain(size + 1)
    assert client.pour(size) == size
    client.close()
    assert draining.result() == [size, None]


@pytest.mark.parametrize("buffer", [None, 8192, 65536, 200_000], ids=["usual", "8 KiB", "64 KiB", "200 KB"])
@pytest.mark.parametrize("chunk", [65536, 512 << 10], ids=["pieces", "large"])
@pytest.mark.parametrize("sender", ["client", "server"])
def test_the_end_comes_right_behind_the_last_byte(world, family, sender, chunk, buffer):
    """The kernel drops a FIN beside too many bytes that a busy receiver has not read; it would come again 200 ms later.
    So would what goes by TCP from where the direction leaves the fast path."""
    size, late = 3 * chunk if chunk > 65536 else 3 << 20, []
    options = [(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)] if buffer else []
    for _ in range(20):
        ends = world.connect(family, client_options=options, listener_options=options)
        writer, reader = ends if sender == "client" else reversed(ends)
        reading = reader.peer.start("read_to_end", reader)
        writer.peer.do("pour_to_end", writer, size, chunk)
        count, *seconds = reading.result()
        assert count == size
        late.append(seconds)
        for end in ends:
            end.close()
    assert max(map(max, late)) < 0.1, f"bytes or the end came late: {late}"


def test_waiting_for_an_answer_after_a_half_close(world, family):
    """Plain: recv waits. Redirected: the acknowledgement of its own FIN may wake it without data, once."""
    size = 300_000
    for _ in range(20):
        client, server = world.connect(family)
        reading = server.peer.start("read_to_end", server)
        client.peer.do("pour_to_end", client, size, 65536)
        pending = client.later("recv", 100)
        assert reading.result()[0] == size
        server.send(b"answer")
        try:
            answer = pending.result()
        except BlockingIOError:
            assert world.redirects
            answer = client.recv(100)
        assert answer == b"answer"
        client.close()
        server.close()


def test_shutdown_of_receiving(world, family):
    """recv returns the end of the stream at once; what the peer sends later is not an error for it."""
    client, server = world.connect(family)
    client.send(b"x")
    assert server.recv(1) == b"x"
    server.shutdown(socket.SHUT_RD)
    assert server.recv(1) == b""
    server.send(b"still sending")
    assert client.recv(100) == b"still sending"


def test_close_with_unread_bytes(world, family):
    """Plain: the peer is reset, so that it knows of the loss. Redirected: it sees the end of the stream."""
    client, server = world.connect(family)
    client.send(b"never read")
    assert server.poll(select.POLLIN, 10_000)
    server.close()
    assert client.poll(select.POLLIN, 10_000)
    if world.redirects:
        assert client.recv(1) == b""
        return
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_reset_by_linger(world, family):
    """Both directions die; the reader gets ECONNRESET. Redirected: a blocked recv may answer EAGAIN first."""
    client, server = world.connect(family)
    client.send(b"x")
    assert server.recv(1) == b"x"
    pending = server.later("recv", 1).wait_blocked()
    client.setsockopt(*LINGER_RESET)
    client.close()
    with pytest.raises(OSError) as caught:
        pending.result()
    if world.redirects and caught.value.errno == errno.EAGAIN:
        with pytest.raises(ConnectionResetError):
            server.recv(1)
    else:
        assert caught.value.errno == errno.ECONNRESET
    with pytest.raises(BrokenPipeError):
        server.send(b"x")


def test_reset_with_bytes_on_the_way(world, family):
    """A reset may destroy bytes that were not read; what is read is right, and the reader ends."""
    client, server = world.connect(family)
    assert client.pour(100_000) == 100_000
    client.setsockopt(*LINGER_RESET)
    client.close()
    position = 0
    with pytest.raises(ConnectionResetError):
        while True:
            try:
                got = server.drain(1000, position=position)
            except BlockingIOError:
                continue
            if got == 0:
                raise AssertionError("end of stream instead of a reset")
            position += got
    assert position <= 100_000


def test_a_killed_sender(world, family):
    """SIGKILL closes its sockets: the bytes it has sent arrive, then the end."""
    peer = world.peer("a", fresh=True)
    listener, address = world.listen("b", family)
    client = peer.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    client.connect(address)
    server, _ = listener.accept()
    listener.close()
    client.pour(50_000)
    peer.kill()
    assert server.drain(50_001) == 50_000


def test_a_killed_receiver(world, family):
    """Its unread bytes reset the peer; a sender that blocks wakes."""
    peer = world.peer("b", fresh=True)
    listener, address = world.listen("b", family, peer=peer)
    client = world.peer("a").socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    client.connect(address)
    listener.accept()
    pouring = client.start_pour(1 << 30).wait_blocked()
    peer.kill()
    with pytest.raises(OSError) as caught:
        pouring.result()
    assert caught.value.errno in (errno.EPIPE, errno.ECONNRESET)


def test_destroyed_by_the_administrator(world, family):
    """`ss -K`: local ECONNABORTED then EPIPE (redirected: ECONNABORTED until it is read), the peer ECONNRESET.

    Nothing is delivered afterwards.
    """
    client, server = world.connect(family)
    client.send(b"x")
    assert server.recv(1) == b"x"
    port = client.getsockname()[1]
    run(*world.pod("a").enter("ss", "-K", "state", "established", f"( sport = :{port} )"))
    codes = []
    for _ in range(2):
        with pytest.raises(OSError) as caught:
            client.send(b"after the kill")
        codes.append(caught.value.errno)
    assert codes == [errno.ECONNABORTED, errno.ECONNABORTED if world.redirects else errno.EPIPE]
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            assert server.recv(100) == b"", "bytes were delivered after the connection was destroyed"
            raise AssertionError("end of stream instead of a reset")
        except BlockingIOError:
            assert time.monotonic() < deadline
        except ConnectionResetError:
            break


def test_many_short_connections(world, family):
    """Descriptors and ports come back: 2000 connections, one after the other."""
    listener, address = world.listen("b", family)
    accepting = world.peer("b").start("accept_many", listener, 2000, b"!")
    number = socket.AF_INET if family == 4 else socket.AF_INET6
    assert world.peer("a").do("connect_many", number, address, 2000, b"!") == []
    assert accepting.result() == []
    listener.close()
