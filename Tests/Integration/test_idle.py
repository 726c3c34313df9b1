# SPDX-License-Identifier: Apache-2.0
"""What a connection that waits costs the proxy: memory of its own, and no work."""

import subprocess
import sys

import pytest

from harness.processes import own_memory, root_of_repository, stop
from harness.routed import ADDRESSES, PORT, http_route, to
from harness.world import eventually

_PROGRAM = root_of_repository() / "scripts" / "bench" / "idle.py"
COUNT = 2000


def held(routed, version, count, pid):
    """The proxy's memory while so many connections wait."""
    process = routed.meshed.spawn("a", sys.executable, _PROGRAM, ADDRESSES["web"], PORT, "/", count, version,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        return own_memory(pid)
    finally:
        process.stdin.close()
        stop(process)


@pytest.mark.parametrize("version, most", [("h1", 4096), ("h2", 4096)])
def test_an_idle_connection_takes_little(routed, version, most):
    """The same for both: a session of HTTP/2 has no room for frames of its own, and its tables grow with what is in them."""
    routed.routes(http_route("idle", [{"backendRefs": [to("v1")]}]))
    eventually(lambda: routed.clients["a"].ask().get("answer", {}).get("pod") == "b", what="the route")
    pid = routed.serving()
    few = held(routed, version, COUNT // 10, pid)  # with what the first connections make once
    many = held(routed, version, COUNT, pid)
    each = (many - few) / (COUNT - COUNT // 10)
    print(f"{version}: {each:.0f} bytes for an idle connection")
    assert each <= most
    routed.routes()
