# SPDX-License-Identifier: Apache-2.0
"""Tunnels: `serve NAME PORT` takes upgrades of HTTP/1.1 and says everything twice, `serve2 NAME PORT` the same by extended
CONNECT of HTTP/2 (RFC 8441). `talk ADDRESS PORT PATH TEXT COUNT` opens one by an extended CONNECT, `dial` by an upgrade;
both send TEXT COUNT times and their end while they read, and print what they were told as JSON. A path that ends with /no
is refused.

It runs as it is.
"""

import base64
import hashlib
import json
import os
import socket
import socketserver
import sys
import threading

import h2.config
import h2.connection
import h2.events
import h2.settings


def accept(key):
    """What proves that a WebSocket was meant (RFC 6455 section 4.2.2)."""
    return base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()


class _Handler(socketserver.StreamRequestHandler):
    def handle(self):
        head, proof = [], ""
        while (line := self.rfile.readline().strip()):
            head.append(line.decode().lower())
            name, _, value = line.decode().partition(":")
            if name.lower() == "sec-websocket-key":
                proof = accept(value.strip())
        if not head:
            return
        if "upgrade: websocket" not in head:
            body = json.dumps({"pod": self.server.name}).encode()
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
            return
        if head[0].split()[1].endswith("/no"):
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        key = any(line.startswith("sec-websocket-key: ") and len(line) == 43 for line in head)
        self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         b"Sec-WebSocket-Accept: %s\r\n\r\n" % proof.encode())
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


class _Handler2(socketserver.BaseRequestHandler):
    def handle(self):
        connection = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.local_settings = h2.settings.Settings(
            client=False, initial_values={h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
        connection.initiate_connection()
        # What is to be said on each tunnel, and whether its client has ended.
        waiting, ended = {}, set()
        while True:
            for stream in list(waiting):
                waiting[stream] = _send(connection, stream, waiting[stream], stream in ended)
                if waiting[stream] is None:
                    del waiting[stream]
            self.request.sendall(connection.data_to_send())
            data = self.request.recv(65536)
            if not data:
                return
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    self._begin(connection, event.stream_id, dict(event.headers), waiting)
                elif isinstance(event, h2.events.DataReceived):
                    connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    waiting[event.stream_id] += event.data * 2
                elif isinstance(event, h2.events.StreamEnded) and event.stream_id in waiting:
                    waiting[event.stream_id] += b"\nend"
                    ended.add(event.stream_id)
                elif isinstance(event, h2.events.StreamReset):
                    waiting.pop(event.stream_id, None)

    def _begin(self, connection, stream, headers, waiting):
        if headers.get(":protocol") != "websocket":
            body = json.dumps({"pod": self.server.name}).encode()
            connection.send_headers(stream, [(":status", "200"), ("content-length", str(len(body)))])
            return connection.send_data(stream, body, end_stream=True)
        if headers[":path"].endswith("/no"):
            return connection.send_headers(stream, [(":status", "403")], end_stream=True)
        connection.send_headers(stream, [(":status", "200")])
        key = "sec-websocket-key" in headers
        waiting[stream] = f"{headers[':method']} {headers[':path']} key={key}\n".encode()


def serve2(name, port):
    server = _Server(("::", int(port)), _Handler2)
    server.name = name
    print("ready", flush=True)
    server.serve_forever()


def dial(address, port, path, text, count):
    sock = socket.create_connection((address, int(port)), timeout=30)
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall((f"GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
    reader = sock.makefile("rb")
    status = reader.readline().decode().strip()
    fields = {}
    while line := reader.readline().decode().strip():
        name, _, value = line.partition(":")
        fields[name.lower()] = value.strip()
    if not status.startswith("HTTP/1.1 101 "):
        return print(json.dumps({"status": status}))
    def say():
        sock.sendall(text.encode() * int(count))
        sock.shutdown(socket.SHUT_WR)

    threading.Thread(target=say, daemon=True).start()
    first, _, rest = reader.read().decode().partition("\n")
    print(json.dumps({
        "status": status, "upgrade": fields.get("upgrade"),
        "proven": fields.get("sec-websocket-accept") == accept(key), "first": first,
        "length": len(rest), "end": rest[-3:]}))


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


def _send(connection, stream, left, ends=True):
    """Sends what the windows let through, and the end behind the last byte if it `ends`: then there is `None` left."""
    while left or left is not None and ends:
        room = min(connection.local_flow_control_window(stream), connection.max_outbound_frame_size)
        if left and room <= 0:
            return left
        piece, left = left[:room], left[room:]
        connection.send_data(stream, piece, end_stream=ends and not left)
        if ends and not left:
            return None
    return left


if __name__ == "__main__":
    {"serve": serve, "serve2": serve2, "talk": talk, "dial": dial}[sys.argv[1]](*sys.argv[2:])
