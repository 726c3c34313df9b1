# SPDX-License-Identifier: Apache-2.0
"""A server of HTTP/2 with prior knowledge, by h2: `h2serve.py NAME PORT` says what it was asked.

`/bytes/N` answers with N bytes; anything else with what was asked, and how many bytes came.
It runs as it is.
"""

import json
import socket
import sys
import threading

import h2.config
import h2.connection
import h2.events


class _Connection:
    def __init__(self, name, sock):
        self._name, self._socket = name, sock
        self._connection = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self._requests, self._left = {}, {}

    def serve(self):
        self._connection.initiate_connection()
        while True:
            self._send_bodies()
            self._socket.sendall(self._connection.data_to_send())
            data = self._socket.recv(65536)
            if not data:
                return
            for event in self._connection.receive_data(data):
                self._handle(event)

    def _handle(self, event):
        if isinstance(event, h2.events.RequestReceived):
            self._requests[event.stream_id] = [dict(event.headers), 0]
        elif isinstance(event, h2.events.DataReceived):
            self._requests[event.stream_id][1] += len(event.data)
            self._connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self._answer(event.stream_id, *self._requests.pop(event.stream_id))
        elif isinstance(event, h2.events.StreamReset):
            self._requests.pop(event.stream_id, None)
            self._left.pop(event.stream_id, None)

    def _answer(self, stream, headers, received):
        path = headers[":path"]
        if path.startswith("/bytes/"):
            body = bytes(int(path.rsplit("/", 1)[1]))
        else:
            body = json.dumps({"pod": self._name, "path": path, "received": received, "headers": headers}).encode()
        self._connection.send_headers(stream, [(":status", "200"), ("content-length", str(len(body)))])
        self._left[stream] = memoryview(body)

    def _send_bodies(self):
        for stream, body in list(self._left.items()):
            while body:
                room = min(self._connection.local_flow_control_window(stream), self._connection.max_outbound_frame_size)
                if room <= 0:
                    break
                self._connection.send_data(stream, bytes(body[:room]))
                body = self._left[stream] = body[room:]
            if not body:
                del self._left[stream]
                self._connection.end_stream(stream)


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
