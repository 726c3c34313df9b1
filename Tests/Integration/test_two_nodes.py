# SPDX-License-Identifier: Apache-2.0
"""TCP between enrolled pods of two nodes: through tunnels with mutual TLS, whole, and refused where policy says so."""

import os
import socket
import ssl
import subprocess
import sys

import pytest

from harness.hbone import Authority, End, tls
from harness.manifests import app, authorization_policy, network_policy, peer_authentication, service
from harness.meshed import Applied
from harness.processes import PATIENCE, stop
from harness.routed import PROGRAM, Client, http_route, to
from harness.two_nodes import (
    ASK, DOMAIN, METRICS, SERVE, TwoNodes, Wire, in_namespace, metrics, outcome, received, summed, written)
from harness.world import eventually

VIP, VIP_PORT, TARGET = "10.96.7.1", 80, 8480
WEB, WEB_TARGET = "10.96.7.2", 8180


@pytest.fixture(scope="module")
def mesh():
    made = TwoNodes(service("far", {"app": "x"}, [(VIP_PORT, TARGET)], [VIP]),
                    service("web", {"app": "z"}, [(VIP_PORT, WEB_TARGET)], [WEB]),
                    http_route("web", [{"matches": [{"path": {"type": "PathPrefix", "value": "/routed"}}],
                                        "backendRefs": [to("web")]}]),
                    options=(("--metrics", f"127.0.0.1:{METRICS}"), ()))
    yield made
    made.close()


@pytest.fixture
def policies(mesh):
    """policies(*objects) are in force on the second node until the end of the test."""
    applied = Applied(mesh.there.agent)
    yield applied
    applied.close()


@pytest.mark.parametrize("ends", ["ax", "xa"])
def test_both_ends_see_one_stream_and_the_wire_sees_none_of_it(mesh, ends, family):
    marker = b"in clear " + os.urandom(24).hex().encode()
    client, server = mesh.connect(*ends, family=family)
    source = written(client.getsockname())
    assert client.getpeername()[0] == mesh.pod(ends[1]).address(family)
    assert server.getpeername()[0] == mesh.pod(ends[0]).address(family), "the application sees who is connected"
    client.send(marker + b" there")
    assert received(server, len(marker) + 6) == marker + b" there"
    server.send(marker + b" back")
    assert received(client, len(marker) + 5) == marker + b" back"
    # One direction ends, the other goes on.
    client.shutdown(socket.SHUT_WR)
    assert server.recv(1) == b""
    sending = server.start_pour(3_000_000)
    client.drain(3_000_000)
    sending.result()
    server.close()
    assert client.recv(1) == b""
    client.close()
    frames = mesh.wire.frames()
    assert not any(marker in frame for frame in frames)
    assert sum(len(frame) for frame in frames) > 3_000_000, "the tunnel passes here"
    record = mesh.log(mesh.side(ends[0]), direction="outbound", reason="finished", src__addr=source)
    assert record["src.identity"] == f"spiffe://{DOMAIN}/ns/test/sa/sa-{ends[0]}"
    assert record["dst.identity"] == f"spiffe://{DOMAIN}/ns/test/sa/sa-{ends[1]}"
    assert (record["bytes_sent"], record["bytes_recv"]) == (len(marker) + 6, 3_000_000 + len(marker) + 5)


def test_who_is_not_in_the_mesh_is_heard_in_clear(mesh):
    """Also the proof that the other tests would have seen a byte that was not encrypted."""
    marker = os.urandom(24).hex().encode()
    for ends in ("ux", "xu"):
        client, server = mesh.connect(*ends)
        client.send(marker + ends.encode())
        assert received(server, 50) == marker + ends.encode()
        client.close()
        server.close()
        eventually(lambda: mesh.wire.has(marker + ends.encode()), what="the marker on the wire")


def test_a_reset_is_a_reset_at_the_other_end(mesh):
    for end in (0, 1):
        pair = mesh.connect("a", "x")
        pair[0].send(b"x")
        assert pair[1].recv(1) == b"x"
        pair[end].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        pair[end].close()
        with pytest.raises(ConnectionResetError):
            pair[1 - end].recv(1)
        pair[1 - end].close()


