# SPDX-License-Identifier: Apache-2.0
"""Streams of large writes stay on the fast path where they gain by it, and leave it where they do not."""

import json
import subprocess

import pytest

from harness.processes import run, stop

# What it does depends on where the other processes of the machine run.
pytestmark = pytest.mark.alone
PORT = 7100


def counters(world):
    return {one["name"]: one["value"] for one in world.agent.json("status")["counters"]} if world.agent else {}


def left(before, after):
    """Why directions went to TCP meanwhile."""
    return {name for name in ("large-writes", "high-water", "message-cap") if after.get(name, 0) > before.get(name, 0)}


@pytest.fixture
def streamed(world, meshload):
    """A stream that has at most 128 KiB on its way; its result."""
    servers = []

    def stream(server_cpu, port):
        server = world.spawn("b", meshload, "server", "--address", world.pod("b").ipv4, "--port", str(port), "--cpu",
                             str(server_cpu), stdout=subprocess.PIPE, text=True)
        servers.append(server)
        assert server.stdout.readline() == "ready\n"
        argv = world.argv("a", meshload, "stream", "--address", world.pod("b").ipv4, "--port", str(port), "--cpu", "0",
                          "--write-size", "64K", "--window", "128K", "--no-delay", "--seconds", "1")
        return json.loads(run(*argv).stdout)
    yield stream
    for server in servers:
        stop(server)


def test_between_two_processors_large_writes_go_by_tcp(world, streamed):
    """The kernel lets the sender of a redirected message wait while the receiver copies the one before. Whether the two
    meet that often is chance: now and then a stream stays as it is."""
    before, why = counters(world), set()
    for number in range(8 if world.redirects else 1):
        assert streamed(1, PORT + 40 * number)["bytes"] > 10 << 20
        why = left(before, counters(world))
        if why:
            break
    assert why == ({"large-writes"} if world.redirects else set())


def test_on_one_processor_they_are_redirected(world, streamed):
    before = counters(world)
    assert streamed(0, PORT + 20)["bytes"] > 10 << 20
    assert left(before, counters(world)) == set()
