# SPDX-License-Identifier: Apache-2.0
"""The harness itself: what the other tests trust."""

import errno
import socket
import struct

import pytest

from harness.wire import TUNNELS, Segment, records, segments


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


def _segment(sequence, payload, is_first=False):
    return Segment("10.0.0.1", "10.0.0.2", (40000, TUNNELS), sequence, is_first, payload)


def _frame(segment):
    """Ethernet, IPv4 and TCP with as much of their fields as matters."""
    tcp = struct.pack(">HHIIBBHHH", *segment.ports, segment.sequence, 0, 5 << 4, 2 if segment.is_first else 16, 0, 0, 0)
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40 + len(segment.payload), 0, 0, 64, 6, 0,
                     socket.inet_aton(segment.source), socket.inet_aton(segment.destination))
    return bytes(12) + b"\x08\x00" + ip + tcp + segment.payload + b"padding"


_RECORDS = b"\x16\x03\x01\x00\x03abc" + b"\x17\x03\x03\x01\x00" + bytes(256) + b"\x17\x03\x03\x00\x01x"
_START = (1 << 32) - 20  # numbers begin anew in the midst of it


@pytest.mark.parametrize("step", [1, 4, 7, 300])
@pytest.mark.parametrize("order", [1, -1])
def test_the_wire_walks_over_records_however_they_are_cut(step, order):
    pieces = [_segment((_START + 1 + at) % (1 << 32), _RECORDS[at:at + step]) for at in range(0, len(_RECORDS), step)]
    # Each is sent twice, as after a loss.
    frames = [_frame(one) for one in [_segment(_START, b"", True), *(2 * pieces)[::order]]]
    assert records(segments(frames)) == {"handshake": 1, "application_data": 2}


def test_the_wire_finds_what_is_no_record():
    clear = [_segment(9, b"", True), _segment(10, _RECORDS), _segment(10 + len(_RECORDS), b"GET / HTTP/1.1\r\n")]
    with pytest.raises(ValueError, match="10.0.0.1 to 10.0.0.2, ports .*: no record begins with 474554202f"):
        records(clear)
