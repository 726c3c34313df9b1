# SPDX-License-Identifier: Apache-2.0
"""A client of TLS 1.3 whose every encrypted message can be made wrong before it is encrypted (RFC 8446).

X25519, TLS_AES_128_GCM_SHA256 and ECDSA with P-256, as our ports speak it.
"""

import hashlib
import hmac
import os
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .hbone import pem_blocks

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION = 20, 21, 22, 23
CERTIFICATE, CERTIFICATE_VERIFY, FINISHED, KEY_UPDATE = 11, 15, 20, 24
_CLIENT_HELLO, _SERVER_HELLO = 1, 2
_X25519, _AES_128_GCM_SHA256, _ECDSA_P256_SHA256 = b"\x00\x1d", b"\x13\x01", b"\x04\x03"
_VERIFY = b" " * 64 + b"TLS 1.3, client CertificateVerify\x00"
_EMPTY = hashlib.sha256().digest()


class Ended(Exception):
    """The server has ended the connection. `alert`: the number of what it said, None if nothing."""

    def __init__(self, alert):
        super().__init__(f"alert {alert}")
        self.alert = alert


def sized(count, data):
    """`data` behind its length in `count` bytes."""
    return len(data).to_bytes(count, "big") + data


def message(kind, body):
    return bytes([kind]) + sized(3, body)


def _hmac(key, data):
    return hmac.digest(key, data, "sha256")


def _expand(secret, label, context, count):
    """HKDF-Expand-Label of one block (section 7.1)."""
    info = count.to_bytes(2, "big") + sized(1, b"tls13 " + label) + sized(1, context)
    return _hmac(secret, info + b"\x01")[:count]


class _Keys:
    """Of one direction (section 7.3)."""

    def __init__(self, secret):
        self._cipher = AESGCM(_expand(secret, b"key", b"", 16))
        self._vector = int.from_bytes(_expand(secret, b"iv", b"", 12), "big")
        self._next = 0

    def _nonce(self):
        self._next += 1
        return (self._vector ^ (self._next - 1)).to_bytes(12, "big")

    def seal(self, kind, content):
        header = b"\x17\x03\x03" + (len(content) + 17).to_bytes(2, "big")
        return header + self._cipher.encrypt(self._nonce(), content + bytes([kind]), header)

    def open(self, header, body):
        content = self._cipher.decrypt(self._nonce(), body, header).rstrip(b"\x00")
        return content[-1], content[:-1]


@dataclass
class Flight:
    """What a client sends behind the server's Finished: records, each a kind and its content; then what the keys of the
    application's bytes are made from, both ways."""
    records: list
    own_secret: bytes
    server_secret: bytes


