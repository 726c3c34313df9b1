# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 through the node proxy, on either side or both: curl, nghttp and Python's h2 as peers, in pods."""

import json
import subprocess
from pathlib import Path

import pytest

from harness.routed import ADDRESSES, Routed, http_route, to
from harness.world import eventually

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def routed():
    made = Routed(protocols={"v2": "kubernetes.io/h2c"}, servers={"c": "h2serve.py"})
    made.routes(http_route("all", [
        {"matches": [{"path": {"type": "PathPrefix", "value": "/h2"}}],
         "filters": [{"type": "URLRewrite", "urlRewrite": {
             "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}],
         "backendRefs": [to("v2")]},
        {"backendRefs": [to("v1")]}]))
    eventually(lambda: curl(made, "/h2/ready")[1] == "200", what="the route")
    yield made
    made.close()


def run(routed, *argv, **options):
    return subprocess.run(routed.meshed.argv("a", *argv), capture_output=True, timeout=120, **options)


def curl(routed, path, *arguments, **options):
    """Body, status, version of HTTP."""
    done = run(routed, "curl", "--silent", "--show-error", "--max-time", "100", "--write-out",
               "\n%{http_code} %{http_version}", *arguments, f"http://{ADDRESSES['web']}{path}", **options)
    body, _, last = done.stdout.rpartition(b"\n")
    status, version = last.decode().split()
    return body, status, version


@pytest.mark.parametrize("client, version", [("--http1.1", "1.1"), ("--http2-prior-knowledge", "2")])
@pytest.mark.parametrize("path, pod", [("/x", "b"), ("/h2/x", "c")])
def test_each_protocol_reaches_each_backend(routed, client, version, path, pod):
    body, status, spoken = curl(routed, path, client, "--header", "X-Test: yes")
    answer = json.loads(body)
    assert (status, spoken, answer["pod"], answer["path"]) == ("200", version, pod, "/x")
    assert answer["headers"]["x-test"] == "yes"
    assert answer["headers"].get("host" if pod == "b" else ":authority") == ADDRESSES["web"]


@pytest.mark.parametrize("direction", ["down", "up"])
@pytest.mark.parametrize("backend", ["http1", "http2"])
@pytest.mark.parametrize("client", ["--http1.1", "--http2-prior-knowledge"])
def test_large_bodies_pass_with_bounded_memory(routed, pytestconfig, client, backend, direction):
    """However long they are: the proxy holds a piece of them. `--body-megabytes 1024` for a gigabyte."""
    size = pytestconfig.getoption("body_megabytes") * MEGABYTE
    base = f"http://{ADDRESSES['web']}{'/h2' if backend == 'http2' else ''}"
    words, source = ["--output", "/dev/null", f"{base}/bytes/{size}"], None
    if direction == "up":
        source = subprocess.Popen(["head", "--bytes", str(size), "/dev/zero"], stdout=subprocess.PIPE)
        words = ["--upload-file", "-", f"{base}/up"]
    pid = routed.serving()
    before = resident(pid)
    done = subprocess.Popen(
        routed.meshed.argv("a", "curl", "--silent", "--show-error", client, "--max-time", "600", "--write-out",
                           "\n%{size_download} %{http_code}", *words), stdin=source and source.stdout,
        stdout=subprocess.PIPE, text=True)
    if source:
        source.stdout.close()
    most = 0
    while done.poll() is None:
        most = max(most, resident(pid))
        try:
            done.wait(0.02)
        except subprocess.TimeoutExpired:
            pass
    answer, _, last = done.stdout.read().rpartition("\n")
    downloaded, status = last.split()
    assert status == "200"
    assert (json.loads(answer)["received"] if source else int(downloaded)) == size
    if source:
        source.wait()
    print(f"{client} {backend} {direction}: {(most - before) / MEGABYTE:.1f} MiB of growth")
    assert most - before < 16 * MEGABYTE


def test_an_upload_is_counted_to_its_last_byte(routed):
    size = 20 * MEGABYTE
    body, status, _ = curl(routed, "/h2/up", "--http2-prior-knowledge", "--data-binary", "@-", input=bytes(size))
    assert status == "200" and json.loads(body)["received"] == size


def test_nghttp_makes_many_requests_on_one_connection(routed):
    done = run(routed, "nghttp", "--null-out", "--stat", "--multiply=50", f"http://{ADDRESSES['web']}/h2/many")
    text = done.stdout.decode()
    assert done.returncode == 0, done.stderr
    assert text.count(" 200 ") == 50, text


def resident(pid):
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096
