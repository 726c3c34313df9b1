# SPDX-License-Identifier: Apache-2.0
"""Tunnels between nodes (HBONE) on loopback: the worker's own loop against Python's ssl and h2, in both roles, and
against itself."""

import socket
import ssl
import threading

import h2.errors
import pytest

from harness import hbone
from harness.hbone import Application, Authority, End, Probe, exactly, is_quiet, tls, to_end
from harness.world import eventually

WORDS = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture(scope="module")
def mesh():
    return Authority()


@pytest.fixture(scope="module")
def foreign():
    return Authority("foreign.test")


@pytest.fixture(name="application")
def _application():
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


# ---------------------------------------------------------------------------------------------------- our server

def test_half_close_of_the_client(server, mesh, application):
    end = dial(server, mesh)
    assert end.alpn == "h2"
    stream = end.connect(f"127.0.0.1:{application.port}", ("forwarded", 'for="10.0.0.1:1";host=web.shop.svc'))
    plain = application.accept()
    assert end.status(stream) == 200
    end.send(stream, b"question", end=True)
    assert to_end(plain) == b"question"
    plain.sendall(b"answer")
    assert end.read(stream, 6) == b"answer"
    plain.close()
    end.to_end(stream)
    told = server.wait("tunnel")
    assert (told["reason"], told["peer"], told["service"]) == ("finished", mesh.id("web"), "web.shop.svc")
    assert (told["received"], told["sent"]) == (6, 8)


def test_half_close_of_the_application(server, mesh, application):
    end = dial(server, mesh)
    stream = end.connect(f"127.0.0.1:{application.port}")
    plain = application.accept()
    plain.sendall(b"greeting")
    plain.shutdown(socket.SHUT_WR)
    assert end.to_end(stream) == b"greeting"
    end.send(stream, b"late", end=False)
    assert exactly(plain, 4) == b"late"
    end.send(stream, b"", end=True)
    assert to_end(plain) == b""
    assert server.wait("tunnel")["reason"] == "finished"


@pytest.mark.parametrize("code", ["CONNECT_ERROR", "CANCEL"])
def test_a_reset_stream_resets_the_socket(server, mesh, application, code):
    end = dial(server, mesh)
    stream = end.connect(f"127.0.0.1:{application.port}")
    plain = application.accept()
    assert end.status(stream) == 200
    end.reset(stream, h2.errors.ErrorCodes[code])
    with pytest.raises(ConnectionResetError):
        to_end(plain)
    assert code in server.wait("tunnel")["reason"]


def test_a_reset_socket_resets_the_stream(server, mesh, application):
    end = dial(server, mesh)
    stream = end.connect(f"127.0.0.1:{application.port}")
    plain = application.accept()
    assert end.status(stream) == 200
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    plain.close()
    end.until(lambda: stream in end.resets, "the reset")
    assert end.resets[stream] == h2.errors.ErrorCodes.CONNECT_ERROR
    assert server.wait("tunnel")["reason"] == "applicationReset"


def test_refusals_leave_the_connection(server, mesh, application):
    end = dial(server, mesh)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = closed.getsockname()[1]
    cases = [(f"127.0.0.2:{application.port}", 400), ("nonsense", 400), ("127.0.0.1:15008", 503),
             (f"127.0.0.1:{nobody}", 503), ("other.shop.svc.cluster.local:80", 503)]
    for authority, status in cases:
        stream = end.connect(authority)
        assert end.status(stream) == status, authority
        end.to_end(stream)
    get = end.h2.get_next_available_stream_id()
    end.h2.send_headers(get, [(":method", "GET"), (":scheme", "https"), (":authority", "x"), (":path", "/")], True)
    end.flush()
    assert end.status(get) == 400
    server.do("policy", deny="denied by shop/web")
    stream = end.connect(f"127.0.0.1:{application.port}")
    assert end.status(stream) == 401
    assert server.wait("tunnel", reason="refused(L7Proxy.HBONERefusal.denied)")["detail"] == "denied by shop/web"
    server.do("policy")
    stream = end.connect(f"web.shop.svc.cluster.local:{application.port}")
    application.accept()
    assert end.status(stream) == 200


