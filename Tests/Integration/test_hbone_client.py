# SPDX-License-Identifier: Apache-2.0
"""Tunnels that our pods need (HBONE), on loopback: the worker's own loop against Python's ssl and h2, and against itself."""

import socket
import ssl
import threading

import h2.errors
import pytest

from harness.hbone import Authority, exactly, is_quiet, to_end
from harness.tunnels import (  # noqa: F401 (fixtures)
    Node, accept_tunnel, application, application_of, client, foreign, mesh, node, opened, path, probes, roots)
from harness.world import eventually

WORDS = bytes(range(256)) * 4096  # 1 MiB


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


def test_who_drains_opens_what_was_promised(client, node, application):
    probe = client(node.port)
    first = application_of(probe)
    end = node.accept()
    stream = accept_tunnel(end)
    probe.settle("drain", milliseconds=60000)
    probe.do("open", port=application.port)
    late = application.accept()
    end.send(accept_tunnel(end), b"late", end=True)
    assert to_end(late) == b"late"
    for plain in (first, late):
        plain.close()
    end.send(stream, b"", end=True)
    for _ in (first, late):
        probe.wait("tunnel", reason="finished")
    end.close()
    probe.wait("drained")
    # Also by another connection, once those that nobody used have ended.
    probe.do("open", port=application.port)
    plain, end = application.accept(), node.accept()
    end.send(accept_tunnel(end), b"later", end=True)
    assert to_end(plain) == b"later"
    plain.close()
    probe.wait("tunnel", reason="finished")
    end.close()
    probe.do("drain", milliseconds=60000)
    probe.wait("drained")


def test_a_pod_has_its_share(client, node, application):
    probe = client(node.port, limits={"tunnelsPerSource": 1})
    plain = application_of(probe)
    end = node.accept()
    stream = accept_tunnel(end)
    with pytest.raises(ConnectionResetError):
        to_end(application_of(probe))
    told = probe.wait("tunnel")
    assert told["reason"] == "tooMany" and "1 tunnels" in told["detail"]
    end.send(stream, b"", end=True)
    plain.close()
    probe.wait("tunnel", reason="finished")
    application_of(probe)
    accept_tunnel(end)


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
    probe.settle("dials", swallow=True)
    probe.counters()  # Commands are carried out in order.
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


# ---------------------------------------------------------------------------------------------- changed identities

def test_our_new_leaf_takes_new_tunnels_to_a_new_connection(client, mesh, node):
    probe = client(node.port)
    first = application_of(probe)
    end = node.accept()
    stream = accept_tunnel(end)
    probe.publish([mesh.svid("db"), mesh.svid("web")], roots(mesh), serial=2)
    second = application_of(probe)
    other = node.accept()
    other.send(accept_tunnel(other), b"second", end=True)
    assert to_end(second) == b"second"
    end.send(stream, b"goes on", end=True)
    assert to_end(first) == b"goes on"
    # It ends with its last tunnel.
    first.close()
    with pytest.raises(AssertionError, match="the connection ended"):
        end.until(lambda: False, "an end")
    assert end.goaways[-1][1] == h2.errors.ErrorCodes.NO_ERROR


def test_bundles_that_change_while_a_handshake_is_under_way(client, mesh, node):
    """It goes on, and is judged by the new ones."""
    probe, other = client(node.port), Authority()
    leaves = [mesh.svid("db"), mesh.svid("web")]
    plain = application_of(probe)
    knocked = node.knocked()
    probe.publish(leaves, {mesh.domain: mesh.root + other.root}, serial=2)
    end = node.shake_hands(knocked)
    end.send(accept_tunnel(end), b"hello", end=True)
    assert to_end(plain) == b"hello"
    end.close()
    plain.close()
    eventually(lambda: probe.counters()["connections"] == 0, what="the connection's end")
    plain = application_of(probe)
    knocked = node.knocked()
    probe.publish(leaves, roots(other), serial=3)
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        node.shake_hands(knocked).until(lambda: False, "an end")
    with pytest.raises(ConnectionResetError):
        to_end(plain)
    probe.wait("tunnel", reason="peerRejected")


def test_no_tunnel_fails_while_leaves_and_the_root_change(path, mesh, application):
    """Each end is told at another moment, and whoever is told first meets who is not."""
    new, (near, far) = Authority(), path
    both = {mesh.domain: mesh.root + new.root}
    over, found = threading.Event(), []

    def ask():
        while not over.is_set():
            plain = application_of(near)
            try:
                plain.sendall(b"?")
                found.append(exactly(plain, 1))
            except (OSError, AssertionError) as error:
                found.append(error)
            plain.close()

    def answer():
        while True:
            plain = application.accept()
            with plain:
                if not plain.recv(1):
                    return
                plain.sendall(b"!")
    threads = [threading.Thread(target=answer), *(threading.Thread(target=ask) for _ in range(4))]
    for thread in threads:
        thread.start()
    try:
        for serial, (authority, trusted, ends) in enumerate((
                (mesh, roots(mesh), (near, far)), (mesh, both, (near, far)), (new, both, (near, far)), (new, both, (near,)),
                (new, roots(new), (near, far))), start=2):
            for end in ends:
                end.publish([authority.svid("db"), authority.svid("web")], trusted, serial=serial)
                so_far = len(found)
                eventually(lambda: len(found) > so_far + 20, what="more tunnels")
            # What began before has ended: days lie between these changes.
            eventually(lambda: near.counters()["connections"] == 1, what="one connection")
    finally:
        over.set()
        for thread in threads[1:]:
            thread.join()
        socket.create_connection(("127.0.0.1", application.port)).close()
        threads[0].join()
    assert set(found) == {b"!"}, [one for one in found if one != b"!"][:5]
    assert far.counters()["checked"] > 0


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
