# SPDX-License-Identifier: Apache-2.0
"""The load tool: it measures, and no damage to a stream escapes it. Over plain loopback, without a mesh."""

import http.server
import json
import os
import socket
import subprocess
import threading

import pytest

from harness.processes import PATIENCE, run, spawn, stop
from harness.relay import Relay
from harness.world import eventually

HEADER = 48  # bytes before the stream, which the relay leaves alone


def flip(data, offset):
    return data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1:]


def lose(data, offset):
    return data[:offset] + data[offset + 100:]


def repeat(data, offset):
    return data[:offset] + data[max(0, offset - 100):offset] + data[offset:]


def swap(data, offset):
    return data[:offset] + data[offset + 500:offset + 1000] + data[offset:offset + 500] + data[offset + 1000:]


def at(position, how):
    """Damage of the piece of the stream that holds `position` with some bytes around it."""
    done = []

    def damage(data, start):
        offset = position - start
        if done or not 200 <= offset < len(data) - 1200:
            return data
        done.append(offset)
        return how(data, offset)
    return damage


def surely_at(position, how):
    """The same for one stream that does not wait for answers: a piece that ends there waits for the next one."""
    held, done = b"", False

    def damage(data, start):
        nonlocal held, done
        data, start, held = held + data, start - len(held), b""
        first, last = position - start - 200, position - start + 1200
        if done or first >= len(data):
            return data
        if last > len(data):
            held = data[first:]
            return data[:first]
        done = True
        return how(data, position - start)
    return damage


def free_ports():
    """The first of five free ports in a row. Runs beside this one begin to look elsewhere."""
    for port in range(20_000 + os.getpid() % 1000 * 7, 40_000, 7):
        try:
            for offset in range(5):
                socket.create_server(("127.0.0.1", port + offset)).close()
            return port
        except OSError:
            continue
    raise AssertionError("no free ports")