def test_a_changed_policy_cuts_what_it_denies(server, mesh, application):
    end = dial(server, mesh)
    stream = end.connect(f"127.0.0.1:{application.port}")
    plain = application.accept()
    assert end.status(stream) == 200
    server.do("policy", deny="denied by shop/new")
    end.until(lambda: stream in end.resets, "the reset")
    with pytest.raises(ConnectionResetError):
        to_end(plain)
    told = server.wait("tunnel")
    assert (told["reason"], told["detail"]) == ("policyChanged", "denied by shop/new")


def test_data_before_the_answer_waits(probes, mesh, application):
    server = probes(identity=mesh.id("db"), defers=True)
    end = dial(server, mesh)
    stream = end.connect(f"127.0.0.1:{application.port}")
    end.send(stream, b"eager", end=True)
    assert to_end(application.accept()) == b"eager"


def test_two_hundred_streams(server, mesh, application):
    end = dial(server, mesh)
    streams = [end.connect(f"127.0.0.1:{application.port}") for _ in range(200)]
    accepted = [application.accept() for _ in streams]
    for stream in streams:
        assert end.status(stream) == 200
        end.send(stream, stream.to_bytes(4, "big"))
    for plain in accepted:
        plain.sendall(exactly(plain, 4) * 2)
        plain.close()
    for stream in streams:
        assert end.to_end(stream) == stream.to_bytes(4, "big") * 2
    assert server.counters()["connections"] == 1


def test_drain_in_two_steps(server, mesh, application):
    end = dial(server, mesh)
    stream = end.connect(f"127.0.0.1:{application.port}")
    plain = application.accept()
    assert end.status(stream) == 200
    server.do("drain", milliseconds=30000)
    end.until(lambda: len(end.goaways) == 2, "both GOAWAY frames")
    assert end.goaways == [(2**31 - 1, h2.errors.ErrorCodes.NO_ERROR), (stream, h2.errors.ErrorCodes.NO_ERROR)]
    plain.sendall(b"still here")
    assert end.read(stream, 10) == b"still here"
    plain.close()
    end.h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN
    end.send(stream, b"", end=True)
    server.wait("drained")


def test_pings(probes, mesh):
    server = probes(identity=mesh.id("db"), limits={"pingInterval": 50, "pingTimeout": 300})
    end = dial(server, mesh)
    end.until(lambda: end.pings >= 3, "three pings")
    # From now on nothing is read, so nothing is answered.
    assert server.wait("failure")["reason"] == "peerSilent"


# ------------------------------------------------------------------------------------------- whom it does not take

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
    with socket.create_connection(("127.0.0.1", server.peers), timeout=60) as plain:
        with pytest.raises(ConnectionResetError):
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


def test_an_identity_that_is_gone(server, mesh, application):
    end = dial(server, mesh)
    stream = end.connect(f"127.0.0.1:{application.port}")
    application.accept()
    assert end.status(stream) == 200
    server.publish([mesh.svid("web")], roots(mesh), serial=2)
    assert server.wait("failure")["reason"] == "identityGone"


# ---------------------------------------------------------------------------------------------------- our client

class Node:
    """A peer's node in Python: one connection after another, each a thread of the test."""

    def __init__(self, svid, trusted, **options):
        self._context = tls(True, svid, trusted, **options)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(hbone.PATIENCE)
        self.port = self._listener.getsockname()[1]

    def accept(self):
        plain, _ = self._listener.accept()
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


def test_what_our_client_says(client, node):
    probe = client(node.port, service="db.shop.svc.cluster.local")
    plain = application_of(probe)
    plain.sendall(b"at once")
    end = node.accept()
    assert end.alpn == "h2"
    stream = opened(end)
    head = end.heads[stream]
    assert list(head) == [":method", ":authority", "forwarded", "baggage", "traceparent"]
    assert (head[":method"], head[":authority"]) == ("CONNECT", "127.0.0.1:8080")
    assert head["forwarded"] == f'for="127.0.0.1:{plain.getsockname()[1]}";host=db.shop.svc.cluster.local'
    assert head["baggage"] == "k8s.namespace.name=shop,service.name=client"
    assert stream not in end.data, "content before the answer"
    end.h2.send_headers(stream, [(":status", "200")])
    end.flush()
    assert end.read(stream, 7) == b"at once"
    plain.shutdown(socket.SHUT_WR)
    end.until(lambda: stream in end.ended, "the half-close")
    end.send(stream, b"answer", end=True)
    assert to_end(plain) == b"answer"
    assert probe.wait("tunnel")["reason"] == "finished"


