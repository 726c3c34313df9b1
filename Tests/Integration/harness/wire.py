# SPDX-License-Identifier: Apache-2.0
"""What passes between two nodes: every frame, and what of it is TLS."""

import collections
import socket
import struct
import threading

from .node import in_namespace
from .processes import run

TUNNELS = 15008  # the port of tunnels
_ETH_P_ALL, _SO_RCVBUFFORCE, _SOL_PACKET, _PACKET_STATISTICS = 3, 33, 263, 6
_SYN = 2
# RFC 8446 section 5.1; what follows a change of cipher is encrypted, and says that it is application data.
RECORDS = {20: "change_cipher_spec", 21: "alert", 22: "handshake", 23: "application_data"}
Segment = collections.namedtuple("Segment", "source destination ports sequence is_first payload")


def cable(near, far):
    """Makes one network of the bridges of two nodes; the Wire between them. The second node gets other addresses of its own
    on it."""
    run("ip", "-n", near.netns, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", far.netns)
    run("ip", "-n", far.netns, "-batch", "-", text="".join(f"{words}\n" for words in (
        "addr del 10.81.0.1/16 dev br0", "addr add 10.81.0.2/16 dev br0",
        "addr del fd81::1/64 dev br0", "addr add fd81::2/64 dev br0 nodad", "link set wire up")))
    run("ip", "-n", near.netns, "link", "set", "wire", "up")
    wire = Wire(near, "wire")
    for node in (near, far):
        run("ip", "-n", node.netns, "link", "set", "wire", "master", "br0")
    return wire


class Wire:
    """Everything that passes a device, or without one any device of the node, from now on. A thread takes it, so that no
    buffer runs over."""

    def __init__(self, node, device=None):
        def listen():
            listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0 if device else socket.htons(_ETH_P_ALL))
            listener.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 64 << 20)
            if device:
                listener.bind((device, _ETH_P_ALL))
            return listener
        self._listener = in_namespace(f"/run/netns/{node.netns}", listen)
        self._listener.setblocking(False)
        self._frames = []
        self._seen = self._lost = 0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        while not self._ended.wait(0.02):
            self.frames()

    def frames(self):
        """All so far."""
        with self._lock:
            while True:
                try:
                    self._frames.append(self._listener.recv(1 << 17))
                except BlockingIOError:
                    return list(self._frames)

    def has(self, marker):
        return any(marker in frame for frame in self.frames())

    def counts(self):
        """(frames that the kernel has shown, how many of them were lost) so far."""
        with self._lock:
            # The kernel begins anew with each answer (packet(7)).
            seen, lost = struct.unpack("II", self._listener.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
            self._seen += seen
            self._lost += lost
            return self._seen, self._lost

    def close(self):
        self._ended.set()
        self._reader.join()
        self._listener.close()


def segments(frames):
    """Of the frames those with TCP, over IPv4 or IPv6 without further headers."""
    for frame in frames:
        kind = frame[12:14]
        if kind == b"\x08\x00" and frame[23] == 6:
            start = 14 + 4 * (frame[14] & 15)
            end = 14 + int.from_bytes(frame[16:18], "big")
            addresses = socket.inet_ntop(socket.AF_INET, frame[26:30]), socket.inet_ntop(socket.AF_INET, frame[30:34])
        elif kind == b"\x86\xdd" and frame[20] == 6:
            start = 14 + 40
            end = start + int.from_bytes(frame[18:20], "big")
            addresses = socket.inet_ntop(socket.AF_INET6, frame[22:38]), socket.inet_ntop(socket.AF_INET6, frame[38:54])
        else:
            continue
        ports = struct.unpack_from(">HH", frame, start)
        sequence, = struct.unpack_from(">I", frame, start + 4)
        payload = frame[start + 4 * (frame[start + 12] >> 4):end]
        yield Segment(*addresses, ports, sequence, bool(frame[start + 13] & _SYN), payload)


class _Direction:
    """One direction of a connection: puts segments in order and walks over the records."""

    def __init__(self, sequence):
        self._next = sequence
        self._early = {}
        self._head = b""
        self._left = 0

    def take(self, sequence, payload):
        """The types of the records that begin. Raises ValueError if something else than a record does."""
        self._early[sequence] = max(self._early.get(sequence, b""), payload, key=len)
        found = []
        while ready := [start for start in self._early if (self._next - start) % (1 << 32) < 1 << 31]:
            for start in ready:
                data = self._early.pop(start)[(self._next - start) % (1 << 32):]
                self._next = (self._next + len(data)) % (1 << 32)
                found += self._walk(data)
        return found

    def _walk(self, data):
        while data:
            skipped = min(self._left, len(data))
            self._left -= skipped
            data = data[skipped:]
            wanted = 5 - len(self._head)
            if self._left or not data:
                return
            self._head, data = self._head + data[:wanted], data[wanted:]
            if len(self._head) == 5:
                kind, version, self._left = struct.unpack(">BHH", self._head)
                if kind not in RECORDS or version >> 8 != 3:
                    raise ValueError(f"no record begins with {self._head.hex()}")
                self._head = b""
                yield kind


def records(found):
    """How many TLS records of each name the connections of these segments have carried, each from its first segment on.
    Raises ValueError at the first byte that is in no record."""
    counts, directions = collections.Counter(), {}
    for one in found:
        key = one.source, one.destination, one.ports
        if one.is_first:
            directions[key] = _Direction((one.sequence + 1) % (1 << 32))
        elif one.payload and key in directions:
            try:
                counts.update(RECORDS[kind] for kind in directions[key].take(one.sequence, one.payload))
            except ValueError as error:
                raise ValueError(f"{one.source} to {one.destination}, ports {one.ports}: {error}") from None
    return counts
