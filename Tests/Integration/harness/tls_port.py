# SPDX-License-Identifier: Apache-2.0
"""The port of tunnels as strangers find it: what of TLS it speaks, and what it makes of what is no TLS."""

import errno
import random
import socket
import ssl

from .handshakes import random_fault
from .hbone import PREFACE, Authority, tls
from .node import in_namespace
from .processes import PATIENCE, run
from .tls13 import Client, Ended
from .wire import TUNNELS

_ALERT, _FATAL = 21, 2


def _wanted(do):
    """Whether a step of a handshake wants more."""
    try:
        do()
        return False
    except ssl.SSLWantReadError:
        return True


def _expect_end(error):
    """That the server has ended the connection, which shutdown(2) tells by an error of its own."""
    if not isinstance(error, ConnectionError) and error.errno != errno.ENOTCONN:
        raise error


class TLSPort:
    """That of pod `destination`, dialled from pod `source` past the mesh, with a certificate of the mesh's authority."""

    def __init__(self, mesh, domain, source, destination):
        self._pod = mesh.pod(source)
        self.address = mesh.pod(destination).ipv4
        authority = Authority.of_file(mesh.here.agent.state / "authority.pem", domain, "test")
        self.svid, self.root = authority.svid(f"sa-{source}"), authority.root

    def enter(self, *argv):
        """A command in the namespace of who dials."""
        return self._pod.enter(*argv)

    def dial(self):
        return in_namespace(self._pod.path, lambda: socket.create_connection((self.address, TUNNELS), timeout=PATIENCE))

    def context(self, **changes):
        return tls(False, changes.pop("svid", self.svid), self.root, **changes)

    def handshake(self, context):
        """A connection that the server has accepted with all that the client shows: its settings have come. Raises ssl.SSLError
        with the server's alert, or ConnectionError."""
        opened = context.wrap_socket(self.dial())
        opened.sendall(PREFACE)
        if not opened.recv(1):
            raise ConnectionError("ended without an alert")
        return opened

    def refusal(self, context):
        """Why the server does not accept a client, as OpenSSL names it; nothing if it does."""
        try:
            self.handshake(context).close()
        except ssl.SSLError as error:
            return error.reason or str(error)
        except ConnectionError as error:
            return str(error)
        return ""

    def openssl(self, *words):
        """Whether `openssl s_client` agrees with the server on how to speak, with these options; and all that it says. It shows
        no certificate, so that it is refused afterwards."""
        done = run(*self.enter("openssl", "s_client", "-connect", f"{self.address}:{TUNNELS}", "-alpn", "h2", *words),
                   check=False, text="")
        return "Cipher is TLS_" in done.stdout, done.stdout + done.stderr

    def client_hello(self):
        """The record with the first message of a good client."""
        outgoing = ssl.MemoryBIO()
        _wanted(self.context().wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake)
        return outgoing.read()

    def answer(self, data):
        """All that the server says to these bytes and their end."""
        with self.dial() as plain:
            try:
                plain.sendall(data)
                plain.shutdown(socket.SHUT_WR)
                return b"".join(iter(lambda: plain.recv(1 << 16), b""))
            except OSError as error:
                _expect_end(error)
                return b""

    def alert(self, data):
        """The number of the fatal alert that these bytes meet in clear (RFC 8446 section 6); None if there is none."""
        answer = self.answer(data)
        return answer[6] if len(answer) == 7 and answer[0] == _ALERT and answer[5] == _FATAL else None

    def spoilt(self, source):
        """A good handshake, of whose encrypted part one bit is another on the way, until the server has ended it."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = self.context().wrap_bio(incoming, outgoing)
        with self.dial() as plain:
            while _wanted(client.do_handshake):
                plain.sendall(outgoing.read())
                received = plain.recv(1 << 16)
                assert received, "the server has ended a good handshake"
                incoming.write(received)
            client.write(PREFACE)
            data = bytearray(outgoing.read())
            # Past the change of cipher, which has six bytes and no meaning, and past heads of records.
            data[source.randrange(11, len(data))] ^= 1 << source.randrange(8)
            try:
                plain.sendall(data)
                plain.shutdown(socket.SHUT_WR)
                while plain.recv(1 << 16):
                    pass
            except OSError as error:
                _expect_end(error)

    def changed(self, make):
        """A handshake of which an encrypted message is made wrong by who has its keys."""
        client = Client(self.dial(), self.svid)
        try:
            client.answer(make(client), PREFACE)
        except Ended:
            return
        finally:
            client.close()
        raise AssertionError("the server has taken a handshake with a message that is wrong")

    def fuzz(self, count, seed):
        """So many connections with something wrong, each until the server has ended it."""
        source, hello = random.Random(seed), self.client_hello()
        for number in range(count):
            kind = source.choice(_KINDS)
            if kind is _SPOILT:
                self.spoilt(source)
            elif kind is _CHANGED:
                self.changed(random_fault(source))
            else:
                self.answer(kind(source, bytearray(hello)))


def _flipped(source, hello):
    for _ in range(source.randint(1, 8)):
        hello[source.randrange(len(hello))] ^= 1 << source.randrange(8)
    return bytes(hello)


def _cut(source, hello):
    return bytes(hello[:source.randrange(len(hello))])


def _grown(source, hello):
    place = source.randrange(len(hello))
    return bytes(hello[:place] + source.randbytes(source.randint(1, 64)) + hello[place:])


def _in_pieces(source, hello):
    """The message over many records, some of them empty, some of another type."""
    message, made = hello[5:], b""
    while message:
        size = source.randint(0, 40)
        made += bytes([source.choice((22, 22, 22, 20, 23, 21))]) + b"\x03\x01" + size.to_bytes(2, "big") + message[:size]
        message = message[size:]
    return made


def _records(source, _hello):
    """Heads of records of every type and length, with as much as may follow."""
    return b"".join(bytes([source.randrange(256)]) + b"\x03" + source.randbytes(1) + source.randbytes(2)
                    + source.randbytes(source.randint(0, 400)) for _ in range(source.randint(1, 8)))


def _repeated(source, hello):
    return bytes(hello) * source.randint(2, 40)


def _lengths(source, hello):
    """Other lengths of what is in the message: two bytes anywhere behind the random."""
    place = source.randrange(43, len(hello) - 2)
    hello[place:place + 2] = source.choice((b"\0\0", b"\xff\xff", b"\0\1", source.randbytes(2)))
    return bytes(hello)


# Good handshakes, of which an encrypted record is spoilt on the way, or an encrypted message made wrong by its sender.
_SPOILT, _CHANGED = "spoilt", "changed"
_KINDS = (_flipped, _cut, _grown, _in_pieces, _records, _repeated, _lengths, _SPOILT, _CHANGED)


def with_compression(hello):
    """A client's first message that offers DEFLATE beside no compression (RFC 8446 section 4.1.2: a fault)."""
    # Head of the record 5, of the message 4, version 2, random 32; then three lists.
    place = 5 + 4 + 2 + 32
    place += 1 + hello[place]
    place += 2 + int.from_bytes(hello[place:place + 2], "big")
    assert hello[place:place + 2] == b"\1\0"
    message = hello[9:place] + b"\2\1\0" + hello[place + 2:]
    return (hello[:3] + (len(message) + 4).to_bytes(2, "big") + hello[5:6] + len(message).to_bytes(3, "big") + message)
