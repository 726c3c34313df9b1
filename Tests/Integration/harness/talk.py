# SPDX-License-Identifier: Apache-2.0
"""What one pod has open with another at once, and what becomes of it: TCP, connected UDP, unconnected UDP."""

import errno
import select
import socket
import time

from .processes import PATIENCE
from .world import family_number

# The two ends are cut one after the other: TCP's second one may hear of it from the first.
_CUT = (errno.ECONNABORTED, errno.ECONNRESET)


def datagram_server(world, pod, address, port):
    """An unconnected UDP socket of a pod that others may be bound beside."""
    server = world.peer(pod).socket(family_number(6 if ":" in address else 4), socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, port))
    return server


def ask_and_answer(client, server, address=None):
    """A datagram there (`address`: from an unconnected socket) and one back. The client's port."""
    if address:
        client.sendto(b"question", address)
    else:
        client.send(b"question")
    assert server.poll(select.POLLIN, 10_000) == select.POLLIN, "the question was lost"
    data, sender = server.recvfrom(100)
    assert data == b"question"
    server.sendto(b"answer", tuple(sender[:2]))
    assert client.poll(select.POLLIN, 10_000) == select.POLLIN, "the answer was lost"
    answer, source = client.recvfrom(100)
    assert answer == b"answer"
    assert address is None or tuple(source[:2]) == address
    return sender[1]


class Talk:
    """address, ports: what `peer` asks for, by TCP and by UDP; listener, datagrams: who gets it."""

    def __init__(self, peer, address, ports, listener, datagrams, loose=True):
        """loose: whether the unconnected socket is used at once."""
        family = family_number(6 if ":" in address else 4)
        self._udp_address = (address, ports[1])
        self._datagrams = datagrams
        self.tcp = peer.socket(family, socket.SOCK_STREAM)
        self.tcp.connect((address, ports[0]))
        self._server, client = listener.accept()
        self.tcp_port = client[1]
        self.udp = peer.socket(family, socket.SOCK_DGRAM)
        self.udp.connect(self._udp_address)
        self.loose = peer.socket(family, socket.SOCK_DGRAM)
        self.udp_port = self.loose_port = None
        self._cut = set()
        self.goes_on(loose)

    def goes_on(self, loose=True):
        """Bytes arrive both ways, from the ports that they have come from. loose: the unconnected socket's too."""
        for sender, receiver in ((self.tcp, self._server), (self._server, self.tcp)):
            sender.send(b"stream")
            assert receiver.recv(100) == b"stream"
        port = ask_and_answer(self.udp, self._datagrams)
        assert self.udp_port in (None, port)
        self.udp_port = port
        if loose:
            port = ask_and_answer(self.loose, self._datagrams, self._udp_address)
            assert self.loose_port in (None, port)
            self.loose_port = port

    def is_cut(self, timeout=PATIENCE):
        """Asserts that both ends of TCP and the connected UDP socket fail, and that no other socket notices."""
        self._until({"tcp client", "tcp server", "udp client"}, timeout)

    def is_kept(self, seconds=0.3):
        """Asserts that none fails for so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._until(set(), 0)

    def _until(self, expected, timeout):
        deadline = time.monotonic() + timeout
        while (cut := self._look()) != expected:
            assert time.monotonic() < deadline, f"cut: {sorted(cut)}, expected: {sorted(expected)}"
            time.sleep(0.005)

    def _look(self):
        """The names of the sockets that have been cut until now. An error is told once, so it is remembered."""
        for name, end in (("tcp client", self.tcp), ("tcp server", self._server), ("udp client", self.udp),
                          ("udp server", self._datagrams), ("udp unconnected", self.loose)):
            if name in self._cut:
                continue
            try:
                end.recv(1, socket.MSG_DONTWAIT)
                raise AssertionError(f"{name}: neither open and silent nor cut")
            except BlockingIOError:
                pass
            except OSError as error:
                assert error.errno in _CUT, f"{name}: {error}"
                self._cut.add(name)
        return self._cut

    def close(self):
        for end in (self.tcp, self._server, self.udp, self.loose):
            end.close()
