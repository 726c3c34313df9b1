# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with the encrypted part of a client's handshake (RFC 8446 section 4.4), by somebody who has the keys."""

from .tls13 import (ALERT, APPLICATION, CERTIFICATE, CERTIFICATE_VERIFY, CHANGE_CIPHER_SPEC, FINISHED, HANDSHAKE, KEY_UPDATE,
                    message, sized)

_MESSAGES = (CERTIFICATE, CERTIFICATE_VERIFY, FINISHED)


def changed(**texts):
    """A flight with other messages: each by its name, a function of the good one. Nothing: it is left out."""
    names = {CERTIFICATE: "certificate", CERTIFICATE_VERIFY: "verify", FINISHED: "finished"}

    def change(kind, text):
        make = texts.get(names[kind])
        return make(text) if make else text
    return lambda client: client.flight(change)


def _with_records(place, *records):
    def make(client):
        flight = client.flight()
        flight.records[place:place] = records
        return flight
    return make


def _nothing(_):
    return b""


def _swapped(client):
    flight = client.flight()
    flight.records[0], flight.records[1] = flight.records[1], flight.records[0]
    return flight


# Name -> how the flight is made, and the alert that it must meet.
FAULTS = {
    "no-certificate": (changed(certificate=lambda _: message(CERTIFICATE, sized(1, b"") + sized(3, b"")), verify=_nothing), 116),
    "certificate-left-out": (changed(certificate=_nothing), 10),
    "certificate-and-proof-left-out": (changed(certificate=_nothing, verify=_nothing), 10),
    "proof-left-out": (changed(verify=_nothing), 10),
    # The next record is encrypted with keys that the server does not use yet.
    "finished-left-out": (changed(finished=_nothing), 20),
    "certificate-twice": (changed(certificate=lambda text: text + text), 10),
    "proof-twice": (changed(verify=lambda text: text + text), 10),
    "finished-twice": (changed(finished=lambda text: text + text), 10),
    "out-of-order": (_swapped, 10),
    "proof-of-zeros": (changed(verify=lambda text: text[:8] + bytes(len(text) - 8)), 51),
    "proof-by-another-algorithm": (changed(verify=lambda text: text[:4] + b"\x08\x07" + text[6:]), 47),
    "finished-of-zeros": (changed(finished=lambda text: text[:4] + bytes(32)), 51),
    "finished-too-short": (changed(finished=lambda text: message(FINISHED, text[4:-1])), 50),
    "a-context-of-its-own": (changed(certificate=lambda text: message(CERTIFICATE, sized(1, b"x") + text[5:])), 50),
    "a-message-without-end": (changed(certificate=lambda text: text[:1] + b"\xff\xff\xff" + text[4:]), 47),
    "bytes-behind-finished": (changed(finished=lambda text: text + bytes([KEY_UPDATE])), 10),
    "a-new-key-amid": (_with_records(1, (HANDSHAKE, message(KEY_UPDATE, b"\x00"))), 10),
    "a-hello-amid": (_with_records(1, (HANDSHAKE, message(1, bytes(40)))), 10),
    "application-bytes-amid": (_with_records(2, (APPLICATION, b"early")), 10),
    "an-empty-part": (_with_records(1, (HANDSHAKE, b"")), 10),
    "another-type-of-record": (_with_records(1, (99, b"what")), 10),
    "an-encrypted-change-of-cipher": (_with_records(1, (CHANGE_CIPHER_SPEC, b"\x01")), 10),
    "an-alert-that-is-no-alert": (_with_records(1, (ALERT, b"\x02")), 10),
}


def in_pieces(size):
    """A good flight whose messages are in records of `size` bytes, the last of a message in one of its own."""
    def make(client):
        flight = client.flight()
        flight.records = [(kind, text[start:start + size]) for kind, text in flight.records
                          for start in range(0, len(text), size)]
        return flight
    return make


def random_fault(source):
    """How a flight is made with some bits of a message changed, and that perhaps cut. Never a good one."""
    kind = source.choice(_MESSAGES)

    def change(this, text):
        if this != kind:
            return text
        made = bytearray(text)
        for _ in range(source.choice((1, 1, 1, 8))):
            made[source.randrange(len(made))] ^= 1 << source.randrange(8)
        if source.random() < 0.2:
            del made[source.randrange(1, len(made)):]
        return bytes(made) if bytes(made) != text else text[:-1]
    return lambda client: client.flight(change)
