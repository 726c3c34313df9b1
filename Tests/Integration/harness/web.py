# SPDX-License-Identifier: Apache-2.0
"""HTTP inside pods: `serve NAME PORT` says what it was asked (`/bytes/N`: N bytes; a PUT: how many came), `ask` does
what each line of standard input says, `steady ADDRESS PORT [new|kept [REST]]` makes request after request and tells at each line how that
goes, `judged ADDRESS PORT PATH` tells of each at the end.

Only the standard library: this file runs as it is.
"""

import collections
import http.client
import http.server
import json
import select
import socket
import sys
import time


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    name = ""

    def do_POST(self):
        left = int(self.headers.get("Content-Length", 0))
        self._answer(received=len(self.rfile.read(left)))

    def do_GET(self):
        if self.path.startswith("/bytes/"):
            return self._send_bytes(int(self.path.rsplit("/", 1)[1]))
        self._answer()

    def _answer(self, **more):
        body = json.dumps({"pod": self.name, "path": self.path, **more, "client": self.client_address[:2],
                           "headers": {name.lower(): value for name, value in self.headers.items()}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_bytes(self, size):
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        piece = bytes(1 << 20)
        for start in range(0, size, len(piece)):
            self.wfile.write(piece[:size - start])

    def do_PUT(self):
        """Takes a body in, with a length or in chunks, and says how long it was."""
        received = 0
        left = int(self.headers.get("Content-Length", -1))
        if left < 0:
            while size := int(self.rfile.readline().split(b";")[0], 16):
                received += self._take(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
        else:
            received = self._take(left)
        body = json.dumps({"pod": self.name, "received": received}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _take(self, size):
        taken = 0
        while taken < size and (data := self.rfile.read(min(size - taken, 1 << 20))):
            taken += len(data)
        return taken

    def log_message(self, *_):
        pass


class _Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 1024

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def serve(name, port):
    _Handler.name = name
    server = _Server(("::", int(port)), _Handler)
    print("ready", flush=True)
    server.serve_forever()


class _Client:
    def __init__(self):
        self._kept = None

    def one(self, address, port, path, headers, keep):
        """A request: status, answer, whom getpeername() names, seconds. Or the number of the error."""
        began = time.monotonic()
        try:
            connection = self._kept if keep and self._kept else http.client.HTTPConnection(address, port, timeout=30)
            self._kept = connection if keep else None
            connection.request("GET", path, headers=headers)
            peer = connection.sock.getpeername()[:2]
            response = connection.getresponse()
            body = response.read()
            found = {"status": response.status, "peer": list(peer), "headers": dict(response.getheaders())}
            if response.status == 200:
                found["answer"] = json.loads(body)
            if not keep:
                connection.close()
        except OSError as error:
            self._kept = None
            found = {"errno": error.errno or -1, "error": str(error)}
        except http.client.HTTPException as error:
            self._kept = None
            found = {"errno": -1, "error": repr(error)}
        found["seconds"] = time.monotonic() - began
        return found


def ask():
    client = _Client()
    print("ready", flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        times = command.pop("times")
        answers = [client.one(**command) for _ in range(times)]
        if times > 1:
            # Pods and statuses, counted.
            answers = collections.Counter(
                answer["answer"]["pod"] if answer.get("status") == 200 else str(answer.get("status") or answer["error"])
                for answer in answers)
        print(json.dumps(answers), flush=True)


def steady(address, port, how="new", rest="0.001"):
    """Each request has a connection of its own, or all one that is kept. Times are of time.monotonic(), which is the
    machine's."""
    client = _Client()
    report = {"ok": 0, "failed": [], "latest": 0}
    print("ready", flush=True)
    while True:
        began = time.monotonic()
        found = client.one(address, int(port), "/", {}, how == "kept")
        if found.get("status") == 200:
            report["ok"] += 1
            report["latest"] = began
        elif len(report["failed"]) < 1000:
            report["failed"].append([began, str(found.get("status") or found["error"])])
        if select.select([sys.stdin], [], [], float(rest))[0]:
            if not sys.stdin.readline():
                return
            print(json.dumps(report), flush=True)


def judged(address, port, path):
    """Asks for one path by a connection that is kept, then by a new one, until the end of standard input; then a line for
    each request: when it began, when it ended, kept or new, status or error."""
    clients = {"kept": _Client(), "new": _Client()}
    report = []
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        for kind, client in clients.items():
            began = time.monotonic()
            found = client.one(address, int(port), path, {}, kind == "kept")
            report.append((began, time.monotonic(), kind, str(found.get("status") or found["error"])))
    for line in report:
        print(*line)


if __name__ == "__main__":
    {"serve": serve, "ask": ask, "steady": steady, "judged": judged}[sys.argv[1]](*sys.argv[2:])
