# SPDX-License-Identifier: Apache-2.0
"""WebSocket through the node proxy in pods, by HTTP/1.1 and by HTTP/2 (RFC 8441) on either side."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.routed import ADDRESSES, PORT, Routed, http_route, to
from harness.world import eventually

_PROGRAM = Path(__file__).parent / "harness" / "websocket.py"


@pytest.fixture(scope="module")
def routed():
    made = Routed(["--proxy-access-log", "json"], servers={"b": "websocket.py serve", "c": "websocket.py serve2"},
                  protocols={"v2": "kubernetes.io/h2c"})
    made.routes(http_route("tunnels", [
        {"matches": [{"path": {"type": "PathPrefix", "value": "/h2"}}], "backendRefs": [to("v2")]},
        {"backendRefs": [to("v1")]}]))
    for path, pod in (("/", "b"), ("/h2", "c")):
        eventually(lambda path=path, pod=pod: made.clients["a"].ask(path=path).get("answer", {}).get("pod") == pod,
                   what=f"the route to {pod}")
    yield made
    made.close()


def talk(routed, how, path, text="", count=0):
    done = subprocess.run(
        routed.meshed.argv("a", sys.executable, _PROGRAM, how, ADDRESSES["web"], str(PORT), path, text, str(count)),
        capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def counted(routed, code, service):
    return sum(item["value"] for item in routed.agent.json("metrics", "istio_requests_total")
               if item["labels"]["response_code"] == code and item["labels"].get("destination_service_name") == service)


# The client's protocol, and the server's; what the server is asked by HTTP/2 has no key.
@pytest.mark.parametrize(["how", "path", "service", "first", "code"], [
    ("dial", "/talk?a=1", "v1", "get /talk?a=1 http/1.1 key=True", "101"),
    ("dial", "/h2/talk?a=1", "v2", "CONNECT /h2/talk?a=1 key=False", "101"),
    ("talk", "/talk?a=1", "v1", "get /talk?a=1 http/1.1 key=True", "200"),
    ("talk", "/h2/talk?a=1", "v2", "CONNECT /h2/talk?a=1 key=False", "200"),
], ids=["h1-h1", "h1-h2", "h2-h1", "h2-h2"])
def test_a_tunnel_carries_bytes_both_ways_and_each_end_alone(routed, how, path, service, first, code):
    before = counted(routed, code, service)
    found = talk(routed, how, path, "0123456789", 100_000)
    if how == "dial":
        assert found["status"] == "HTTP/1.1 101 Switching Protocols"
        assert found["upgrade"].lower() == "websocket" and found["proven"]
    else:
        assert found["offered"] and found["status"] == "200"
    assert found["first"] == first
    # Everything twice; the end came after the client's.
    assert (found["length"], found["end"]) == (2_000_000 + len("\nend"), "end")

    eventually(lambda: counted(routed, code, service) == before + 1, what="the request, counted once")
    # As the client's pod sees them, without heads.
    wanted = (int(code), 1_000_000, len(first) + len("\n") + found["length"])
    lines = eventually(lambda: [line for line in routed.agent.log_tail(200).splitlines() if line.startswith("{") and
                                tuple(json.loads(line).get(name) for name in ("status", "bytes_sent", "bytes_recv"))
                                == wanted], what="the line")
    assert len(lines) == 1


@pytest.mark.parametrize("path", ["/no", "/h2/no"], ids=["h1", "h2"])
def test_a_refusal_is_the_backends(routed, path):
    assert talk(routed, "talk", path)["status"] == "403"
    assert talk(routed, "dial", path)["status"].startswith("HTTP/1.1 403 ")
