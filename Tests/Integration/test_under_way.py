# SPDX-License-Identifier: Apache-2.0
"""The kernel appends a redirected message after it has let go of the sender's lock. Until it is appended, neither end may
do what relies on its being there: the receiver would lose it, or read a later byte first."""

import subprocess
import sys
from pathlib import Path

from harness.processes import run, stop

PROBE = Path(__file__).with_name("harness") / "senders_probe.py"


def test_short_connections_that_talk_both_ways_at_once(world, meshload):
    """Both directions of hundreds of connections change to TCP while the other one redirects: each end wants to leave the
    map while something may still be on its way to it."""
    server = world.spawn("b", meshload, "mix-server", "--address", world.pod("b").ipv4, "--port", "5300",
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stdout.readline() == "ready\n"
        run(*world.argv("a", meshload, "mix", "--address", world.pod("b").ipv4, "--port", "5300", "--only", "concurrent",
                        "--largest", "64K", "--connections", "12", "--bytes", "1G", "--seconds", "6", "--seed", "7"))
    finally:
        stop(server)
    assert server.returncode in (0, -15), server.stderr.read()


def test_two_processes_send_on_one_socket(world, family):
    """The bytes of each all arrive, in its order, whichever of them makes the direction go to TCP."""
    address, port = world.pod("b").address(family), str(world.next_port())
    reader = world.spawn("b", sys.executable, PROBE, "read", address, port, "20",
                         stdout=subprocess.PIPE, text=True)
    try:
        assert reader.stdout.readline() == "ready\n"
        sender = run(*world.argv("a", sys.executable, PROBE, "send", address, port, "20"))
        wrong, _ = reader.communicate(timeout=30)
    finally:
        stop(reader)
    assert not wrong and reader.returncode == 0, wrong + sender.stderr
    assert not sender.stderr, sender.stderr
