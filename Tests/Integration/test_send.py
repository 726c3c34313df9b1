# SPDX-License-Identifier: Apache-2.0
"""How sending calls behave. Plain TCP is the reference; what `enabled` does otherwise is pinned here."""

import errno
import select
import socket

import pytest

from harness.world import eventually

NODELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
SO_ZEROCOPY = 60
MSG_ZEROCOPY = 0x4000000
TCP_ULP = 31


def read(server, count):
    got = b""
    while len(got) < count:
        data = server.recv(count - len(got))
        assert data, f"the stream ends after {got!r}"
        got += data
    return got


def test_send_after_shutdown_is_a_broken_pipe(world, family):
    """And nothing follows the end of the stream (a naive redirect delivers it)."""
    client, server = world.connect(family)
    client.send(b"before")
    client.shutdown(socket.SHUT_WR)
    with pytest.raises(BrokenPipeError):
        client.send(b"after")
    assert server.recv(100) == b"before"
    assert server.recv(100) == b""
    assert server.poll(select.POLLIN) == select.POLLIN  # the end stays readable
    assert server.recv(100) == b""


def test_send_after_the_peer_has_closed(world, family):
    """The first write may still succeed, a later one fails: EPIPE, or ECONNRESET at the one the reset reached."""
    client, server = world.connect(family)
    client.send(b"x")
    assert server.recv(1) == b"x"
    server.close()
    assert client.recv(1) == b""
    codes = []

    def fails():
        try:
            client.send(b"late")
        except OSError as error:
            codes.append(error.errno)
        return codes[-1:] == [errno.EPIPE]
    eventually(fails, what="a broken pipe")
    assert set(codes) <= {errno.EPIPE, errno.ECONNRESET}


def test_close_while_the_peer_sends(world, family):
    """A receiver that closes in the middle of a stream ends the sender with an error, never with a hang."""
    for _ in range(20):
        client, server = world.connect(family)
        pouring = client.start_pour(1 << 30)
        server.drain(200_000)
        server.close()
        with pytest.raises(OSError) as caught:
            pouring.result()
        assert caught.value.errno in (errno.EPIPE, errno.ECONNRESET)
        client.close()


def test_sendfile(world, family):
    client, server = world.connect(family)
    data = bytes(range(256)) * 100
    assert client.peer.do("sendfile", client, data) == len(data)
    client.send(b"end")
    assert read(server, len(data) + 3) == data + b"end"


def test_splice_to_the_socket(world, family):
    client, server = world.connect(family)
    data = bytes(range(256)) * 100
    assert client.peer.do("splice_to", client, data) == len(data)
    client.send(b"end")
    assert read(server, len(data) + 3) == data + b"end"


def test_sendmsg_with_several_pieces(world, family):
    client, server = world.connect(family)
    assert client.sendmsg([b"one", b"", b"two" * 1000, b"three"]) == 3 + 3000 + 5
    assert read(server, 3008) == b"one" + b"two" * 1000 + b"three"


def test_urgent_byte(world, family):
    """Plain: the byte is out of band, the stream is without it. Redirected: it arrives inline."""
    client, server = world.connect(family, client_options=[NODELAY])
    client.send(b"N")
    client.send(b"U", socket.MSG_OOB)
    if world.redirects:
        assert read(server, 2) == b"NU"
        return
    assert server.poll(select.POLLPRI, 10_000) == select.POLLPRI
    assert server.recv(100, socket.MSG_OOB) == b"U"
    assert server.recv(100) == b"N"


def test_zerocopy_is_refused_to_redirected_sockets(world):
    """Plain: SO_ZEROCOPY works. Enabled: refused with ENOTSUPP (524), so that applications copy."""
    client, _ = world.connect()
    if world.redirects:
        with pytest.raises(OSError) as caught:
            client.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
        assert caught.value.errno in (524, errno.EOPNOTSUPP)
    else:
        client.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
        assert client.getsockopt(socket.SOL_SOCKET, SO_ZEROCOPY) == 1


def test_zerocopy_set_before_the_connection(world):
    """Such a connection is not redirected, and its completions arrive in every mode."""
    so_ee_origin_zerocopy = 5
    client, server = world.connect(client_options=[(socket.SOL_SOCKET, SO_ZEROCOPY, 1)])
    data = b"z" * 65536
    assert client.send(data, MSG_ZEROCOPY) == len(data)
    assert read(server, len(data)) == data
    assert client.poll(select.POLLERR, 10_000) & select.POLLERR
    _, ancillary, flags, _ = client.recvmsg(1, 512, socket.MSG_ERRQUEUE)
    assert flags & socket.MSG_ERRQUEUE
    assert ancillary[0][2][4] == so_ee_origin_zerocopy


def test_zerocopy_flag_without_the_option_copies(world):
    """MSG_ZEROCOPY alone is ignored by TCP; the bytes arrive in every mode."""
    client, server = world.connect()
    client.send(b"first")
    assert client.send(b"z" * 5000, MSG_ZEROCOPY) == 5000
    assert read(server, 5005) == b"first" + b"z" * 5000


def test_kernel_tls_is_refused_to_redirected_sockets(world):
    """A member with a TLS ULP can crash old kernels. Plain: ENOENT on a kernel without TLS, else accepted."""
    client, _ = world.connect()
    client.send(b"x")
    try:
        client.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
        accepted = True
    except OSError as error:
        accepted = False
        assert error.errno in (errno.ENOENT, 524, errno.EOPNOTSUPP, errno.EINVAL)
    assert not (accepted and world.redirects)


def test_corked_and_more_bytes_arrive(world, family):
    """MSG_MORE and TCP_CORK may delay bytes, never reorder or keep them."""
    client, server = world.connect(family)
    for letter in b"abc":
        client.send(bytes([letter]), socket.MSG_MORE)
    client.send(b"d")
    assert read(server, 4) == b"abcd"
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    client.send(b"efg")
    client.send(b"h")
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
    assert read(server, 4) == b"efgh"


def test_more_then_close(world, family):
    client, server = world.connect(family)
    client.send(b"held back", socket.MSG_MORE)
    client.close()
    assert read(server, 9) == b"held back"
    assert server.recv(1) == b""


def test_an_empty_send_sends_nothing(world):
    client, server = world.connect()
    assert client.send(b"") == 0
    assert server.poll(select.POLLIN, 20) == 0
    client.send(b"x")
    assert server.recv(10) == b"x"
