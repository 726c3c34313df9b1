# SPDX-License-Identifier: Apache-2.0
"""Requests of random shape whose responses are checked: `web_client.py ADDRESS PORT CONNECTIONS SEED REST`, REST being
milliseconds between two requests of a connection. Says "ready", goes on until the end of its input, and then says what it
has done, as JSON. A failure is a line of JSON when it happens.

Only the standard library and the pattern of web_server.py: this file runs inside a pod.
"""

import collections
import json
import random
import socket
import sys
import threading
import time

from web_server import pattern

TIMEOUT = 15


_reporting = threading.Lock()


def report(entry):
    """A line of its own, whatever other threads report."""
    with _reporting:
        print(json.dumps(entry), flush=True)


class Cut(Exception):
    """The connection ended where a response had not."""


class Wrong(Exception):
    """A response that is not the request's."""


class Connection:
    """A kept connection and what a response of it is."""

    def __init__(self, address, port):
        self._socket = socket.create_connection((address, port), timeout=TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self.requests = 0

    def send(self, data):
        self._socket.sendall(data)
        self.requests += 1

    def _more(self, count=262_144):
        received = self._socket.recv(count)
        if not received:
            raise Cut("the end of the connection")
        self._received += received

    def line_end(self, mark):
        while (end := self._received.find(mark)) < 0:
            self._more()
        head, self._received = self._received[:end], self._received[end + len(mark):]
        return head.decode("latin-1")

    def exactly(self, count):
        while len(self._received) < count:
            self._more()
        data, self._received = self._received[:count], self._received[count:]
        return data

    def head(self):
        status, *fields = self.line_end(b"\r\n\r\n").split("\r\n")
        return int(status.split(" ")[1]), {name.lower(): value.strip() for name, _, value in
                                           (field.partition(":") for field in fields)}

    def body(self, fields):
        if fields.get("transfer-encoding") == "chunked":
            pieces = []
            while (size := int(self.line_end(b"\r\n"), 16)):
                pieces.append(self.exactly(size))
                if self.exactly(2) != b"\r\n":
                    raise Wrong("a chunk without its end")
            if self.line_end(b"\r\n") != "":
                raise Wrong("trailer fields that nobody has sent")
            return b"".join(pieces)
        return self.exactly(int(fields.get("content-length", 0)))

    def close(self, resetting=False):
        if resetting:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._socket.close()


class Request:
    """One of random shape, with what its response has to be."""

    def __init__(self, source, number):
        kind = source.random()
        self.number = number
        self.method = "POST" if kind < 0.18 else "HEAD" if kind < 0.23 else "GET"
        self.gives_up = kind > 0.985
        first = source.randrange(65537)
        size = source.choice((0, 1, 61, source.randrange(2000), source.randrange(65536)))
        if source.random() < 0.04:
            size = source.randrange(1 << 20)
        slow = "slow" if source.random() < 0.03 and self.method == "GET" else "bytes"
        self.expected = pattern(first, min(size, 300_000 if self.method == "POST" else size))
        target = "/echo" if self.method == "POST" else f"/{slow}/{size}?from={first}"
        self.closes = source.random() < 0.02
        head = f"{self.method} {target} HTTP/1.1\r\nHost: web.test\r\nX-Id: {number}\r\n"
        if self.closes:
            head += "Connection: close\r\n"
        if self.method != "POST":
            self.data = f"{head}\r\n".encode()
        elif source.random() < 0.5:
            self.data = f"{head}Content-Length: {len(self.expected)}\r\n\r\n".encode() + self.expected
        else:
            half = len(self.expected) // 2
            pieces = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece)
                              for piece in (self.expected[:half], self.expected[half:]) if piece)
            self.data = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + pieces + b"0\r\n\r\n"


class Worker(threading.Thread):
    def __init__(self, address, port, index, seed, rest, ending):
        super().__init__(daemon=True)
        self._address = (address, port)
        self._source = random.Random(seed * 1000 + index)
        self._index = index
        self._rest = rest / 1000
        self._ending = ending
        self._connection = None
        self.count = collections.Counter()
        self.seconds = []
        self.start()

    def run(self):
        number = 0
        while not self._ending.wait(self._rest):
            number += 1
            request = Request(self._source, f"{self._index}-{number}")
            began = time.monotonic()
            self.seen = {}
            try:
                self._one(request)
                self.count[request.method] += 1
                self.seconds.append(time.monotonic() - began)
            except (OSError, Cut, Wrong, ValueError, IndexError) as error:
                self._failed(request, began, error)
        if self._connection:
            self._connection.close()

    def _one(self, request):
        if not self._connection:
            self._connection = Connection(*self._address)
            self.count["connections"] += 1
        connection = self._connection
        if request.gives_up:
            # A client that goes away while its response is on the way: all that was for it has to be given back.
            connection.send(request.data[:self._source.randrange(len(request.data) + 1)])
            time.sleep(self._source.choice((0, 0.001, 0.02)))
            connection.close(resetting=self._source.random() < 0.5)
            self._connection = None
            self.count["given up"] += 1
            return
        connection.send(request.data)
        status, fields = connection.head()
        self.seen = {"status": status, "backend": fields.get("x-backend")}
        if status != 200:
            raise Wrong(f"status {status}")
        if fields.get("x-id") != request.number:
            raise Wrong(f"the response to {fields.get('x-id')}, not to {request.number}")
        if request.method != "HEAD" and (body := connection.body(fields)) != request.expected:
            raise Wrong(f"{len(body)} bytes that are not the expected {len(request.expected)}")
        if request.closes or fields.get("connection") == "close" or self._source.random() < 0.01:
            connection.close()
            self._connection = None

    def _failed(self, request, began, error):
        kind = "status" if isinstance(error, Wrong) and self.seen.get("status") != 200 else \
            "wrong" if isinstance(error, (Wrong, ValueError, IndexError)) else \
            "timeout" if isinstance(error, TimeoutError) else "cut"
        report({"kind": kind, "method": request.method, "began": began, "ended": time.monotonic(),
                "error": repr(error), "line": request.data.split(b"\r\n")[0].decode(),
                "kept": self._connection is not None and self._connection.requests > 1, **self.seen})
        self.count["failed"] += 1
        if self._connection:
            self._connection.close()
            self._connection = None


def main(address, port, connections, seed, rest):
    ending = threading.Event()
    workers = [Worker(address, int(port), index, int(seed), float(rest), ending) for index in range(int(connections))]
    print("ready", flush=True)
    sys.stdin.read()
    ending.set()
    for worker in workers:
        worker.join(2 * TIMEOUT)
    if any(worker.is_alive() for worker in workers):
        sys.exit("a request hangs")
    times = sorted(value for worker in workers for value in worker.seconds)
    total = sum((worker.count for worker in workers), collections.Counter())
    report({"total": total, "p99_ms": 1000 * times[len(times) * 99 // 100] if times else None})


if __name__ == "__main__":
    main(*sys.argv[1:])
