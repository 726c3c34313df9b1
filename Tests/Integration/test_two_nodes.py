# SPDX-License-Identifier: Apache-2.0
"""TCP between enrolled pods of two nodes: through tunnels with mutual TLS, whole, and refused where policy says so.

What applications send in these tests are markers. The end of the fixture `mesh` looks for them on the wire, in a capture of
all that has passed between the nodes, and for anything else than TLS.
"""

import functools
import os
import socket
import ssl
import statistics
import subprocess
import sys
import time

import pytest

from harness.hbone import Authority, End, tls
from harness.manifests import app, authorization_policy, network_policy, service
from harness.meshed import Applied
from harness.node import in_namespace
from harness.processes import PATIENCE, own_memory, stop
from harness.routed import PROGRAM, Client, http_route, to
from harness.said import everything_said
from harness.tls_port import TLSPort, with_compression
from harness.two_nodes import DOMAIN, TwoNodes, outcome, received
from harness.world import eventually, fastest

VIP, VIP_PORT, TARGET = "10.96.7.1", 80, 8480
WEB, WEB_TARGET = "10.96.7.2", 8180
METRICS = 19487


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


def written(name):
    """An address as the access log has it."""
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"


@pytest.mark.parametrize("ends", ["ax", "xa"])
def test_both_ends_see_one_stream_and_the_wire_sees_none_of_it(mesh, ends, family):
    marker = mesh.marker()
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
    mesh.check_wire()
    assert sum(map(len, mesh.wire.frames())) > 3_000_000, "the tunnel passes here"
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
        sent = mesh.marker()
        pair[0].send(sent)
        assert received(pair[1], len(sent)) == sent
        pair[end].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        pair[end].close()
        with pytest.raises(ConnectionResetError):
            pair[1 - end].recv(1)
        pair[1 - end].close()


@pytest.mark.parametrize("ends", ["ax", "xa"])
def test_small_pieces_wait_for_no_acknowledgement(mesh, ends):
    """A receiver that has answered before acknowledges with its next answer, or after 40 ms: so long a second piece would wait
    with Nagle's algorithm on any of the three connections."""
    client, server = mesh.connect(*ends)

    def median():
        times = []
        for _ in range(9):
            client.send(b"1")
            assert server.recv(1) == b"1"
            began = time.monotonic()
            client.send(b"2")
            assert server.recv(1) == b"2"
            times.append(time.monotonic() - began)
            server.send(b"3")
            assert client.recv(1) == b"3"
        return statistics.median(times)
    assert fastest(median, 0.03) < 0.03
    client.close()
    server.close()


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


def test_a_service_whose_endpoint_is_elsewhere(mesh):
    client = mesh.here.peer("b").socket(socket.AF_INET, socket.SOCK_STREAM)
    listener = mesh.there.server("x", TARGET)
    client.connect((VIP, VIP_PORT))
    assert client.getpeername() == [VIP, VIP_PORT]
    server, _ = listener.accept()
    sent = mesh.marker()
    client.send(sent)
    assert received(server, len(sent)) == sent
    for end in (client, server, listener):
        end.close()
    assert mesh.log(mesh.here, dst__service="far.test.svc.cluster.local")["dst.workload"] == "x"


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
        header = mesh.marker().decode()
        # The answer has it too.
        answer = client.ask(address=WEB, path="/routed/x", headers={"x-marker": header})
        assert answer["status"] == 200, answer
        assert (answer["answer"]["pod"], answer["answer"]["headers"]["x-marker"]) == ("z", header)
    assert client.ask(address=WEB, path="/other")["status"] == 404
    assert not mesh.wire.has(b"GET /routed")


def test_requests_that_the_destinations_policy_decides(mesh, client, policies):
    address, port = mesh.pod("z").ipv4, WEB_TARGET
    assert client.ask(address=address, port=port, path="/no")["status"] == 200
    rule = {"from": [{"source": {"principals": [f"{DOMAIN}/ns/test/sa/sa-a"]}}],
            "to": [{"operation": {"paths": ["/yes*"]}}]}
    policies(authorization_policy("paths", {"app": "z"}, "ALLOW", [rule]))
    header = {"x-marker": mesh.marker().decode()}
    assert client.ask(address=address, port=port, path="/yes", headers=header)["status"] == 200
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


@pytest.fixture(scope="module")
def port(mesh):
    return TLSPort(mesh, DOMAIN, "u", "x")


