# SPDX-License-Identifier: Apache-2.0
"""A receiver that never reads costs a bounded amount of kernel memory, and its sender stands still as with TCP."""

import gc
import socket
import time

import pytest

from harness.node import TCP_RMEM_MAX, TCP_WMEM_MAX
from harness.world import eventually

# What else the machine does would show in its times or counts.
pytestmark = pytest.mark.alone

# docs/limits.md: what TCP could hold for the pair, twice (the redirected bytes and then TCP's own buffers), some slack.
BOUND = 2 * (TCP_RMEM_MAX + TCP_WMEM_MAX) + (8 << 20)
# One message of a redirect is 1 KiB of kernel memory, at most 1024 of them; TCP's small skbs cost about as much.
SLAB_BOUND_KILOBYTES = 24 << 10


def unreclaimable_kilobytes():
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("SUnreclaim:"):
                return int(line.split()[1])
    raise AssertionError("no SUnreclaim in /proc/meminfo")


@pytest.mark.parametrize("chunk", [4096, 65536, 1 << 20])
def test_a_blocking_sender_stops(world, family, chunk):
    client, server = world.connect(family)
    pouring = client.start_pour(256 << 20, chunk=chunk).wait_blocked()
    queued = server.drain(BOUND, flags=socket.MSG_DONTWAIT)
    assert queued <= BOUND
    client.shutdown(socket.SHUT_RDWR)  # wakes the sender
    with pytest.raises(OSError):
        pouring.result()


def test_a_non_blocking_sender_gets_eagain(world, family):
    client, server = world.connect(family)
    sent = 0
    # Acknowledgements that were still on their way may make room once more.
    while more := client.pour(256 << 20, flags=socket.MSG_DONTWAIT, position=sent):
        sent += more
        assert sent <= BOUND
        time.sleep(0.2)
    assert sent > 0
    with pytest.raises(BlockingIOError):
        client.send(b"x" * 65536, socket.MSG_DONTWAIT)
    # As soon as the receiver reads, the sender goes on, and not a byte is missing.
    draining = server.start_drain(sent + 1000)
    pouring = client.start_pour(1000, position=sent)
    assert draining.result() == [sent + 1000, None]
    assert pouring.result() == 1000


def test_one_byte_messages(world):
    """200 000 writes of a byte: naive redirection takes 1 KiB of slab for each."""
    client, server = world.connect(client_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)])
    gc.collect()
    before = unreclaimable_kilobytes()
    sent = client.pour(200_000, chunk=1, flags=socket.MSG_DONTWAIT)
    grown = unreclaimable_kilobytes() - before
    assert sent > 1000
    assert grown < SLAB_BOUND_KILOBYTES, f"{grown} KiB of slab for {sent} unread bytes"
    assert server.drain(sent) == sent


def test_memory_comes_back(world):
    """What unread connections held is free after they are closed."""
    before = unreclaimable_kilobytes()
    for _ in range(10):
        client, server = world.connect()
        client.pour(8 << 20, flags=socket.MSG_DONTWAIT)
        client.close()
        server.close()
    # The kernel frees some of it from a work queue.
    eventually(lambda: unreclaimable_kilobytes() - before < SLAB_BOUND_KILOBYTES, what="the memory")
