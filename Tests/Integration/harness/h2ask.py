# SPDX-License-Identifier: Apache-2.0
"""A client of HTTP/1.1 or HTTP/2 whose every step is known: `h2ask.py VERSION ADDRESS PORT PATH KIND COUNT` prints JSON.

KIND `get`: status, length and digest of the answer; `post`: the same with COUNT bytes of the tests' stream as a body.
`echo`: sends COUNT pieces, each when the one before it has come back: both directions are open at once. `cancel`: reads
COUNT bytes, then ends the stream (the connection of HTTP/1.1). HTTP/2 by h2, HTTP/1.1 by sockets; it runs as it is.
"""

import hashlib
import json
import socket
import sys

import h2.config
import h2.connection
import h2.errors
import h2.events
from peer import stretch

PIECE = 1000


class _HTTP2:
    def __init__(self, address, port, path, method):
        self._socket = socket.create_connection((address, port), timeout=60)
        self._connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._connection.initiate_connection()
        self.status, self._told, self.is_whole = None, bytearray(), False
        self._connection.send_headers(1, [
            (":method", method), (":scheme", "http"), (":path", path), (":authority", address)],
            end_stream=method == "GET")
        self._flush()

    def _flush(self):
        self._socket.sendall(self._connection.data_to_send())

    def _receive(self):
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError("the connection was closed")
        for event in self._connection.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self.status = int(dict(event.headers)[":status"])
            elif isinstance(event, h2.events.DataReceived):
                self._told += event.data
                self._connection.acknowledge_received_data(event.flow_controlled_length, 1)
            elif isinstance(event, h2.events.StreamEnded):
                self.is_whole = True
            elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                raise ConnectionError(repr(event))
        self._flush()

    def send(self, data, last=False):
        while True:
            room = min(self._connection.local_flow_control_window(1), self._connection.max_outbound_frame_size)
            piece, data = data[:room], data[room:]
            if piece or not data:
                self._connection.send_data(1, piece, end_stream=last and not data)
                self._flush()
            if not data:
                return
            if room <= 0:
                self._receive()

    def read(self, count):
        """That many bytes of the answer, fewer at its end."""
        while len(self._told) < count and not self.is_whole:
            self._receive()
        found, self._told = bytes(self._told[:count]), self._told[count:]
        return found

    def cancel(self):
        self._connection.reset_stream(1, h2.errors.ErrorCodes.CANCEL)
        self._flush()


class _HTTP1:
    def __init__(self, address, port, path, method):
        self._socket = socket.create_connection((address, port), timeout=60)
        self._file = self._socket.makefile("rb")
        coding = "" if method == "GET" else "Transfer-Encoding: chunked\r\n"
        self._socket.sendall(f"{method} {path} HTTP/1.1\r\nHost: {address}\r\n{coding}\r\n".encode())
        self.status, self._left, self._chunked, self.is_whole = None, 0, False, False

    def _head(self):
        self.status = int(self._file.readline().split()[1])
        while (line := self._file.readline().strip().lower()):
            name, _, value = line.partition(b":")
            if name == b"content-length":
                self._left = int(value)
            self._chunked = self._chunked or (name == b"transfer-encoding" and b"chunked" in value)
        self.is_whole = not self._chunked and not self._left

    def send(self, data, last=False):
        chunk = b"%x\r\n%s\r\n" % (len(data), data) if data else b""
        self._socket.sendall(chunk + (b"0\r\n\r\n" if last else b""))

    def read(self, count):
        if self.status is None:
            self._head()
        found = b""
        while len(found) < count and not self.is_whole:
            if self._chunked and not self._left:
                self._left = int(self._file.readline().split(b";")[0], 16)
                if not self._left:
                    self._file.readline()
                    self.is_whole = True
                    break
            data = self._file.read(min(self._left, count - len(found)))
            if not data:
                raise ConnectionError("the connection was closed within the answer")
            found += data
            self._left -= len(data)
            if self._chunked and not self._left:
                self._file.readline()
            elif not self._left:
                self.is_whole = True
        return found

    def cancel(self):
        self._file.close()
        self._socket.close()


def main(version, address, port, path, kind, count):
    count = int(count)
    method = "GET" if kind in ("get", "cancel") else "POST"
    client = (_HTTP2 if version == "2" else _HTTP1)(address, int(port), path, method)
    if kind == "post":
        for start in range(0, count, 1 << 16):
            client.send(stretch(start, min(1 << 16, count - start)))
        client.send(b"", last=True)
    found = {}
    if kind == "echo":
        for number in range(count):
            piece = stretch(number * PIECE, PIECE)
            client.send(piece)
            if client.read(PIECE) != piece:
                raise SystemExit(f"piece {number} came back changed")
        client.send(b"", last=True)
        rest = client.read(1)
        found = {"pieces": count, "rest": len(rest), "whole": client.is_whole}
    elif kind == "cancel":
        found = {"length": len(client.read(count))}
        client.cancel()
    else:
        body = client.read(1 << 30)
        found = {"length": len(body), "digest": hashlib.sha256(body).hexdigest(), "text": body[:100].decode("latin-1")}
    print(json.dumps({"status": client.status, **found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
