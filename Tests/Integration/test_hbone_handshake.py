# SPDX-License-Identifier: Apache-2.0
"""Handshakes of peers that have all keys and break the rules within the encryption (RFC 8446 section 4.4)."""

import os
import random
import socket

import pytest

from harness.handshakes import FAULTS, in_pieces, random_fault
from harness.hbone import PATIENCE, PREFACE
from harness.tls13 import Client, Ended
from harness.tunnels import dial, mesh, probes, server  # noqa: F401 (fixtures)

ROUNDS = 300


@pytest.fixture(scope="module")
def svid(mesh):
    return mesh.svid("web")


def answer(server, svid, make):
    """What the server says first to who has sent such a flight. Raises Ended, but not before it."""
    try:
        client = Client(socket.create_connection(("127.0.0.1", server.peers), timeout=PATIENCE), svid)
    except Ended as ended:
        pytest.fail(f"the server has ended a good handshake: {ended}")
    try:
        return client.answer(make(client), PREFACE)
    finally:
        client.close()


@pytest.mark.parametrize("size", [1, 7, 100, 1 << 14])
def test_messages_in_pieces(server, svid, size):
    assert answer(server, svid, in_pieces(size))[3] == 4  # SETTINGS


@pytest.mark.parametrize("name", FAULTS)
def test_faults(server, mesh, svid, name):
    make, alert = FAULTS[name]
    with pytest.raises(Ended) as ended:
        answer(server, svid, make)
    assert ended.value.alert == alert
    assert server.wait("failure")["reason"] == "handshakeFailed"
    dial(server, mesh).close()


def test_no_changed_message_is_taken(server, mesh, svid):
    seed = int.from_bytes(os.urandom(4), "big")
    source = random.Random(seed)
    alerts = 0
    for number in range(ROUNDS):
        try:
            text = answer(server, svid, random_fault(source))
        except Ended as ended:
            alerts += ended.alert is not None
            continue
        pytest.fail(f"round {number} of seed {seed} was taken: {text[:20]}")
    # A reset may overtake one.
    assert alerts > ROUNDS * 0.9, f"{alerts} of {ROUNDS} were told why, seed {seed}"
    dial(server, mesh).close()
