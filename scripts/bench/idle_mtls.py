# SPDX-License-Identifier: Apache-2.0
"""Memory of an idle connection between nodes, mutual TLS and its HTTP/2 session, at the end that has dialled and at the
one that has accepted: `idle_mtls.py [COUNT [tunnel-probe]]`. Each has carried one tunnel, and has rested since. A line of JSON:
bytes of private memory for each connection (user space), by the growth from the first hundred to all."""

import json
import re
import socket
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests/Integration"))
from harness.hbone import Application, Authority, Probe  # noqa: E402 (found by the line above)

WARM = 100


def private(pid):
    """Bytes that no other process shares: what ends with the process."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * sum(int(one) for one in re.findall(r"^Private_(?:Clean|Dirty):\s+(\d+) kB", rollup, re.M))


def open_and_end(client, application, number):
    """A tunnel from a source address of its own, which has a connection of its own, that ends."""
    source = f"127.{1 + number // 62500}.{1 + number // 250 % 250}.{1 + number % 250}"
    plain = socket.create_connection(("127.0.0.1", client.pods), timeout=60, source_address=(source, 0))
    far = application.accept()
    far.sendall(b"x")
    assert plain.recv(1) == b"x"
    for each in (plain, far):
        each.close()


def until(condition, what):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"not seen: {what}"
        time.sleep(0.05)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    if len(sys.argv) > 2:
        Probe.PROGRAM = sys.argv[2]
    assert count > WARM, f"more than {WARM} connections are needed"
    authority, application = Authority(), Application()
    # Long enough that none is given up, short enough that all have rested soon.
    limits = {"pingInterval": 400, "pingTimeout": 60000, "idleTimeout": 600000}
    server = Probe(identity=authority.id("db"), limits=limits)
    client = Probe(limits=limits, outbound={
        "identity": authority.id("web"), "acceptable": [authority.id("db")], "gateway": server.peers,
        "port": application.port})
    try:
        for probe in (server, client):
            probe.publish([authority.svid("db"), authority.svid("web")], {authority.domain: authority.root})
        sizes = []
        for first, last in ((0, WARM), (WARM, count)):
            for number in range(first, last):
                open_and_end(client, application, number)
            for probe in (server, client):
                until(lambda: (found := probe.counters())["connections"] == last and found["tunnels"] == 0,
                      f"{last} connections without a tunnel")
            # Two looks of each connection, and the answers.
            time.sleep(2)
            sizes.append([private(probe.pid) for probe in (server, client)])
        each = [(last - first) // (count - WARM) for first, last in zip(*sizes)]
        print(json.dumps({"connections": count, "accepted_bytes": each[0], "dialled_bytes": each[1]}))
    finally:
        for probe in (client, server):
            probe.close()
        application.close()


if __name__ == "__main__":
    main()
