# SPDX-License-Identifier: Apache-2.0
"""Two nodes on a machine whose processors have no time to spare."""

import os
import subprocess
import sys
import time

import pytest

from harness.two_nodes import TwoNodes, received
from harness.world import eventually


@pytest.fixture
def mesh():
    made = TwoNodes()
    yield made
    made.close()


@pytest.mark.alone
def test_new_tunnels_where_no_processor_has_time(mesh):
    """Handshakes wait for all else that wants a processor, but not for ever: their worker makes those that wait too long."""
    agent = mesh.here.agent

    def serials():
        return {one["identity"]: one["serial"] for one in agent.json("identity")}
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * os.cpu_count())]
    try:
        for _ in range(3):
            before = serials()
            # What is open gets no new tunnels then: the next one needs a handshake.
            agent.ctl("identity", "--renew")
            eventually(lambda: not set(serials().values()) & set(before.values()), what="other certificates")
            started = time.monotonic()
            client, server = mesh.connect("a", "x")
            sent = mesh.marker()
            client.send(sent)
            assert received(server, len(sent)) == sent
            assert time.monotonic() - started < 2
            client.close()
            server.close()
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