def test_nobody_listens(mesh):
    client = mesh.here.peer("a").socket(socket.AF_INET, socket.SOCK_STREAM)
    client.settimeout(PATIENCE)
    with pytest.raises(ConnectionResetError):
        client.connect((mesh.pod("x").ipv4, 9))  # or it is reset a moment after
        client.recv(1)
    client.close()
    assert mesh.log(mesh.here, reason="peer_unavailable")["dst.workload"] == "x"
    assert mesh.log(mesh.there, reason="connect_failed")["src.workload"] == "a"


def test_policy_of_the_destination_knows_the_proved_identity_and_the_real_port(mesh, policies):
    allowed = [{"from": [{"source": {"principals": [f"{DOMAIN}/ns/test/sa/sa-a"]}}],
                "to": [{"operation": {"ports": ["8481"]}}]}]
    open_one, at_end = mesh.connect("b", "x", port=8482)
    policies(authorization_policy("only-a", {"app": "x"}, "ALLOW", allowed))
    with pytest.raises(ConnectionResetError):
        open_one.recv(1)  # the change ends what it denies
    at_end.close()
    assert mesh.log(mesh.there, reason="policy_changed")["src.workload"] == "b"
    assert outcome(mesh, "a", "x", 8481) == "ok"
    assert outcome(mesh, "b", "x", 8481) == "ECONNRESET"
    assert outcome(mesh, "a", "x", 8483) == "ECONNRESET"
    record = mesh.log(mesh.there, "ingress policy of test/x denies it", reason="denied", src__workload="b")
    assert record["src.identity"] == f"spiffe://{DOMAIN}/ns/test/sa/sa-b"
    assert mesh.log(mesh.here, reason="peer_denied", src__workload="b")["dst.workload"] == "x"
    assert outcome(mesh, "a", "z", 8483) == "ok"


def test_network_policies_of_both_ends(mesh, policies):
    policies(network_policy("x-hears-b", app("x"), ingress=[{"from": [{"podSelector": app("b")}]}]))
    assert outcome(mesh, "b", "x") == "ok"
    assert outcome(mesh, "a", "x") == "ECONNRESET"
    mesh.here.agent.apply(network_policy("a-speaks-to-z", app("a"), egress=[{"to": [{"podSelector": app("z")}]}]))
    try:
        assert outcome(mesh, "a", "z") == "ok"
        assert outcome(mesh, "a", "x") == "EPERM", "the source's own policy refuses at once"
    finally:
        mesh.here.agent.delete(network_policy("a-speaks-to-z", app("a"), egress=[]))


def test_strict_is_met_by_tunnels_alone(mesh, policies):
    policies(peer_authentication("x", "STRICT", {"app": "x"}, ports={8484: "PERMISSIVE"}))
    assert outcome(mesh, "a", "x", 8485) == "ok"
    assert outcome(mesh, "u", "x", 8485) == "ECONNREFUSED"
    assert outcome(mesh, "u", "x", 8484) == "ok"

    def explain(source, port):
        report = mesh.there.agent.json("policy", "explain", f"test/{source}", f"test/x:{port}")
        assert not any(finding["severity"] == "error" for finding in report["findings"]), report
        return report["answers"][0]
    refused = explain("u", 8485)
    assert refused["verdict"] == "deny" and [one["name"] for one in refused["ingress"]["policies"]] == ["x"]
    assert refused["peerAuthentication"] == "STRICT by PeerAuthentication test/x"
    assert explain("u", 8484)["peerAuthentication"] == "PERMISSIVE by PeerAuthentication test/x, its portLevelMtls"
    passed = explain("a", 8485)
    assert passed["verdict"] == "allow"
    assert passed["ingress"]["explanation"].endswith(
        ", through a tunnel with mutual TLS; in clear it would be refused")
    # The switch of the whole mesh.
    assert outcome(mesh, "u", "z", 8485) == "ok"
    policies(peer_authentication("default", "STRICT", namespace="sockmesh-system"))
    assert outcome(mesh, "u", "z", 8485) == "ECONNREFUSED"
    assert outcome(mesh, "a", "z", 8485) == "ok"


def test_a_service_whose_endpoint_is_elsewhere(mesh):
    client = mesh.here.peer("b").socket(socket.AF_INET, socket.SOCK_STREAM)
    listener = mesh.there.server("x", TARGET)
    client.connect((VIP, VIP_PORT))
    assert client.getpeername() == [VIP, VIP_PORT]
    server, _ = listener.accept()
    client.send(b"to a service")
    assert server.recv(100) == b"to a service"
    for end in (client, server, listener):
        end.close()
    assert mesh.log(mesh.here, dst__service="far.test.svc.cluster.local")["dst.workload"] == "x"


