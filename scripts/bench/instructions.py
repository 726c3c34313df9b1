# SPDX-License-Identifier: Apache-2.0
"""Instructions of the proxy for one request, by callgrind: with a route, and with that and 100 rules of policy.

The same on every machine and in every run, within about two in a hundred; time is not, on machines that others use too.
Without the kernel, so that what is compared is a larger part of the whole than it is of the processor's time. Needs l7bench
(`swift build -c release --package-path Benchmarks --product l7bench`) and valgrind, which may not understand its debug
information: `objcopy --strip-debug` makes a copy without, for --program.
"""

import argparse
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
L7BENCH = ROOT / "Benchmarks" / ".build" / "release" / "l7bench"
RESPONSE = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
# Of no rule, and below the prefix of one that denies another method.
PATHS = ("/items/17", "/admin/51/list")
# What the first requests do once is in both counts, and so not in their difference.
FEW, MANY = 300, 1800
MOST = 1.10


def backend(listener):
    """Answers requests without content, one connection after another."""
    while True:
        try:
            accepted, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=answer, args=(accepted,), daemon=True).start()


def answer(accepted):
    with accepted:
        rest = b""
        while received := accepted.recv(65536):
            rest += received
            while b"\r\n\r\n" in rest:
                rest = rest.partition(b"\r\n\r\n")[2]
                accepted.sendall(RESPONSE)


def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connected(port, process):
    for _ in range(600):
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=60)
        except ConnectionRefusedError:
            if process.poll() is not None:
                sys.exit(f"l7bench has ended: {process.stderr.read()}")
            time.sleep(0.1)
    sys.exit("l7bench does not listen")


def instructions(program, mode, path, count, out):
    """Of a run of so many requests, one after another on one connection."""
    request = (f"GET {path} HTTP/1.1\r\nHost: web.shop:80\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\n"
               "Accept-Encoding: gzip\r\nX-Request-Id: 8f14e45f-ceea-467a-9575-1d2c3e4f5a6b\r\n\r\n").encode()
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=backend, args=(listener,), daemon=True).start()
    port = unused_port()
    process = subprocess.Popen(
        ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", str(program), str(port),
         str(listener.getsockname()[1]), *([mode] if mode else [])], stderr=subprocess.PIPE, text=True)
    try:
        with connected(port, process) as client:
            for _ in range(count):
                client.sendall(request)
                received = b""
                while not received.endswith(b"hello"):
                    data = client.recv(65536)
                    if not data or not (received + data).startswith(b"HTTP/1.1 200"):
                        sys.exit(f"{mode} {path}: unexpected answer {received + data!r}")
                    received += data
    finally:
        process.terminate()
        output = process.communicate()[1]
        listener.close()
    found = re.search(r"Collected : (\d+)", output)
    if not found:
        sys.exit(f"callgrind says nothing: {output}")
    return int(found[1])


def each(program, mode, path, directory):
    """Instructions for one request more."""
    few, many = (instructions(program, mode, path, count, directory / f"{mode or 'none'}.{count}.out")
                 for count in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help=f"fail if policy makes more than {MOST} of it")
    parser.add_argument("--program", type=Path, default=L7BENCH)
    parser.add_argument("--keep", type=Path, help="directory for callgrind's files, for callgrind_annotate")
    options = parser.parse_args()
    worst = 0.0
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.keep or Path(temporary)
        for path in PATHS:
            figures = {mode: each(options.program, mode, path, directory) for mode in ("routes", "policy")}
            ratio = figures["policy"] / figures["routes"]
            worst = max(worst, ratio)
            print(f"{path}: {figures['routes']:.0f} instructions for a request, {figures['policy']:.0f} with 100 rules:"
                  f" {ratio:.3f}", flush=True)
    if options.check and worst > MOST:
        sys.exit(f"policy makes {worst:.3f} of a request: more than {MOST}")


if __name__ == "__main__":
    main()
