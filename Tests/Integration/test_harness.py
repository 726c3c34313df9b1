# SPDX-License-Identifier: Apache-2.0
"""The harness itself: what the other tests trust."""

import errno
import socket

import pytest


def test_bytes_travel_both_ways(world, family):
    client, server = world.connect(family)
    assert client.send(b"ping") == 4
    assert server.recv(100) == b"ping"
    assert server.send(b"pong") == 4
    assert client.recv(100) == b"pong"
    client.close()
    assert server.recv(100) == b""


def test_an_error_arrives_as_the_peer_met_it(world, family):
    socket_ = world.peer("a").socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    with pytest.raises(ConnectionRefusedError) as caught:
        socket_.connect((world.pod("b").address(family), 1))
    assert caught.value.errno == errno.ECONNREFUSED


def test_a_blocked_call_is_seen_to_block(world):
    client, server = world.connect()
    pending = server.later("recv", 10).wait_blocked()
    assert not pending.done()
    client.send(b"x")
    assert pending.result() == b"x"


def test_the_stream_check_finds_a_wrong_byte(world):
    client, server = world.connect()
    client.pour(1000)
    client.send(b"?")
    client.pour(1000, position=1001)
    client.close()
    with pytest.raises(AssertionError, match="byte 1000 of the stream is wrong"):
        server.drain(2001)