def test_a_pod_that_wants_it_is_encrypted_on_its_own_node_too(mesh):
    devices = Wire(mesh.here.node)
    try:
        marker = os.urandom(24).hex().encode()
        for ends in ("ae", "ea"):
            client, server = mesh.connect(*ends)
            assert server.getpeername()[0] == mesh.pod(ends[0]).ipv4, "the application sees who is connected"
            client.send(marker + ends.encode())
            assert received(server, 50) == marker + ends.encode()
            server.send(marker + b"..")
            assert received(client, 50) == marker + b".."
            client.shutdown(socket.SHUT_WR)
            server.close()
            assert client.recv(1) == b""
            client.close()
            for direction in ("outbound", "inbound"):
                record = mesh.log(mesh.here, direction=direction, reason="finished", src__workload=ends[0],
                                  dst__workload=ends[1])
                assert [record[key] for key in ("src.identity", "dst.identity")] == [
                    f"spiffe://{DOMAIN}/ns/test/sa/sa-{name}" for name in ends]
        # Who is not in the mesh is heard in clear, by the same listener.
        client, server = mesh.connect("u", "e")
        client.send(b"in clear " + marker)
        assert received(server, 57) == b"in clear " + marker
        client.close()
        server.close()
        eventually(lambda: devices.has(b"in clear " + marker), what="the marker")
        assert not any(marker in frame and b"in clear " + marker not in frame for frame in devices.frames())
    finally:
        devices.close()
    # Policy is as without it: at once, by both ends.
    mesh.here.agent.apply(network_policy("e-hears-b", app("e"), ingress=[{"from": [{"podSelector": app("b")}]}]))
    try:
        assert outcome(mesh, "a", "e") == "ECONNREFUSED"
        assert outcome(mesh, "b", "e") == "ok"
    finally:
        mesh.here.agent.delete(network_policy("e-hears-b", app("e"), ingress=[]))


@pytest.fixture(scope="module")
def client(mesh):
    """Pod z serves HTTP, pod a asks."""
    server = mesh.there.spawn("z", sys.executable, PROGRAM, "serve", "z", str(WEB_TARGET), stdout=subprocess.PIPE,
                              text=True)
    assert server.stdout.readline() == "ready\n"
    made = Client(mesh.here, "a")
    yield made
    made.close()
    stop(server)


def test_requests_that_a_route_sends_to_another_node(mesh, client):
    for _ in range(3):
        answer = client.ask(address=WEB, path="/routed/x")
        assert answer["status"] == 200, answer
        assert answer["answer"]["pod"] == "z"
    assert client.ask(address=WEB, path="/other")["status"] == 404
    assert not mesh.wire.has(b"GET /routed")


def test_requests_that_the_destinations_policy_decides(mesh, client, policies):
    address, port = mesh.pod("z").ipv4, WEB_TARGET
    assert client.ask(address=address, port=port, path="/no")["status"] == 200
    rule = {"from": [{"source": {"principals": [f"{DOMAIN}/ns/test/sa/sa-a"]}}],
            "to": [{"operation": {"paths": ["/yes*"]}}]}
    policies(authorization_policy("paths", {"app": "z"}, "ALLOW", [rule]))
    assert client.ask(address=address, port=port, path="/yes")["status"] == 200
    assert client.ask(address=address, port=port, path="/no")["status"] == 403
    assert client.ask(address=WEB, path="/routed")["status"] == 403
    assert outcome(mesh, "b", "z", WEB_TARGET + 1) == "ECONNRESET"


def test_the_port_of_tunnels_is_nobodys(mesh):
    for address in (mesh.pod("x").ipv4, mesh.pod("b").ipv4):
        client = mesh.here.peer("a").socket(socket.AF_INET, socket.SOCK_STREAM)
        client.settimeout(PATIENCE)
        with pytest.raises(ConnectionResetError):
            client.connect((address, 15008))  # or it is reset a moment after
            client.recv(1)
        client.close()


def dial(mesh, pod, svid, root):
    plain = in_namespace(mesh.pod(pod).path, lambda: socket.create_connection(
        (mesh.pod("x").ipv4, 15008), timeout=PATIENCE))
    return End(plain, tls(False, svid, root), False)