def test_the_port_of_tunnels_speaks_tls_1_3_to_who_has_a_certificate_and_nothing_else(port):
    opened = port.handshake(port.context())
    assert (opened.version(), opened.cipher()[0][:8], opened.compression()) == ("TLSv1.3", "TLS_AES_", None)
    # Nothing to come back with: no resumption, so no early data either.
    assert not opened.session.has_ticket
    opened.close()
    refused = {"no certificate": (port.context(svid=None), "TLSV13_ALERT_CERTIFICATE_REQUIRED"),
               # Python has no name for the alert 120; whoever says nothing of protocols is not told why.
               "HTTP/1.1": (port.context(alpn=("http/1.1",)), "no application protocol"),
               "no protocol": (port.context(alpn=()), "ended without an alert")}
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2):
        context = port.context(maximum=version)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = version
        refused[version.name] = context, "TLSV1_ALERT_PROTOCOL_VERSION"
    found = {name: port.refusal(context) for name, (context, _) in refused.items()}
    assert all(reason in found[name] for name, (_, reason) in refused.items()), found
    hello = port.client_hello()
    assert port.answer(hello)[0] == 22, "which begins a handshake as it is"
    assert port.alert(with_compression(hello)) == 47  # illegal_parameter
    assert port.alert(b"\x17\x03\x03\x00\x20" + bytes(32)) == 10, "unexpected_message: data before all else"
    assert port.answer(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")[:1] in (b"", b"\x15")


@pytest.mark.parametrize("is_spoken, words", [
    (True, ("-ciphersuites", "TLS_AES_128_GCM_SHA256", "-groups", "X25519")),
    (True, ("-ciphersuites", "TLS_AES_256_GCM_SHA384", "-groups", "P-256")),
    (False, ("-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256")), (False, ("-ciphersuites", "TLS_AES_128_CCM_SHA256")),
    (False, ("-groups", "P-521")), (False, ("-groups", "X448")), (False, ("-sigalgs", "RSA-PSS+SHA256"))],
    ids=lambda value: value[1] if isinstance(value, tuple) else "")
def test_suites_and_groups_of_the_port_of_tunnels(port, is_spoken, words):
    spoken, text = port.openssl("-tls1_3", *words)
    assert spoken == is_spoken and ("alert handshake failure" in text) != is_spoken, text


def test_what_is_no_tls_costs_the_proxy_nothing_that_stays(mesh, port):
    pid = mesh.there.proxy.serving()
    port.fuzz(150, seed=1)
    before = own_memory(pid)
    port.fuzz(150, seed=2)
    assert mesh.there.proxy.serving() == pid
    assert own_memory(pid) - before < 1 << 20
    port.handshake(port.context()).close()
    assert outcome(mesh, "a", "x") == "ok"


def test_no_header_body_or_byte_of_a_tunnel_is_in_a_log_or_in_what_meshctl_prints(mesh, client, policies):
    """What the log has of a request is in docs/operations.md; the path is, which shows that this looks in the right place."""
    rule = {"to": [{"operation": {"notPaths": ["/routed/denied"]}}]}
    policies(authorization_policy("not-that", {"app": "z"}, "ALLOW", [rule]))
    shown, secrets = os.urandom(8).hex(), []
    say = functools.partial(mesh.say, "a", (WEB, VIP_PORT))

    def secret():
        secrets.append(mesh.marker().decode())
        return secrets[-1]
    requests = [f"GET /routed/{shown}", "POST /routed/x", "POST /routed/denied", "POST /nowhere"]
    for line in requests:
        body = secret()
        head = (f"{line} HTTP/1.1\r\nHost: web\r\nAuthorization: Bearer {secret()}\r\nCookie: session={secret()}\r\n"
                f"X-Api-Key: {secret()}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n")
        say(head + body)
    # What cannot be read: a line without a colon, a body that is none, bytes that are not HTTP.
    say(f"GET /routed/y HTTP/1.1\r\nHost: web\r\nAuthorization {secret()}\r\n\r\n")
    say(f"POST /routed/y HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n{secret()}\r\n")
    say(f"{secret()}\r\n\r\n")
    one, other = mesh.connect("a", "x")
    one.send(secret().encode())
    assert received(other, len(secrets[-1])) == secrets[-1].encode()
    one.close()
    other.close()
    for side, path in ((mesh.here, shown), (mesh.here, "/nowhere"), (mesh.there, "/routed/denied"),
                       (mesh.there, "/routed/x")):
        eventually(lambda: path in side.agent.log.read_text(), what=f"a line about {path}")
    for side, words in ((mesh.here, ["test/a", "test/x:80"]), (mesh.there, ["test/x", "test/a:80"])):
        said = everything_said(side.agent, words)
        assert [one for one in secrets if one in said or one.split()[-1] in said] == []


def test_metrics(mesh):
    def page():
        def get():
            plain = socket.create_connection(("127.0.0.1", METRICS), timeout=PATIENCE)
            plain.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            return b"".join(iter(lambda: plain.recv(1 << 16), b"")).decode()
        return in_namespace(f"/run/netns/{mesh.here.node.netns}", get)
    labels = ('reporter="source"', 'source_workload="a"', 'destination_workload="z"', 'security_policy="mutual_tls"',
              f'source_principal="spiffe://{DOMAIN}/ns/test/sa/sa-a"',
              f'destination_principal="spiffe://{DOMAIN}/ns/test/sa/sa-z"')

    def value(name):
        return sum(float(line.split()[-1]) for line in page().splitlines()
                   if line.startswith(name + "{") and all(label in line for label in labels))
    names = ("istio_tcp_received_bytes_total", "istio_tcp_connections_opened_total",
             "istio_tcp_connections_closed_total")
    bytes_before, opened, closed = [value(name) for name in names]
    client, server = mesh.connect("a", "z")
    sent = mesh.marker()
    client.send(sent)
    assert received(server, len(sent)) == sent
    eventually(lambda: value(names[1]) == opened + 1, what="the connection in the metrics")
    client.close()
    server.close()
    eventually(lambda: value(names[0]) == bytes_before + len(sent), what="the bytes in the metrics")
    assert value(names[2]) == closed + 1
    assert 'sockmesh_proxy_tunnels_failed_total{direction="outbound",reason="peer_unavailable"}' in page()


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
    sent = mesh.marker()
    kept[0].send(sent)
    assert received(kept[1], len(sent)) == sent
