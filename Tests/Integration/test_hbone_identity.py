# SPDX-License-Identifier: Apache-2.0
"""Whom a server of tunnels takes, and what changed identities do to the connections that it has."""

import socket
import ssl

import pytest

from harness.hbone import Authority, End, tls, to_end
from harness.tunnels import application, dial, foreign, mesh, probes, roots, server  # noqa: F401 (fixtures)
from harness.world import eventually


def refused(server, context):
    """What a client learns, at the handshake or when it first reads."""
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)) as caught:
        end = End(socket.create_connection(("127.0.0.1", server.peers)), context, False)
        end.until(lambda: False, "an end")
    return str(caught.value).lower().replace("_", " ")


def test_no_certificate(server, mesh):
    refused(server, tls(False, None, mesh.root))
    assert "peer did not return a certificate" in server.wait("failure")["detail"]


def test_another_trust_domain(probes, mesh, foreign):
    server = probes(identity=mesh.id("db"), publish=False)
    server.publish([mesh.svid("db")], roots(mesh, foreign))
    refused(server, tls(False, foreign.svid("web"), mesh.root))
    assert "not of the trust domain mesh.test" in server.wait("failure")["detail"]


def test_an_unknown_authority(server, mesh):
    refused(server, tls(False, Authority().svid("web"), mesh.root))
    assert server.wait("failure")["reason"] == "handshakeFailed"


def test_tls_1_2(server, mesh):
    refused(server, tls(False, mesh.svid("web"), mesh.root, maximum=ssl.TLSVersion.TLSv1_2))
    assert "unsupported protocol" in server.wait("failure")["detail"]


def test_no_alpn(server, mesh):
    refused(server, tls(False, mesh.svid("web"), mesh.root, alpn=()))
    assert "no ALPN" in server.wait("failure")["detail"]


def test_plain_text(server):
    with socket.create_connection(("127.0.0.1", server.peers), timeout=60) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        try:
            to_end(plain)
        except ConnectionResetError:
            pass
    assert server.wait("failure")["reason"] == "handshakeFailed"


def test_no_identity(probes, mesh):
    server = probes(identity=mesh.id("nobody"))
    with pytest.raises(ConnectionResetError):  # it may come while connect(2) still returns
        with socket.create_connection(("127.0.0.1", server.peers), timeout=60) as plain:
            to_end(plain)
    assert server.wait("failure")["reason"] == "noIdentity"


def test_strangers_that_say_nothing(probes, mesh, application):
    """They take neither the place of others nor the worker's time."""
    server = probes(identity=mesh.id("db"), limits={"handshakes": 8, "handshakeTimeout": 60000})
    silent = [socket.create_connection(("127.0.0.1", server.peers)) for _ in range(50)]
    end = dial(server, mesh)
    stream = end.connect(f"127.0.0.1:{application.port}")
    application.accept()
    assert end.status(stream) == 200
    assert server.counters()["refused"] >= 42
    for plain in silent:
        plain.close()


def test_a_handshake_has_a_time(probes, mesh):
    server = probes(identity=mesh.id("db"), limits={"handshakeTimeout": 50})
    with socket.create_connection(("127.0.0.1", server.peers), timeout=60):
        assert server.wait("failure")["reason"] == "handshakeTimedOut"


# ---------------------------------------------------------------------------------------------- changed identities

def test_a_new_leaf_is_for_new_handshakes(server, mesh, application):
    end = dial(server, mesh)
    stream = end.connect(f"127.0.0.1:{application.port}")
    plain = application.accept()
    assert end.status(stream) == 200
    server.publish([mesh.svid("db")], roots(mesh), serial=2)
    again = dial(server, mesh)
    other = again.connect(f"127.0.0.1:{application.port}")
    application.accept()
    assert again.status(other) == 200
    plain.sendall(b"alive")
    assert end.read(stream, 5) == b"alive"
    assert server.counters()["checked"] == 0


def test_a_new_bundle_is_for_living_peers_too(server, mesh, application):
    end = dial(server, mesh)
    stream = end.connect(f"127.0.0.1:{application.port}")
    plain = application.accept()
    assert end.status(stream) == 200
    other = Authority()
    server.publish([mesh.svid("db")], {"mesh.test": mesh.root + other.root}, serial=2)
    eventually(lambda: server.counters()["checked"] == 1, timeout=60, what="the check")
    plain.sendall(b"alive")
    assert end.read(stream, 5) == b"alive"
    server.publish([mesh.svid("db")], roots(other), serial=3)
    with pytest.raises(ConnectionResetError):
        to_end(plain)
    assert server.wait("failure")["reason"] == "peerRejected"
    assert server.wait("tunnel")["reason"] == "peerRejected"


def test_a_revoked_certificate_is_cut_and_not_taken_again(server, mesh, application):
    stolen = mesh.svid("web")
    ends, streams = [], []
    for svid in (stolen, mesh.svid("web")):
        end = End(socket.create_connection(("127.0.0.1", server.peers)), tls(False, svid, mesh.root), False)
        streams.append(end.connect(f"127.0.0.1:{application.port}"))
        ends.append((end, application.accept()))
        assert end.status(streams[-1]) == 200
    server.publish([mesh.svid("db")], roots(mesh), serial=2, revoked={mesh.domain: mesh.revoked(stolen)})
    with pytest.raises(ConnectionResetError):
        to_end(ends[0][1])
    failure = server.wait("failure")
    assert failure["reason"] == "peerRejected"
    # The other certificate of the same identity is as good as before.
    ends[1][1].sendall(b"alive")
    assert ends[1][0].read(streams[1], 5) == b"alive"
    refused(server, tls(False, stolen, mesh.root))
    assert "is revoked" in server.wait("failure")["detail"]


def test_an_identity_that_is_gone(server, mesh, application):
    end = dial(server, mesh)
    stream = end.connect(f"127.0.0.1:{application.port}")
    application.accept()
    assert end.status(stream) == 200
    server.publish([mesh.svid("web")], roots(mesh), serial=2)
    assert server.wait("failure")["reason"] == "identityGone"