def test_strangers(mesh):
    """With a certificate of a foreign authority, and with one of the mesh's that is not of whoever has the address."""
    own = Authority.of_file(mesh.here.agent.state / "authority.pem", DOMAIN, "test")
    foreign = Authority(DOMAIN, "test")
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        dial(mesh, "u", foreign.svid("sa-a"), own.root).until(lambda: False, "an end")
    target = f"{mesh.pod('x').ipv4}:{TARGET}"
    listener = mesh.there.server("x", TARGET)
    for pod, account, status, detail in (
            ("a", "sa-a", 200, None), ("a", "sa-b", 401, "the certificate is not of test/a, which has the address"),
            ("u", "sa-a", 401, f"{mesh.pod('u').ipv4} is no enrolled pod of another node")):
        end = dial(mesh, pod, own.svid(account), own.root)
        assert end.status(end.connect(target)) == status
        end.close()
        if detail:
            mesh.log(mesh.there, detail, reason="denied", src__identity=own.id(account))
    listener.close()


def test_metrics(mesh, client):
    labels = ('reporter="source"', 'source_workload="a"', 'destination_workload="z"', 'security_policy="mutual_tls"',
              f'source_principal="spiffe://{DOMAIN}/ns/test/sa/sa-a"',
              f'destination_principal="spiffe://{DOMAIN}/ns/test/sa/sa-z"')

    def value(name):
        return summed(metrics(mesh), name, labels)
    names = ("istio_tcp_received_bytes_total", "istio_tcp_connections_opened_total",
             "istio_tcp_connections_closed_total")
    bytes_before, opened, closed = [value(name) for name in names]
    client, server = mesh.connect("a", "z")
    client.send(b"counted")
    assert received(server, 7) == b"counted"
    eventually(lambda: value(names[1]) == opened + 1, what="the connection in the metrics")
    client.close()
    server.close()
    eventually(lambda: value(names[0]) == bytes_before + 7, what="the bytes in the metrics")
    assert value(names[2]) == closed + 1
    # One that a worker of requests reads, and does not understand, is one connection too.
    plain = mesh.here.peer("a").socket(socket.AF_INET, socket.SOCK_STREAM)
    plain.settimeout(PATIENCE)
    plain.connect((WEB, VIP_PORT))
    plain.send(b"\0no request\n")
    plain.shutdown(socket.SHUT_WR)
    try:
        while plain.recv(1 << 16):
            pass
    except ConnectionResetError:
        pass
    plain.close()
    eventually(lambda: value(names[2]) == closed + 2, what="its end in the metrics")
    assert value(names[1]) == opened + 2
    assert 'sockmesh_proxy_tunnels_failed_total{direction="outbound",reason="peer_unavailable"}' in metrics(mesh)


def test_a_thousand_connections_of_two_pods_share_their_handshakes(mesh):
    names = "sockmesh_proxy_peer_handshakes_total", "istio_tcp_connections_opened_total"
    labels = (), ('source_workload="b"', 'destination_workload="z"')
    before = [summed(metrics(mesh), *each) for each in zip(names, labels)]
    server = mesh.there.spawn("z", sys.executable, "-c", SERVE, "8490", stdout=subprocess.PIPE, text=True)
    assert server.stdout.readline() == "ready\n"
    client = mesh.here.spawn("b", sys.executable, "-c", ASK, mesh.pod("z").ipv4, "8490", stdout=subprocess.PIPE,
                             text=True)
    assert client.communicate(timeout=60)[0] == "done\n"
    stop(server)
    handshakes, opened = [summed(metrics(mesh), *each) - old for each, old in zip(zip(names, labels), before)]
    assert opened == 1000
    assert handshakes <= 5


def test_a_revoked_certificate_ends_the_connections_that_it_has(mesh):
    """Last: pod a is out after it."""
    kept, other = mesh.connect("b", "x"), mesh.connect("a", "x")
    report = next(one for one in mesh.here.agent.json("identity") if one["identity"].endswith("/sa-a"))
    agent = mesh.there.agent
    issuer = Authority.of_file(mesh.here.agent.state / "authority.pem", DOMAIN, "test", place=1)
    agent.stop()
    (agent.state / "revoked.pem").write_text(issuer.revoked(report["chain"]))
    agent.start()
    with pytest.raises(ConnectionResetError):
        other[0].recv(1)
    assert mesh.log(mesh.there, reason="peer_rejected")["src.workload"] == "a"
    assert outcome(mesh, "a", "x") == "ECONNRESET"
    kept[0].send(b"still here")
    assert received(kept[1], 10) == b"still here"
