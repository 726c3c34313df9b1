# SPDX-License-Identifier: Apache-2.0
"""Two nodes with mutual TLS: who may come in clear, encryption on one node, what is counted."""

import os
import socket
import subprocess
import sys

import pytest

from harness import manifests
from harness.manifests import app, network_policy, peer_authentication, service
from harness.meshed import Applied
from harness.node import in_namespace
from harness.processes import PATIENCE, stop
from harness.routed import http_route, to
from harness.two_nodes import DOMAIN, TwoNodes, outcome, received
from harness.wire import Wire
from harness.world import eventually

WEB, WEB_PORT, WEB_TARGET = "10.96.7.2", 80, 8180
NEAR = "10.96.7.3"
METRICS = 19488
SERVE = """import socket, sys
listener = socket.create_server(("", int(sys.argv[1])), backlog=256)
print("ready", flush=True)
while True:
    accepted, _ = listener.accept()
    accepted.sendall(b"x")
    accepted.close()
"""
ASK = """import socket, sys
for _ in range(20):
    made = [socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=60) for _ in range(50)]
    for one in made:
        assert one.recv(1) == b"x"
        one.close()
print("done")
"""


@pytest.fixture(scope="module")
def mesh():
    made = TwoNodes(service("web", {"app": "z"}, [(WEB_PORT, WEB_TARGET)], [WEB]),
                    http_route("web", [{"backendRefs": [to("web")]}]),
                    service("near", {"app": "b"}, [(WEB_PORT, WEB_TARGET)], [NEAR]),
                    http_route("near", [{"backendRefs": [to("near")]}], parent="near"),
                    options=(("--metrics", f"127.0.0.1:{METRICS}"), ()), pods=("a", "b", "e", "u"))
    yield made
    made.close()


@pytest.fixture
def policies(mesh):
    """policies(*objects) are in force on the second node until the end of the test."""
    applied = Applied(mesh.there.agent)
    yield applied
    applied.close()


def reached(mesh, *ends):
    """That who is not in the mesh is heard, in clear."""
    for each in mesh.connect(*ends[:2], port=ends[2]):
        each.close()


def summed(mesh, name, labels=()):
    """Of the first node's page of metrics."""
    def get():
        plain = socket.create_connection(("127.0.0.1", METRICS), timeout=PATIENCE)
        plain.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: plain.recv(1 << 16), b"")).decode()
    return sum(float(line.split()[-1]) for line in in_namespace(f"/run/netns/{mesh.here.node.netns}", get).splitlines()
               if line.startswith((name + "{", name + " ")) and all(label in line for label in labels))


def test_strict_is_met_by_tunnels_alone(mesh, policies):
    policies(peer_authentication("x", "STRICT", {"app": "x"}, ports={8484: "PERMISSIVE"}))
    assert outcome(mesh, "a", "x", 8485) == "ok"
    assert outcome(mesh, "u", "x", 8485) == "ECONNREFUSED"
    reached(mesh, "u", "x", 8484)

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
    reached(mesh, "u", "z", 8485)
    policies(peer_authentication("default", "STRICT", namespace="sockmesh-system"))
    assert outcome(mesh, "u", "z", 8485) == "ECONNREFUSED"
    assert outcome(mesh, "a", "z", 8485) == "ok"


def test_a_pod_that_wants_it_is_encrypted_on_its_own_node_too(mesh):
    devices = Wire(mesh.here.node, None)
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


