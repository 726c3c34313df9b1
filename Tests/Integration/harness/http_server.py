# SPDX-License-Identifier: Apache-2.0
"""A server of HTTP/1.1 by Python's own library: `http_server.py PORT RECORD` writes a line of JSON for each request that
it has read, {"method", "target", "body"}, into the file RECORD. Its answers name the target in X-Path.

`/bytes/N`: N bytes of the tests' stream. `/echo`: what comes, as it comes. `/endless`: bytes until nobody takes them.
`/wait`: nothing, until the client goes. `/ended`: how many of these two have ended. Only the standard library and peer.py.
"""

import http.server
import json
import select
import socket
import sys
import threading

from peer import stretch

PIECE = 1 << 16


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    ended = 0
    lock = threading.Lock()
    record = None

    def handle_method(self):
        if self.path == "/echo":
            return self._echo()
        body = b"".join(self._body())
        with self.lock:
            line = {"method": self.command, "target": self.path, "body": body[:1000].decode("latin-1")}
            self.record.write(json.dumps(line) + "\n")
            self.record.flush()
        if self.path.startswith("/bytes/"):
            size = int(self.path.rsplit("/", 1)[1])
            self._head(("Content-Length", str(size)))
            for start in range(0, size, PIECE):
                self.wfile.write(stretch(start, min(PIECE, size - start)))
        elif self.path == "/endless":
            self._head(("Transfer-Encoding", "chunked"))
            self._until_gone(lambda: self._chunk(stretch(0, PIECE)))
        elif self.path == "/wait":
            self._until_gone(lambda: select.select([self.connection], [], []) and None)
        else:
            text = (str(self.ended) if self.path == "/ended" else str(len(body))).encode()
            self._head(("Content-Length", str(len(text))))
            if self.command != "HEAD":
                self.wfile.write(text)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = handle_method

    def _head(self, *fields):
        self.send_response(200)
        for name, value in (("X-Path", self.path), *fields):
            self.send_header(name, value)
        self.end_headers()

    def _echo(self):
        self._head(("Transfer-Encoding", "chunked"))
        for piece in self._body():
            self._chunk(piece)
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, piece):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        return True

    def _until_gone(self, step):
        try:
            while step():
                pass
        except OSError:
            pass
        with self.lock:
            type(self).ended += 1
        self.close_connection = True

    def _body(self):
        """The pieces of a body, as they come."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return
        left = int(self.headers.get("Content-Length", 0))
        while left and (piece := self.rfile.read1(min(left, PIECE))):
            left -= len(piece)
            yield piece

    def log_message(self, *_):
        pass


class _Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 256


def main(port, record):
    _Handler.record = open(record, "a")
    server = _Server(("::", int(port)), _Handler)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
