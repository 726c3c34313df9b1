# SPDX-License-Identifier: Apache-2.0
"""Who dials a server of mutual TLS. PEM: the certificate that it shows, with its key; ROOT: whom it believes.

    mtlsclient.py handshakes ADDRESS PORT PEM ROOT SECONDS   one after another; {"handshakes", "seconds"}.
                                                            PEM may be a directory of them, used in turns
    mtlsclient.py idle ADDRESS PORT PEM ROOT COUNT           holds so many sessions of HTTP/2 without a request, and answers PINGs
    mtlsclient.py flood ADDRESS PORT PEM ROOT RATE           handshakes at a rate until the end of its input; how many
    mtlsclient.py serve ADDRESS PORT PEM ROOT 0              whom a flood can be aimed at in place of a proxy
    mtlsclient.py slow ADDRESS PORT PEM ROOT COUNT           begins so many, a byte of each in a second
    mtlsclient.py memory PEM ROOT SECONDS                    no network: the server's part of a handshake, {"us"}
    mtlsclient.py cipher SECONDS                             openssl speed: to encrypt and decrypt a KB, {"us"}

All but the first and the last two say "ready" and end with their input. It runs inside a pod, with the standard library only.
"""

import itertools
import json
import re
import resource
import selectors
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

# RFC 9113: the client's preface with empty settings, and a PING.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
PING, PONG, SETTINGS = 6, bytes.fromhex("0000080601"), 4
RECORD = 16 << 10


def context(is_server, pem, root):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(root)
    made.load_cert_chain(pem)
    made.set_alpn_protocols(["h2"])
    if is_server:
        made.num_tickets = 0
    return made


def handshake(address, tls):
    plain = socket.create_connection(address, timeout=10)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return tls.wrap_socket(plain)


# Of a directory, in a second: far more than there are handshakes.
MOST_SHOWN = 400


def shown(pem, root, seconds):
    """Contexts, one for each handshake: one and the same, or those of a directory in turns, from where the last run has ended.

    All are made before the first handshake. One takes longer to make than a handshake: what waits for it meanwhile would begin
    each with cold caches.
    """
    if not Path(pem).is_dir():
        return itertools.repeat(context(False, pem, root))
    place, files = Path(pem, "next"), sorted(Path(pem).glob("*.pem"))
    first = int(place.read_text()) if place.exists() else 0
    made = [context(False, files[number % len(files)], root) for number in range(first, first + int(MOST_SHOWN * seconds))]
    return noted(made, place, first)


def noted(contexts, place, first):
    for number, one in enumerate(contexts, first + 1):
        place.write_text(str(number))
        yield one


def handshakes(address, pem, root, seconds):
    contexts, count, began = shown(pem, root, seconds), 0, time.monotonic()
    while (elapsed := time.monotonic() - began) < seconds:
        with handshake(address, next(contexts)) as opened:
            opened.sendall(PREFACE)
            # TLS 1.3: our end is done before the other has read our certificate; its settings come after.
            if not opened.recv(1):
                sys.exit("the server has ended a connection")
        count += 1
    print(json.dumps({"handshakes": count, "seconds": elapsed}))


def is_ended():
    return sys.stdin in [key.fileobj for key, _ in _inputs.select(0)]


_inputs = selectors.DefaultSelector()


class Session:
    """One of HTTP/2. A PING that was answered says that all of it is there."""

    def __init__(self, address, tls):
        self.socket = handshake(address, tls)
        self.socket.sendall(PREFACE + bytes.fromhex("000008060000000000") + b"complete")
        self._data = b""
        self.is_answered = False
        while not self.is_answered:
            self.read()
        self.socket.setblocking(False)

    def read(self):
        received = self.socket.recv(RECORD)
        if not received:
            sys.exit("the server has ended a session")
        self._data += received
        while len(self._data) >= 9 and len(self._data) >= 9 + (length := int.from_bytes(self._data[:3], "big")):
            kind, flags, payload = self._data[3], self._data[4], self._data[9:9 + length]
            self._data = self._data[9 + length:]
            if kind == PING and flags & 1:
                self.is_answered = True
            elif kind == PING:
                self.socket.sendall(PONG + bytes(4) + payload)
            elif kind == SETTINGS and not flags & 1:
                self.socket.sendall(bytes.fromhex("000000040100000000"))


