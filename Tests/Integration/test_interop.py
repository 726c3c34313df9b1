# SPDX-License-Identifier: Apache-2.0
"""Other people's clients and servers through the node proxy, HTTP/1.1 and HTTP/2 on either side: curl, nghttp, h2load,
grpcio and Python's h2 and http.client as clients; nginx, Apache, Node, nghttpd, grpcio and Python as servers."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.processes import PATIENCE
from harness.realservers import SERVERS, SIZE, RealServers, content
from harness.routed import ADDRESSES, PORT, Routed, to
from harness.world import eventually

HARNESS = Path(__file__).parent / "harness"
FILES = [name for name in SERVERS if name != "grpcio"]
# Those that say how much came, those that answer while they are asked, and those that tell of clients that go.
COUNTING = ["python1", "node1", "h2", "node2"]
LASTING = COUNTING
WEB = ADDRESSES["web"]
# What a rule allows a request, in milliseconds, at /soon/NAME.
DEADLINE = 300


@pytest.fixture(scope="module")
def servers():
    routed = Routed()
    made = RealServers(routed, SERVERS)
    made.route(*({**rule, "matches": [{"path": {"type": "PathPrefix", "value": f"/soon{path}"}}],
                  "timeouts": {"request": f"{DEADLINE}ms"}}
                 for rule in made.rules() for path in [rule["matches"][0]["path"]["value"]]),
               {"matches": [{"path": {"type": "PathPrefix", "value": "/shop.Echo"}}], "backendRefs": [to("grpcio")]})
    made.routed = routed
    for name in FILES:
        eventually(lambda name=name: curl(made, f"/{name}/bytes/{SIZE}", "--http1.1")[0] == 200, what=f"the route to {name}")
    yield made
    made.close()
    routed.close()


def run(servers, *argv, check=True, **options):
    done = subprocess.run([str(word) for word in servers.routed.meshed.argv("a", *map(str, argv))], capture_output=True,
                          timeout=2 * PATIENCE, **options)
    assert not check or done.returncode == 0, done.stderr.decode()
    return done.stdout


def curl(servers, path, version, *words, **options):
    out = run(servers, "curl", "--silent", "--show-error", "--max-time", PATIENCE, version, "--write-out",
              "\n%{http_code}", *words, f"http://{WEB}{path}", check=False, **options)
    body, _, status = out.rpartition(b"\n")
    return int(status or 0), body


def ask(servers, version, path, kind, count=0):
    return json.loads(run(servers, sys.executable, HARNESS / "h2ask.py", version, WEB, PORT, path, kind, count))


def fetch(servers, client, path):
    """Status, digest of the body."""
    if client.startswith("curl"):
        status, body = curl(servers, path, {"curl1": "--http1.1", "curl2": "--http2-prior-knowledge"}[client])
    elif client == "nghttp":
        status, body = 200, run(servers, "nghttp", "--window-bits=20", f"http://{WEB}{path}")
    else:
        found = ask(servers, client[-1], path, "get")
        return found["status"], found["digest"]
    return status, hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("server", FILES)
@pytest.mark.parametrize("client", ["curl1", "curl2", "nghttp", "sockets1", "h2"])
def test_each_client_gets_each_servers_bytes(servers, client, server):
    expected = hashlib.sha256(content(SIZE)).hexdigest()
    assert fetch(servers, client, f"/{server}/bytes/{SIZE}") == (200, expected)


@pytest.mark.parametrize("server", COUNTING)
@pytest.mark.parametrize("client", ["curl1", "curl2", "nghttp", "sockets1", "h2"])
def test_each_server_gets_each_clients_bytes(servers, client, server):
    path, data = f"/{server}/up", servers.place / "docs" / "bytes" / str(SIZE)
    if client.startswith("curl"):
        version = {"curl1": "--http1.1", "curl2": "--http2-prior-knowledge"}[client]
        status, text = curl(servers, path, version, "--data-binary", f"@{data}")
        assert status == 200
    elif client == "nghttp":
        text = run(servers, "nghttp", f"--data={data}", f"http://{WEB}{path}")
    else:
        found = ask(servers, client[-1], path, "post", SIZE)
        assert found["status"] == 200
        text = found["text"].encode()
    assert str(SIZE).encode() in text


@pytest.mark.parametrize("client", ["curl1", "curl2", "nghttp", "h2"])
def test_nghttpd_gives_back_what_it_was_sent(servers, client):
    data = servers.place / "docs" / "bytes" / str(SIZE)
    if client.startswith("curl"):
        version = {"curl1": "--http1.1", "curl2": "--http2-prior-knowledge"}[client]
        status, body = curl(servers, "/nghttpd/echo", version, "--data-binary", f"@{data}")
        assert status == 200
        found = hashlib.sha256(body).hexdigest()
    elif client == "nghttp":
        found = hashlib.sha256(run(servers, "nghttp", f"--data={data}", f"http://{WEB}/nghttpd/echo")).hexdigest()
    else:
        found = ask(servers, 2, "/nghttpd/echo", "post", SIZE)["digest"]
    assert found == hashlib.sha256(content(SIZE)).hexdigest()


@pytest.mark.parametrize("server", LASTING)
@pytest.mark.parametrize("version", [1, 2])
def test_both_directions_are_open_at_once(servers, version, server):
    """Each piece is sent when the one before it has come back through the proxy."""
    assert ask(servers, version, f"/{server}/echo", "echo", 50) == {
        "status": 200, "pieces": 50, "rest": 0, "whole": True}


def ended(servers, server):
    return int(curl(servers, f"/{server}/ended", "--http1.1")[1])


@pytest.mark.parametrize("server", LASTING)
@pytest.mark.parametrize("version", [1, 2])
def test_a_client_that_goes_ends_the_request_at_the_backend(servers, version, server):
    before = ended(servers, server)
    assert ask(servers, version, f"/{server}/endless", "cancel", 10_000)["length"] == 10_000
    eventually(lambda: ended(servers, server) == before + 1, what="the end at the backend")


@pytest.mark.parametrize("server", LASTING)
@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
def test_a_deadline_ends_the_request_on_both_sides(servers, version, server):
    before = ended(servers, server)
    status, _ = curl(servers, f"/soon/{server}/wait", version)
    assert status == 504
    eventually(lambda: ended(servers, server) == before + 1, what="the end at the backend")


@pytest.mark.parametrize("server", FILES)
@pytest.mark.parametrize("words", [["--h1"], ["--max-concurrent-streams=10"]], ids=["h1", "h2"])
def test_many_requests_at_a_time_are_all_answered(servers, words, server):
    out = run(servers, "h2load", "--requests=300", "--clients=4", *words, f"http://{WEB}/{server}/bytes/{SIZE}").decode()
    assert "300 succeeded, 0 failed, 0 errored, 0 timeout" in out, out


@pytest.mark.parametrize("kind, count, answer", [
    ("Unary", 0, "hello from grpcio"), ("Collect", 200, str(200 * 1000)), ("Stream", 200, [str(n) for n in range(200)]),
    ("Chat", 50, [1000] * 50)])
def test_grpcio_reaches_grpcio_by_a_route_of_http(servers, kind, count, answer):
    """GRPCRoutes have their own tests: here an HTTPRoute leads a service of gRPC, by its path."""
    found = json.loads(run(servers, sys.executable, HARNESS / "grpc_peer.py", "call", WEB, PORT, kind, kind.lower(),
                           count, PATIENCE))
    assert found["answer"] == answer
