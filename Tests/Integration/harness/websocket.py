# SPDX-License-Identifier: Apache-2.0
"""Tunnels: `serve NAME PORT` takes upgrades of HTTP/1.1 and says everything twice; `talk ADDRESS PORT PATH TEXT COUNT` opens
one by an extended CONNECT of HTTP/2 (RFC 8441), sends TEXT COUNT times and its end, and prints what it was told as JSON.

It runs as it is.
"""

import json
import socket
import socketserver
import sys

import h2.config
import h2.connection
import h2.events


class _Handler(socketserver.StreamRequestHandler):
    def handle(self):
        head = []
        while (line := self.rfile.readline().strip()):
            head.append(line.decode().lower())
        if not head:
            return
        if "upgrade: websocket" not in head:
            body = json.dumps({"pod": self.server.name}).encode()
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
            return
        if head[0].startswith("get /no"):
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        key = any(line.startswith("sec-websocket-key: ") and len(line) == 43 for line in head)
        self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        self.wfile.write(f"{head[0]} key={key}\n".encode())
        while data := self.request.recv(65536):
            self.wfile.write(data * 2)
        self.wfile.write(b"\nend")


class _Server(socketserver.ThreadingTCPServer):
    address_family, allow_reuse_address, daemon_threads = socket.AF_INET6, True, True

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def serve(name, port):
    server = _Server(("::", int(port)), _Handler)
    server.name = name
    print("ready", flush=True)
    server.serve_forever()


def talk(address, port, path, text, count):
    sock = socket.create_connection((address, int(port)), timeout=30)
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    connection.initiate_connection()
    stream, left, told, isWhole = 1, text.encode() * int(count), bytearray(), False
    found = {"status": None}
    connection.send_headers(stream, [
        (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", path),
        (":authority", address), ("sec-websocket-version", "13")])
    while not isWhole:
        if found["status"] == "200":
            left = _send(connection, stream, left)
        sock.sendall(connection.data_to_send())
        data = sock.recv(65536)
        if not data:
            break
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.RemoteSettingsChanged):
                changed = {int(code): setting.new_value for code, setting in event.changed_settings.items()}
                found["offered"] = found.get("offered") or changed.get(8) == 1
            elif isinstance(event, h2.events.ResponseReceived):
                found["status"] = dict(event.headers)[":status"]
            elif isinstance(event, h2.events.DataReceived):
                told += event.data
                connection.acknowledge_received_data(event.flow_controlled_length, stream)
            elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                isWhole = True
    first, _, rest = told.decode().partition("\n")
    print(json.dumps({**found, "first": first, "length": len(rest), "end": rest[-3:]}))


def _send(connection, stream, left):
    """Sends what the windows let through, and the end behind the last byte."""
    while left is not None:
        room = min(connection.local_flow_control_window(stream), connection.max_outbound_frame_size)
        if left and room <= 0:
            return left
        piece, left = left[:room], left[room:]
        connection.send_data(stream, piece, end_stream=not left)
        left = left or None
    return None


if __name__ == "__main__":
    {"serve": serve, "talk": talk}[sys.argv[1]](*sys.argv[2:])