def test_resets_of_our_client(client, node):
    probe = client(node.port)
    plain = application_of(probe)
    end = node.accept()
    stream = accept_tunnel(end)
    end.send(stream, b"x")
    assert exactly(plain, 1) == b"x"
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    plain.close()
    end.until(lambda: stream in end.resets, "the reset")
    assert end.resets[stream] == h2.errors.ErrorCodes.CONNECT_ERROR
    plain = application_of(probe)
    end.reset(accept_tunnel(end), h2.errors.ErrorCodes.CONNECT_ERROR)
    with pytest.raises(ConnectionResetError):
        to_end(plain)


@pytest.mark.parametrize("status", [400, 401, 503])
def test_statuses(client, node, status):
    probe = client(node.port)
    plain = application_of(probe)
    end = node.accept()
    end.h2.send_headers(opened(end), [(":status", str(status))], end_stream=True)
    end.flush()
    with pytest.raises(ConnectionResetError):
        to_end(plain)
    assert probe.wait("tunnel")["reason"] == f"peerRefused(status: {status})"
    # The connection is used again.
    application_of(probe)
    opened(end)
    assert probe.counters()["dialled"] == 1


def test_one_dial_for_many(client, node):
    probe = client(node.port)
    plains = [application_of(probe) for _ in range(90)]
    end = node.accept()
    for _ in plains:
        end.send(accept_tunnel(end), b"hello", end=True)
    for plain in plains:
        assert to_end(plain) == b"hello"
    assert probe.counters()["dialled"] == 1


def test_goaway_and_refused_streams(client, node):
    probe = client(node.port)
    first = application_of(probe)
    end = node.accept()
    stream = accept_tunnel(end)
    second = application_of(probe)
    refused_stream = opened(end)
    # As a node does that ends: what it has not looked at goes elsewhere, what it has goes on.
    end.reset(refused_stream, h2.errors.ErrorCodes.REFUSED_STREAM)
    again = accept_tunnel(end)
    end.send(again, b"second", end=True)
    assert to_end(second) == b"second"
    end._socket.sendall(bytes.fromhex("000008070000000000") + stream.to_bytes(4, "big") + bytes(4))
    end.send(stream, b"goes on")
    assert exactly(first, 7) == b"goes on"
    third = application_of(probe)
    other = node.accept()
    other.send(accept_tunnel(other), b"third", end=True)
    assert to_end(third) == b"third"


@pytest.mark.parametrize("what", ["another identity", "another domain", "no protocol"])
def test_peers_that_are_refused(client, mesh, foreign, what):
    svid = {"another identity": mesh.svid("other"), "another domain": foreign.svid("db")}.get(what, mesh.svid("db"))
    node = Node(svid, mesh.root, alpn=() if what == "no protocol" else ("h2",))
    probe = client(node.port)
    plain = application_of(probe)

    def serve():
        try:
            node.accept().until(lambda: False, "an end")
        except (ssl.SSLError, ConnectionError, AssertionError):
            pass
    thread = threading.Thread(target=serve)
    thread.start()
    with pytest.raises(ConnectionResetError):
        to_end(plain)
    told = probe.wait("tunnel")
    expected = {"another identity": "expected was " + mesh.id("db"), "another domain": "is not known here",
                "no protocol": "h2"}[what]
    assert told["reason"] == "handshakeFailed" and expected in told["detail"]
    thread.join()
    node.close()


