# SPDX-License-Identifier: Apache-2.0
"""The application in the client pod. It knows nothing of the mesh.

    client.py get URL COUNT      COUNT requests, each on a new connection; how often each server answered
    client.py ask METHOD URL COUNT ['NAME: VALUE']...    the same by another method, with headers
    client.py try HOST PORT      20 attempts to connect; how each ended and how long it took
    client.py ping HOST PORT N   the median time of N redis PINGs on one connection, on one core
    client.py echo HOST PORT TEXT    what redis answers to ECHO TEXT
    client.py keep URL           requests without pause, each on a new connection, until standard input ends; then how many
                                 were answered and how many failed
    client.py hold HOST PORT     a busy and an idle redis connection, until they break or standard input ends
"""

import collections
import errno
import os
import select
import socket
import sys
import threading
import time
import urllib.error
import urllib.request

ATTEMPTS = 20


def ask(method: str, url: str, count: int, headers: list[str]) -> None:
    answers = collections.Counter()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    fields = dict(header.split(": ", 1) for header in headers)
    for _ in range(count):
        try:
            with opener.open(urllib.request.Request(url, method=method, headers=fields), timeout=5) as reply:
                answers[reply.read().decode().strip()] += 1
        except urllib.error.HTTPError as error:
            answers[f"status {error.code}"] += 1
    for server, number in sorted(answers.items()):
        print(f"{server} {number}")


def attempt(host: str, port: int) -> tuple[str, float]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        begun = time.perf_counter()
        try:
            connection.connect((host, port))
            result = "connected"
        except TimeoutError:
            result = "timeout"
        except OSError as error:
            result = errno.errorcode.get(error.errno, str(error))
        return result, (time.perf_counter() - begun) * 1e6


def try_connect(host: str, port: int) -> None:
    attempts = [attempt(host, port) for _ in range(ATTEMPTS)]
    results = collections.Counter(result for result, _ in attempts)
    times = sorted(microseconds for _, microseconds in attempts)
    ends = ", ".join(f"{result} x{number}" for result, number in results.items())
    print(f"connect {host}:{port}: {ends}; median {times[len(times) // 2]:.0f} us, slowest {times[-1]:.0f} us")


def echo(host: str, port: int, text: str) -> None:
    with socket.create_connection((host, port), timeout=5) as connection:
        connection.sendall(f"ECHO {text}\r\n".encode())
        with connection.makefile("r") as answer:
            print(answer.readline().strip(), answer.readline().strip())


def keep(url: str) -> None:
    answered, failures = 0, []
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0.002)[0]:
        try:
            with opener.open(url, timeout=5) as reply:
                reply.read()
            answered += 1
        except OSError as error:  # an HTTPError too
            failures.append(f"{time.strftime('%H:%M:%S')} {error}")
    print(f"{answered} answered, {len(failures)} failed {'; '.join(failures[:5])}".rstrip(), flush=True)


def ping(connection: socket.socket) -> None:
    connection.sendall(b"PING\r\n")
    if connection.recv(64) != b"+PONG\r\n":
        raise ConnectionResetError(errno.ECONNRESET, "closed by the server")


def ping_many(host: str, port: int, count: int) -> None:
    # The server is on core 0 too: there the path of the bytes is measured, not how long a wake-up takes.
    os.sched_setaffinity(0, {0})
    times = []
    with socket.create_connection((host, port), timeout=5) as connection:
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            begun = time.perf_counter_ns()
            ping(connection)
            times.append(time.perf_counter_ns() - begun)
    times.sort()
    print(f"PING x{count}: p50 {times[count // 2] / 1000:.2f} us, p99 {times[count * 99 // 100] / 1000:.2f} us")


def report(kind: str, error: OSError, begun: float, count: int) -> None:
    name = errno.errorcode.get(error.errno, str(error))
    print(f"{kind} {name} at {time.monotonic_ns()} after {time.monotonic() - begun:.1f} s and {count} pings", flush=True)


def busy(connection: socket.socket) -> None:
    begun, count = time.monotonic(), 0
    try:
        while True:
            ping(connection)
            count += 1
            time.sleep(0.001)
    except OSError as error:
        # A blocked recv() of a redirected socket may say EAGAIN first; the socket knows what happened.
        code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or error.errno
        report("busy", OSError(code, os.strerror(code)), begun, count)


def idle(connection: socket.socket) -> None:
    begun = time.monotonic()
    waiter = select.poll()
    waiter.register(connection, select.POLLIN | select.POLLRDHUP)
    waiter.poll()
    code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or errno.ECONNRESET
    report("idle", OSError(code, os.strerror(code)), begun, 1)


def hold(host: str, port: int) -> None:
    connections = [socket.create_connection((host, port), timeout=5) for _ in range(2)]
    for connection in connections:
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ping(connection)
    for work, connection in zip((busy, idle), connections):
        threading.Thread(target=work, args=(connection,), daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


def main() -> None:
    words = sys.argv[1:]
    if len(words) == 3 and words[0] == "get":
        ask("GET", words[1], int(words[2]), [])
    elif len(words) >= 4 and words[0] == "ask":
        ask(words[1], words[2], int(words[3]), words[4:])
    elif len(words) == 3 and words[0] == "try":
        try_connect(words[1], int(words[2]))
    elif len(words) == 4 and words[0] == "ping":
        ping_many(words[1], int(words[2]), int(words[3]))
    elif len(words) == 4 and words[0] == "echo":
        echo(words[1], int(words[2]), words[3])
    elif len(words) == 2 and words[0] == "keep":
        keep(words[1])
    elif len(words) == 3 and words[0] == "hold":
        hold(words[1], int(words[2]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