def idle(address, tls, count):
    watched = selectors.DefaultSelector()
    for _ in range(count):
        session = Session(address, tls)
        watched.register(session.socket, selectors.EVENT_READ, session)
    watched.register(sys.stdin, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in watched.select():
            if key.fileobj is sys.stdin:
                return
            try:
                key.data.read()
            except ssl.SSLWantReadError:
                pass  # a part of a record


def flood(address, tls, rate):
    """Whoever does not keep up is not made up for."""
    print("ready", flush=True)
    count, due = 0, time.monotonic()
    while not is_ended():
        try:
            handshake(address, tls).close()
            count += 1
        except OSError:
            pass
        due = max(due + 1 / rate, time.monotonic() - 0.1)
        time.sleep(max(0, due - time.monotonic()))
    print(count, flush=True)


def serve(address, tls, _number):
    """One connection after another, until the end of its input."""
    watched = selectors.DefaultSelector()
    listener = socket.create_server(address, backlog=128)
    for each in (listener, sys.stdin):
        watched.register(each, selectors.EVENT_READ)
    print("ready", flush=True)
    while sys.stdin not in (ready := [key.fileobj for key, _ in watched.select()]):
        plain, _ = ready[0].accept()
        plain.settimeout(10)
        try:
            with tls.wrap_socket(plain, server_side=True) as opened:
                opened.recv(RECORD)
        except OSError:
            pass  # who has dialled has gone
    listener.close()


def slow(address, tls, count):
    """Hellos whose end never comes."""
    outgoing = ssl.MemoryBIO()
    try:
        tls.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    except ssl.SSLWantReadError:
        pass
    hello = outgoing.read()
    opened = [socket.create_connection(address, timeout=10) for _ in range(count)]
    print("ready", flush=True)
    for place in range(len(hello) - 1):
        for each in opened:
            try:
                each.send(hello[place:place + 1])
            except OSError:
                pass  # its time was over
        if _inputs.select(1):
            return


def memory(pem, root, seconds):
    client, server = context(False, pem, root), context(True, pem, root)
    spent, count, began = 0, 0, time.monotonic()
    while time.monotonic() - began < seconds:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        far = server.wrap_bio(to_server, to_client, server_side=True)
        near = client.wrap_bio(to_client, to_server)
        pending = [near, far]
        while pending:
            each = pending.pop(0)
            started = time.thread_time_ns()
            try:
                each.do_handshake()
            except ssl.SSLWantReadError:
                pending.append(each)
            if each is far:
                spent += time.thread_time_ns() - started
        count += 1
    print(json.dumps({"us": spent / count / 1e3}))


def cipher(seconds):
    total = 0.0
    for direction in ([], ["-decrypt"]):
        output = subprocess.run(
            ["openssl", "speed", "-seconds", str(max(1, round(seconds))), "-bytes", str(RECORD), *direction,
             "-evp", "aes-128-gcm"], capture_output=True, text=True, check=True).stdout
        kilobytes, = re.findall(r"^AES-128-GCM\s+([\d.]+)k", output, re.MULTILINE | re.IGNORECASE)
        total += 1e6 / (float(kilobytes) * 1000 / 1024)
    print(json.dumps({"us": total}))


def main():
    what, *words = sys.argv[1:]
    if what == "cipher":
        return cipher(float(words[0]))
    if what == "memory":
        return memory(words[0], words[1], float(words[2]))
    host, port, pem, root, number = words
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if what in ("flood", "slow"):
        _inputs.register(sys.stdin, selectors.EVENT_READ)
    if what == "handshakes":
        return handshakes((host, int(port)), pem, root, float(number))
    {"idle": idle, "flood": flood, "slow": slow, "serve": serve}[what](
        (host, int(port)), context(what == "serve", pem, root), float(number) if what == "flood" else int(number))


if __name__ == "__main__":
    main()