@pytest.fixture
def server(meshload):
    """Starts a server mode; (port, process)."""
    started = []

    def start(mode, *options):
        port = free_ports()
        process = spawn(meshload, mode, "--address", "127.0.0.1", "--port", str(port), *options,
                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return port, process
    yield start
    for process in started:
        stop(process)


@pytest.mark.parametrize("options", [
    ["rr", "--seconds", "0.2"], ["rr", "--request", "1", "--response", "16K", "--seconds", "0.2"],
    ["rr", "--connections", "16", "--request", "1K", "--seconds", "0.2"], ["crr", "--seconds", "0.2"],
    ["stream", "--write-size", "64", "--seconds", "0.2"], ["stream", "--connections", "4", "--seconds", "0.2"],
    ["stream", "--write-size", "16K", "--window", "128K", "--connections", "3", "--seconds", "0.2"],
    ["stream", "--write-size", "1M", "--no-delay", "--seconds", "0.2"]], ids=" ".join)
def test_measurements(server, meshload, options):
    port, _ = server("server")
    count = "bytes" if options[0] == "stream" else "requests"

    def measured():
        """A run in which this process had a turn: a fifth of a second can pass without one on a busy machine."""
        result = json.loads(run(meshload, *options, "--address", "127.0.0.1", "--port", port).stdout)
        return result[count] > 0 and result
    result = eventually(measured, what="a measurement")
    assert result["mode"] == options[0]
    if options[0] == "stream":
        assert result["gbytes_per_second"] > 0
    else:
        assert 0 < result["p50_us"] <= result["p99_us"] <= result["max_us"] * 1.02


def test_unix_sockets(meshload, tmp_path):
    address = f"unix:{tmp_path}/load"
    process = spawn(meshload, "server", "--address", address, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        for mode in ("rr", "crr", "stream"):
            assert json.loads(run(meshload, mode, "--address", address, "--seconds", "0.2").stdout)["mode"] == mode
    finally:
        stop(process)


@pytest.mark.parametrize("how", [flip, lose, repeat, swap])
def test_a_damaged_stream_is_found_where_it_is(server, meshload, how):
    port, _ = server("server")
    position = 2_000_000

    # meshload derives its ports from the first: processor time on that one, the stream two above it.
    first = free_ports()
    relays = [Relay(("127.0.0.1", port), port=first),
              Relay(("127.0.0.1", port + 2), surely_at(HEADER + position, how), first + 2)]
    try:
        failed = run(meshload, "stream", "--address", "127.0.0.1", "--port", first, "--write-size", "8K",
                     "--seconds", "3", check=False)
    finally:
        for relay in relays:
            relay.close()
    assert failed.returncode == 1
    assert f"wrong from position {position} on" in failed.stderr
    expected = {flip: "not the stream's", lose: "belong 100 bytes later", repeat: "belong -100 bytes earlier",
                swap: "belong 500 bytes later"}[how]
    assert expected in failed.stderr


@pytest.mark.parametrize("how", [flip, lose, repeat, swap])
def test_damage_ends_the_soak_with_status_2(server, meshload, how):
    port, process = server("mix-server")
    # Both ends see it: whichever direction is damaged, its receiver names the place and ends.
    relay = Relay(("127.0.0.1", port), at(300_000, how), free_ports())
    try:
        client = run(meshload, "mix", "--address", "127.0.0.1", "--port", relay.port, "--bytes", "100M",
                     "--connections", "1", "--only", "ordinary,uploadfirst,plain,simple", "--seconds", "20",
                     check=False, timeout=60)
    finally:
        relay.close()
    assert client.returncode != 0
    assert process.wait(PATIENCE) == 2
    assert "server: wrong byte at position 299952" in process.stderr.read()


def test_a_hang_ends_the_soak_with_status_3(server, meshload):
    port, process = server("mix-server", "--hang-seconds", "3")
    stalled = []

    def stall(data, position):
        if position > 200_000 and not stalled:
            stalled.append(True)
            threading.Event().wait()  # for ever
        return data
    relay = Relay(("127.0.0.1", port), stall, free_ports())
    try:
        client = run(meshload, "mix", "--address", "127.0.0.1", "--port", relay.port, "--bytes", "100M",
                     "--connections", "1", "--only", "ordinary,uploadfirst,plain,simple", "--hang-seconds", "3",
                     check=False, timeout=60)
    finally:
        relay.close()
    assert client.returncode in (1, 3)
    assert process.wait(PATIENCE) == 3
    assert "hangs: nothing moved for 3 s" in process.stderr.read()


def test_an_intact_soak_passes(server, meshload):
    port, process = server("mix-server")
    result = json.loads(run(meshload, "mix", "--address", "127.0.0.1", "--port", port, "--bytes", "200M",
                            timeout=120).stdout)
    assert result["bytes"] >= 200 << 20
    assert (result["mismatches"], result["hangs"]) == (0, 0)
    assert process.poll() is None


@pytest.mark.parametrize("arguments, message", [
    (["rr"], "--address is required"), (["rr", "--address", "nowhere"], "neither an IPv4 or IPv6 address"),
    (["fly", "--address", "127.0.0.1"], "unknown mode 'fly'"),
    (["mix", "--address", "127.0.0.1", "--only", "peeek"], "no behaviour is called 'peeek'"),
    (["rr", "--address", "127.0.0.1", "--port", "1"], "Connection refused")])
def test_mistakes_are_named(meshload, arguments, message):
    done = run(meshload, *arguments, check=False)
    assert done.returncode == 1
    assert message in done.stderr


@pytest.fixture
def web():
    """An HTTP/1.1 server that answers 61 bytes; its port."""
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send_response(200 if self.path == "/" else 404)
            self.send_header("Content-Length", "61")
            self.end_headers()
            self.wfile.write(b"x" * 61)

        def log_message(self, *_):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def ask(meshload, port, *options):
    return run(meshload, "http", "--address", "127.0.0.1", "--port", str(port), "--connections", "8", "--rate", "400",
               "--seconds", "0.5", *options, check=False)


def test_http_asks_at_its_rate(meshload, web):
    result = json.loads(ask(meshload, web).stdout)
    # What is due is asked for, late or not: 200 of a Poisson distribution, standard deviation 14.
    assert 120 < result["requests"] < 280 and 0 < result["p50_us"] <= result["p99_us"]


@pytest.mark.parametrize("options, what", [(("--body", "60"), "61 bytes, expected 200 with 60"),
                                           (("--path", "/none"), "status 404")])
def test_http_takes_no_wrong_answer(meshload, web, options, what):
    done = ask(meshload, web, *options)
    assert done.returncode == 1 and what in done.stderr
