# SPDX-License-Identifier: Apache-2.0
"""WebSocket through the node proxy in pods, by HTTP/2 (RFC 8441) on one side and by HTTP/1.1 on the other."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.routed import ADDRESSES, PORT, Routed, http_route, to
from harness.world import eventually

_PROGRAM = Path(__file__).parent / "harness" / "websocket.py"


def serving(program, protocols=None):
    made = Routed(["--proxy-access-log", "json"], servers={"b": program}, protocols=protocols)
    made.routes(http_route("tunnels", [{"backendRefs": [to("v1")]}]))
    eventually(lambda: made.clients["a"].ask().get("answer", {}).get("pod") == "b", what="the route")
    return made


@pytest.fixture(scope="module")
def routed():
    made = serving("websocket.py serve")
    yield made
    made.close()


@pytest.fixture(scope="module")
def routed2():
    made = serving("websocket.py serve2", {"v1": "kubernetes.io/h2c"})
    yield made
    made.close()


def talk(routed, path, text="", count=0, how="talk"):
    done = subprocess.run(
        routed.meshed.argv("a", sys.executable, _PROGRAM, how, ADDRESSES["web"], str(PORT), path, text, str(count)),
        capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_tunnel_carries_bytes_both_ways_and_each_end_alone(routed):
    found = talk(routed, "/talk?a=1", "0123456789", 100_000)
    assert found["offered"] and found["status"] == "200"
    assert found["first"] == "get /talk?a=1 http/1.1 key=True"
    # Everything twice; the end came after the client's.
    assert (found["length"], found["end"]) == (2_000_000 + len("\nend"), "end")

    lines = eventually(lambda: [text for text in routed.agent.log_tail(200).splitlines()
                                if text.startswith("{") and '"bytes_sent":1000000' in text], what="the line")
    assert json.loads(lines[0])["status"] == 200


def test_a_refusal_is_the_backends(routed):
    found = talk(routed, "/no")
    assert found["status"] == "403"


def test_an_upgrade_to_a_backend_of_http1_stays_one(routed):
    found = talk(routed, "/talk", "0123456789", 1000, how="dial")
    assert found["first"].startswith("get /talk http/1.1 key=True")
    assert (found["length"], found["end"]) == (20_000 + len("\nend"), "end")