def test_dials_that_fail(client, mesh):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    probe = client(port, limits={"dialTimeout": 100})
    with pytest.raises(ConnectionResetError):
        to_end(application_of(probe))
    assert probe.wait("tunnel")["reason"] == "dialRefused"
    probe.do("dials", swallow=True)
    with pytest.raises(ConnectionResetError):
        to_end(application_of(probe))
    told = probe.wait("tunnel")
    assert told["reason"] == "dialTimedOut" and "NetworkPolicy" in told["text"] and "15008" in told["text"]
    probe.publish([mesh.svid("db")], roots(mesh), serial=2)
    with pytest.raises(ConnectionResetError):
        to_end(application_of(probe))
    assert probe.wait("tunnel")["reason"] == "noIdentity"


def test_idle_connections_end(client, node):
    probe = client(node.port, limits={"idleTimeout": 50, "pingInterval": 50})
    plain = application_of(probe)
    end = node.accept()
    end.send(accept_tunnel(end), b"x", end=True)
    plain.shutdown(socket.SHUT_WR)
    assert to_end(plain) == b"x"
    with pytest.raises(AssertionError, match="the connection ended"):
        end.until(lambda: False, "an end")
    assert end.goaways[-1][1] == h2.errors.ErrorCodes.NO_ERROR
    eventually(lambda: probe.counters()["pools"] == 0, timeout=60, what="the pool's end")


# ------------------------------------------------------------------------------------------------- ours to ours

@pytest.fixture
def path(probes, client, mesh, application):
    """A client's worker and a server's: a socket to one comes out of the other."""
    server = probes(identity=mesh.id("db"))
    made = probes(outbound={
        "identity": mesh.id("web"), "acceptable": [mesh.id("db")], "gateway": server.peers, "port": application.port})
    return made, server


def test_megabytes_both_ways(path, application):
    near = application_of(path[0])
    far = application.accept()
    for sender, receiver in ((near, far), (far, near)):
        thread = threading.Thread(target=lambda: [sender.sendall(WORDS) for _ in range(32)])
        thread.start()
        for _ in range(32):
            assert exactly(receiver, len(WORDS)) == WORDS
        thread.join()
    near.shutdown(socket.SHUT_WR)
    assert to_end(far) == b""
    far.close()
    assert to_end(near) == b""
    for probe in path:
        told = probe.wait("tunnel")
        assert told["reason"] == "finished" and told["sent"] == told["received"] == 32 << 20
        eventually(lambda: probe.counters()["buffers"] == 0, timeout=60, what="the buffers' return")


def test_an_application_that_does_not_read(path, application):
    """Stops the sender, not other tunnels."""
    near = application_of(path[0])
    far = application.accept()
    near.settimeout(0.5)
    sent = 0
    with pytest.raises(TimeoutError):
        while True:
            sent += near.send(WORDS)
    assert sent < 64 << 20
    other = application_of(path[0])
    echo = application.accept()
    other.sendall(b"x")
    assert exactly(echo, 1) == b"x"
    assert is_quiet(other)
    thread = threading.Thread(target=near.shutdown, args=(socket.SHUT_WR,))
    thread.start()
    assert len(to_end(far)) == sent
    thread.join()


def test_two_hundred_and_fifty_tunnels_in_three_connections(path, application):
    nears = [application_of(path[0]) for _ in range(250)]
    fars = [application.accept() for _ in nears]
    for far in fars:
        far.sendall(b"hello")
        far.shutdown(socket.SHUT_WR)
    for near in nears:
        assert to_end(near) == b"hello"
        near.close()
    assert path[0].counters()["dialled"] == 3
    for probe in path:
        eventually(lambda: probe.counters()["tunnels"] == 0, timeout=60, what="the tunnels' end")


def test_an_idle_connection_costs_little(path, application, mesh):
    """A connection with its HTTP/2 session and TLS state: at most 32 KB in each process."""
    client, server = path
    near = application_of(client)
    application.accept()
    assert is_quiet(near)
    ends = [dial(server, mesh) for _ in range(20)]
    before = server.resident()
    ends += [dial(server, mesh) for _ in range(200)]
    for end in ends:
        end.until(lambda: end.h2.remote_settings.max_concurrent_streams == 200, "the settings")
    eventually(lambda: server.counters()["handshakes"] == 221, timeout=60, what="the handshakes")
    assert (server.resident() - before) / 200 < 64 << 10