class Client:
    """One connection, over a socket that it owns. `svid`: PEM of certificates and their key."""

    def __init__(self, plain, svid):
        self._plain = plain
        self._chain = [x509.load_pem_x509_certificate(block).public_bytes(serialization.Encoding.DER)
                       for block in pem_blocks(svid, "CERTIFICATE")]
        self._key = serialization.load_pem_private_key(svid.encode(), None)
        self._reading = None
        self._received = b""
        self._transcript = b""
        self._hello()
        self._read_flight()

    def close(self):
        self._plain.close()

    # MARK: The hello and the server's flight

    def _hello(self):
        self._share = x25519.X25519PrivateKey.generate()
        public = self._share.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        extensions = b"".join(kind + sized(2, body) for kind, body in (
            (b"\x00\x2b", sized(1, b"\x03\x04")), (b"\x00\x0a", sized(2, _X25519)),
            (b"\x00\x0d", sized(2, _ECDSA_P256_SHA256 + b"\x08\x04")),
            (b"\x00\x33", sized(2, _X25519 + sized(2, public))), (b"\x00\x10", sized(2, sized(1, b"h2")))))
        hello = message(_CLIENT_HELLO, b"\x03\x03" + os.urandom(32) + sized(1, b"") + sized(2, _AES_128_GCM_SHA256)
                        + sized(1, b"\x00") + sized(2, extensions))
        self._transcript += hello
        self._plain.sendall(b"\x16\x03\x01" + sized(2, hello))

    def _read_flight(self):
        pending = b""
        while True:
            kind, content = self.read()
            if kind == CHANGE_CIPHER_SPEC:
                continue
            assert kind == HANDSHAKE, f"a record of type {kind} amid the handshake"
            pending += content
            while len(pending) >= 4 and len(pending) >= 4 + int.from_bytes(pending[1:4], "big"):
                size = 4 + int.from_bytes(pending[1:4], "big")
                one, pending = pending[:size], pending[size:]
                self._transcript += one
                if one[0] == _SERVER_HELLO:
                    self._agree(one)
                elif one[0] == FINISHED:
                    return

    def _agree(self, hello):
        # The share is the last 32 bytes of its extension.
        place = hello.index(b"\x00\x33\x00\x24" + _X25519 + b"\x00\x20") + 8
        shared = self._share.exchange(x25519.X25519PublicKey.from_public_bytes(hello[place:place + 32]))
        early = _hmac(bytes(32), bytes(32))
        handshake = _hmac(_expand(early, b"derived", _EMPTY, 32), shared)
        self._master = _hmac(_expand(handshake, b"derived", _EMPTY, 32), bytes(32))
        self._secret = _expand(handshake, b"c hs traffic", self._hash(), 32)
        self._reading = _Keys(_expand(handshake, b"s hs traffic", self._hash(), 32))

    def _hash(self):
        return hashlib.sha256(self._transcript).digest()

    # MARK: Our flight

    def flight(self, change=lambda kind, text: text):
        """The messages of a good client, each changed by `change`, or left out, before what follows is made from it."""
        before = self._hash()
        records = []
        for kind in (CERTIFICATE, CERTIFICATE_VERIFY, FINISHED):
            made = change(kind, self._message(kind))
            self._transcript += made
            if made:
                records.append((HANDSHAKE, made))
        secrets = (_expand(self._master, label, before, 32) for label in (b"c ap traffic", b"s ap traffic"))
        return Flight(records, *secrets)

    def _message(self, kind):
        if kind == CERTIFICATE:
            entries = b"".join(sized(3, certificate) + sized(2, b"") for certificate in self._chain)
            return message(kind, sized(1, b"") + sized(3, entries))
        if kind == CERTIFICATE_VERIFY:
            signature = self._key.sign(_VERIFY + self._hash(), ec.ECDSA(hashes.SHA256()))
            return message(kind, _ECDSA_P256_SHA256 + sized(2, signature))
        return message(kind, _hmac(_expand(self._secret, b"finished", b"", 32), self._hash()))

    def send(self, flight, application):
        """The flight, and bytes of the application behind it, if it comes so far."""
        keys = _Keys(self._secret)
        data = b"".join(keys.seal(kind, content) for kind, content in flight.records)
        self._reading = _Keys(flight.server_secret)
        self._plain.sendall(data + _Keys(flight.own_secret).seal(APPLICATION, application))

    def answer(self, flight, application):
        """Sends the same, and returns what the server says first. Raises Ended, with the alert, if it has refused."""
        try:
            self.send(flight, application)
            while True:
                kind, content = self.read()
                if kind == APPLICATION:
                    return content
        except ConnectionError:
            raise Ended(None) from None

    # MARK: Records

    def _exactly(self, count):
        while len(self._received) < count:
            data = self._plain.recv(1 << 16)
            if not data:
                raise Ended(None)
            self._received += data
        taken, self._received = self._received[:count], self._received[count:]
        return taken

    def read(self):
        """The kind of the next record, and what was in it. Raises Ended at an alert."""
        header = self._exactly(5)
        body = self._exactly(int.from_bytes(header[3:], "big"))
        kind, content = (header[0], body) if header[0] != APPLICATION else self._reading.open(header, body)
        if kind == ALERT:
            raise Ended(content[1])
        return kind, content
