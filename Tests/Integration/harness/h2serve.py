# SPDX-License-Identifier: Apache-2.0
"""A server of HTTP/2 with prior knowledge, by h2: `h2serve.py NAME PORT` says what it was asked.

`/bytes/N` answers with N bytes of the tests' stream. `/echo`: what comes, as it comes. `/endless`: bytes until nobody
takes them. `/wait`: nothing, until the client goes. `/ended`: how many of these two have ended. Anything else is answered
with what was asked, and how many bytes came. It runs as it is.
"""

import itertools
import json
import socket
import sys
import threading

import h2.config
import h2.connection
import h2.events
from peer import stretch

_PIECE = 1 << 16


class _Connection:
    ended = 0
    lock = threading.Lock()

    def __init__(self, name, sock):
        self._name, self._socket = name, sock
        self._connection = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        # Requests: [headers, bytes that came]. Answers that are not sent whole: [bytes, pieces to come, or None].
        self._requests, self._left = {}, {}
        # Streams that end only when their clients want it.
        self._lasting = set()

    def serve(self):
        try:
            self._connection.initiate_connection()
            while True:
                self._send_bodies()
                self._socket.sendall(self._connection.data_to_send())
                data = self._socket.recv(65536)
                if not data:
                    return
                for event in self._connection.receive_data(data):
                    self._handle(event)
        finally:
            for stream in list(self._lasting):
                self._end(stream)

    def _handle(self, event):
        if isinstance(event, h2.events.RequestReceived):
            headers = dict(event.headers)
            self._requests[event.stream_id] = [headers, 0]
            if headers[":path"] == "/echo":
                self._connection.send_headers(event.stream_id, [(":status", "200")])
                self._left[event.stream_id] = [b"", None]
        elif isinstance(event, h2.events.DataReceived):
            self._requests[event.stream_id][1] += len(event.data)
            self._connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if event.stream_id in self._left:
                self._left[event.stream_id][0] += event.data
        elif isinstance(event, h2.events.StreamEnded):
            self._answer(event.stream_id, *self._requests.pop(event.stream_id))
        elif isinstance(event, h2.events.StreamReset):
            self._requests.pop(event.stream_id, None)
            self._left.pop(event.stream_id, None)
            self._end(event.stream_id)

    def _end(self, stream):
        if stream in self._lasting:
            self._lasting.discard(stream)
            with self.lock:
                type(self).ended += 1

    def _answer(self, stream, headers, received):
        path, length, text = headers[":path"], [], b""
        pieces = iter(())
        if path == "/echo":
            self._left[stream][1] = pieces
            return
        if path in ("/endless", "/wait"):
            self._lasting.add(stream)
            if path == "/wait":
                return
            pieces = itertools.repeat(stretch(0, _PIECE))
        elif path.startswith("/bytes/"):
            size = int(path.rsplit("/", 1)[1])
            pieces = (stretch(start, min(_PIECE, size - start)) for start in range(0, size, _PIECE))
            length = [("content-length", str(size))]
        elif path == "/ended":
            text = str(self.ended).encode()
        else:
            text = json.dumps({"pod": self._name, "path": path, "received": received, "headers": headers}).encode()
            length = [("content-length", str(len(text)))]
        self._connection.send_headers(stream, [(":status", "200"), *length])
        self._left[stream] = [text, pieces]

    def _send_bodies(self):
        for stream, left in list(self._left.items()):
            while left[0] or left[1] is not None:
                left[0] = left[0] or next(left[1], b"")
                if not left[0]:
                    del self._left[stream]
                    self._connection.end_stream(stream)
                    break
                room = min(self._connection.local_flow_control_window(stream), self._connection.max_outbound_frame_size)
                if room <= 0:
                    break
                self._connection.send_data(stream, bytes(left[0][:room]))
                left[0] = left[0][room:]


def main(name, port):
    listener = socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
    print("ready", flush=True)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=_serve, args=(name, sock), daemon=True).start()


def _serve(name, sock):
    with sock:
        try:
            _Connection(name, sock).serve()
        except OSError:
            pass


if __name__ == "__main__":
    main(*sys.argv[1:])
