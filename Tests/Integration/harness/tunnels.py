# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of tunnels; a file that wants them imports them by name."""

import socket

import pytest

from harness import hbone
from harness.hbone import Application, Authority, End, Probe, tls


@pytest.fixture(scope="module")
def mesh():
    return Authority()


@pytest.fixture(scope="module")
def foreign():
    return Authority("foreign.test")


@pytest.fixture
def application():
    made = Application()
    yield made
    made.close()


def roots(*authorities):
    return {authority.domain: authority.root for authority in authorities}


@pytest.fixture
def probes(mesh):
    """Makes probes that know `web` and `db`, unless told otherwise."""
    made = []

    def make(publish=True, **start):
        probe = Probe(**start)
        made.append(probe)
        if publish:
            probe.publish([mesh.svid("db"), mesh.svid("web")], roots(mesh))
        return probe
    yield make
    for probe in made:
        probe.close()


@pytest.fixture
def server(probes, mesh):
    return probes(identity=mesh.id("db"))


def dial(probe, mesh, account="web", **options):
    context = tls(False, mesh.svid(account), mesh.root, **options)
    return End(socket.create_connection(("127.0.0.1", probe.peers)), context, False)


class Node:
    """A peer's node in Python: one connection after another, each a thread of the test."""

    def __init__(self, svid, trusted, **options):
        self._context = tls(True, svid, trusted, **options)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(hbone.PATIENCE)
        self.port = self._listener.getsockname()[1]

    def accept(self):
        return self.shake_hands(self.knocked())

    def knocked(self):
        """A connection of a client that has begun a handshake, and waits."""
        plain, _ = self._listener.accept()
        assert plain.recv(1, socket.MSG_PEEK)
        return plain

    def shake_hands(self, plain):
        return End(plain, self._context, True)

    def close(self):
        self._listener.close()


@pytest.fixture
def node(mesh):
    made = Node(mesh.svid("db"), mesh.root)
    yield made
    made.close()


@pytest.fixture
def client(probes, mesh):
    def make(port, acceptable=("db",), service="", **start):
        return probes(outbound={
            "identity": mesh.id("web"), "acceptable": [mesh.id(account) for account in acceptable], "gateway": port,
            "port": 8080, "service": service}, **start)
    return make


def opened(end):
    end.until(lambda: not end.requests.empty(), "a request")
    return end.requests.get()


def accept_tunnel(end):
    stream = opened(end)
    end.h2.send_headers(stream, [(":status", "200")])
    end.flush()
    return stream


def application_of(probe):
    return socket.create_connection(("127.0.0.1", probe.pods), timeout=hbone.PATIENCE)


@pytest.fixture
def path(probes, client, mesh, application):
    """A client's worker and a server's: a socket to one comes out of the other."""
    server = probes(identity=mesh.id("db"))
    made = probes(outbound={
        "identity": mesh.id("web"), "acceptable": [mesh.id("db")], "gateway": server.peers, "port": application.port})
    return made, server