def test_a_pod_that_wants_it_later_is_sent_nothing_in_clear_from_then_on(mesh):
    def asks(client):
        client.send(b"GET / HTTP/1.1\r\nHost: near\r\n\r\n")

    def answers(server, client):
        assert received(server, 1 << 16, b"\r\n\r\n").startswith(b"GET / ")
        server.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert received(client, 1 << 16, b"\r\n\r\n").startswith(b"HTTP/1.1 204 ")

    def counted(policy):
        return summed(mesh, "istio_requests_total", (
            'reporter="source"', 'source_workload="a"', 'destination_workload="b"', f'security_policy="{policy}"'))
    before = [counted(policy) for policy in ("none", "mutual_tls")]
    listener = mesh.here.server("b", WEB_TARGET)
    clients, servers = [], []
    for say in asks, lambda one: one.send(b"\0no request\n"):
        clients.append(mesh.here.peer("a").socket(socket.AF_INET, socket.SOCK_STREAM))
        clients[-1].settimeout(PATIENCE)
        clients[-1].connect((NEAR, WEB_PORT))
        say(clients[-1])
        servers.append(listener.accept()[0])
        servers[-1].settimeout(PATIENCE)
    asking, relayed = clients
    answers(servers[0], asking)
    assert received(servers[1], 12) == b"\0no request\n"
    objects = mesh.here.agent.config / "objects.yaml"
    original = objects.read_text()
    mesh.here.agent.write_config("objects.yaml", *(
        {**one, "metadata": {**one["metadata"], "annotations": {
            **one["metadata"].get("annotations", {}), "sockmesh.io/encrypt": "always"}}}
        if (one["kind"], one["metadata"]["name"]) == ("Pod", "b") else one for one in mesh.objects))
    try:
        assert servers[0].recv(1) == b"", "a kept connection"
        with pytest.raises(ConnectionResetError):
            servers[1].recv(1)
        with pytest.raises(ConnectionResetError):
            relayed.recv(1)
        asks(asking)
        servers.append(listener.accept()[0])
        servers[-1].settimeout(PATIENCE)
        assert servers[-1].getpeername()[0] == mesh.pod("a").ipv4
        answers(servers[-1], asking)
        eventually(lambda: [counted(policy) for policy in ("none", "mutual_tls")] == [one + 1 for one in before],
                   what="one request of each kind in the metrics")
    finally:
        manifests.replace(objects, original)
        for one in (*clients, *servers, listener):
            one.close()


def test_what_the_proxy_reads_of_a_tunnel_is_counted_once(mesh):
    names = "istio_tcp_connections_opened_total", "istio_tcp_connections_closed_total"
    labels = 'source_workload="a"', 'destination_workload="z"', 'reporter="source"'
    opened, closed = [summed(mesh, name, labels) for name in names]
    listener = mesh.there.server("z", WEB_TARGET)
    plain = mesh.here.peer("a").socket(socket.AF_INET, socket.SOCK_STREAM)
    plain.settimeout(PATIENCE)
    plain.connect((WEB, WEB_PORT))
    plain.send(b"\0no request\n")
    server, _ = listener.accept()
    assert received(server, 12) == b"\0no request\n"
    plain.close()
    assert server.recv(1) == b""
    server.close()
    listener.close()
    eventually(lambda: summed(mesh, names[1], labels) == closed + 1, what="its end in the metrics")
    assert summed(mesh, names[0], labels) == opened + 1


def test_a_thousand_connections_of_two_pods_share_their_handshakes(mesh):
    names = "sockmesh_proxy_peer_handshakes_total", "istio_tcp_connections_opened_total"
    labels = (), ('source_workload="b"', 'destination_workload="z"')
    before = [summed(mesh, *each) for each in zip(names, labels)]
    server = mesh.there.spawn("z", sys.executable, "-c", SERVE, "8490", stdout=subprocess.PIPE, text=True)
    assert server.stdout.readline() == "ready\n"
    client = mesh.here.spawn("b", sys.executable, "-c", ASK, mesh.pod("z").ipv4, "8490", stdout=subprocess.PIPE,
                             text=True)
    assert client.communicate(timeout=60)[0] == "done\n"
    stop(server)
    handshakes, opened = [summed(mesh, *each) - old for each, old in zip(zip(names, labels), before)]
    assert opened == 1000
    assert handshakes <= 5
