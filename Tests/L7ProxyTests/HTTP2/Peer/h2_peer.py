# SPDX-License-Identifier: Apache-2.0
"""The other end of a connection by h2, an independent implementation of HTTP/2 that knows nothing of ours.

usage: h2_peer.py server | h2_peer.py client REQUESTS SEED

Bytes come and go through standard input and output in turns: a length of four bytes, most significant first, then as
many bytes; each turn that is read is answered by one. The length 0xffffffff asks for the end: it is answered by a JSON
summary. As a server it sends each message back: fields in x-echo, content, trailers. As a client it sends requests of
all shapes and checks that they come back like that.
"""
import json
import random
import struct
import sys

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings


def main():
    side = sys.argv[1]
    config = h2.config.H2Configuration(client_side=side == "client", header_encoding="latin-1")
    connection = h2.connection.H2Connection(config)
    connection.initiate_connection()
    peer = Server(connection) if side == "server" else Client(connection, int(sys.argv[2]), int(sys.argv[3]))
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while True:
        (length,) = struct.unpack(">I", source.read(4))
        if length == 0xFFFFFFFF:
            answer = json.dumps(peer.summary()).encode()
        else:
            data = source.read(length)
            if data:
                for event in connection.receive_data(data):
                    peer.handle(event)
            peer.work()
            answer = connection.data_to_send()
        sink.write(struct.pack(">I", len(answer)) + answer)
        sink.flush()
        if length == 0xFFFFFFFF:
            return


class Peer:
    def __init__(self, connection):
        self.connection = connection
        self.messages = {}
        self.outgoing = {}
        self.resets = {}
        self.terminated = None

    def handle(self, event):
        stream = getattr(event, "stream_id", None)
        if isinstance(event, (h2.events.RequestReceived, h2.events.ResponseReceived)):
            self.messages[stream] = {"fields": event.headers, "body": b"", "trailers": [], "whole": False}
        elif isinstance(event, h2.events.DataReceived):
            self.messages[stream]["body"] += event.data
            self.connection.acknowledge_received_data(event.flow_controlled_length, stream)
        elif isinstance(event, h2.events.TrailersReceived):
            self.messages[stream]["trailers"] = event.headers
        elif isinstance(event, h2.events.StreamEnded):
            self.messages[stream]["whole"] = True
            self.ended(stream)
        elif isinstance(event, h2.events.StreamReset):
            self.resets[stream] = int(event.error_code)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.terminated = int(event.error_code)

    def ended(self, stream):
        pass

    def work(self):
        """Sends what the windows let through."""
        for stream, (body, trailers, padding) in list(self.outgoing.items()):
            while body:
                room = min(
                    self.connection.local_flow_control_window(stream) - padding - 1,
                    self.connection.max_outbound_frame_size - padding - 1, len(body))
                if room <= 0:
                    break
                self.connection.send_data(stream, body[:room], pad_length=padding or None)
                body = body[room:]
            if body:
                self.outgoing[stream] = (body, trailers, padding)
                continue
            del self.outgoing[stream]
            if trailers:
                self.connection.send_headers(stream, trailers, end_stream=True)
            else:
                self.connection.end_stream(stream)


class Server(Peer):
    def ended(self, stream):
        message = self.messages[stream]
        fields = [(name, value) for name, value in message["fields"]]
        self.connection.send_headers(stream, [(":status", "200"), ("x-echo", json.dumps(fields)), ("Server", "h2")])
        self.outgoing[stream] = (message["body"], message["trailers"], 0)

    def summary(self):
        return {"requests": len(self.messages), "resets": len(self.resets), "terminated": self.terminated}


class Client(Peer):
    def __init__(self, connection, count, seed):
        super().__init__(connection)
        self.random = random.Random(seed)
        self.left = count
        self.sent = {}

    def work(self):
        while self.left and self.connection.open_outbound_streams < 50:
            self.left -= 1
            self.request()
        super().work()

    def request(self):
        pick = self.random.choice
        stream = self.connection.get_next_available_stream_id()
        pseudo = [
            (":method", pick(["GET", "POST", "PUT", "DELETE", "PATCH", "M-X"])), (":scheme", pick(["http", "https"])),
            (":path", "/" + "".join(self.random.choices("abc/.-_~%41?&=", k=self.random.randrange(30))).replace("%", "%41")),
            (":authority", pick(["a", "a.b:80", "[::1]:8080", "10.0.0.1"])),
        ]
        self.random.shuffle(pseudo)
        fields = [
            ("x-%s" % "".join(self.random.choices("abc019", k=self.random.randrange(1, 9))),
             "".join(self.random.choices("abc ,;=\"\t\xe9", k=self.random.randrange(40))).strip(" \t"))
            for _ in range(self.random.randrange(12))
        ]
        fields += [("cookie", "c%d=v" % index) for index in range(self.random.randrange(4))]
        if self.random.random() < 0.3:
            fields.append(("te", "trailers"))
        if self.random.random() < 0.2:
            fields.append(("x-long", "y" * self.random.randrange(20000)))
        self.random.shuffle(fields)
        body = self.random.randbytes(pick([0, 0, 0, 1, 100, 100, 20000, 70000]))
        trailers = [("x-sum", "1"), ("grpc-status", "0")] if self.random.random() < 0.3 else []
        if body and self.random.random() < 0.3:
            fields.append(("content-length", str(len(body))))
        ends = not body and not trailers
        self.sent[stream] = {"pseudo": pseudo, "fields": fields, "body": body, "trailers": trailers}
        # h2 makes too long a frame of a long block with a priority.
        is_short = sum(len(value) for _, value in fields) < 10000
        priority = {"priority_weight": 7, "priority_depends_on": 0} if is_short and self.random.random() < 0.1 else {}
        latin = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pseudo + fields]
        self.connection.send_headers(stream, latin, end_stream=ends, **priority)
        if not ends:
            self.outgoing[stream] = (body, trailers, pick([0, 0, 0, 1, 255]))

    def summary(self):
        differences = []
        for stream, sent in self.sent.items():
            got = self.messages.get(stream)
            if got is None or not got["whole"]:
                differences.append("stream %d was not answered: reset with %s" % (stream, self.resets.get(stream)))
                continue
            fields = [field for field in sent["fields"] if field[0] not in ("cookie", "te", "content-length")]
            cookies = [value for name, value in sent["fields"] if name == "cookie"]
            expected = [list(field) for field in fields]
            echo = json.loads(dict(got["fields"])["x-echo"])
            seen = [field for field in echo["fields"] if field[0] not in ("cookie", "te", "content-length")]
            pseudo = dict(sent["pseudo"])
            for what, left, right in [
                ("fields", seen, expected),
                ("cookies", [v for n, v in echo["fields"] if n == "cookie"], ["; ".join(cookies)] if cookies else []),
                ("method", echo["method"], pseudo[":method"]), ("target", echo["target"], pseudo[":path"]),
                ("authority", echo["authority"], pseudo[":authority"]), ("body", got["body"], sent["body"]),
                ("trailers", [list(t) for t in got["trailers"]], [list(t) for t in sent["trailers"]]),
            ]:
                if left != right:
                    differences.append("stream %d, %s: %r is not %r" % (stream, what, left, right))
        return {"requests": len(self.sent), "terminated": self.terminated, "differences": differences[:10]}


main()
