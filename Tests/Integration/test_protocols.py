# SPDX-License-Identifier: Apache-2.0
"""Connections through the node proxy that are not HTTP, and ports of which nobody says what they speak."""

import json
import select
import socket
import ssl
import struct

import h2.config
import h2.connection
import h2.events
import pytest

from harness import manifests
from harness.manifests import authorization_policy
from harness.processes import run
from harness.routed import PORT, Routed, http_route
from harness.world import eventually

# Services of pod c, whose server is the test's own: their addresses, and what is said of their ports.
SERVICES = {"any": ("10.96.2.1", None), "raw": ("10.96.2.2", "tcp"), "web-only": ("10.96.2.3", "http")}
SERVER = 9025
LINGER = struct.pack("=ii", 1, 0)


@pytest.fixture(scope="module")
def routed():
    made = Routed(["--proxy-access-log", "json"])
    objects = []
    for name, (address, protocol) in SERVICES.items():
        made_service = manifests.service(name, {"app": "c"}, [(PORT, SERVER)], [address])
        if protocol:
            made_service["spec"]["ports"][0]["appProtocol"] = protocol
        objects.append(made_service)
    made.agent.write_config("protocols.yaml", *objects)
    made.routes(*(http_route(name, [{}], parent=name) for name in SERVICES))
    yield made
    made.close()


@pytest.fixture(scope="module")
def listener(routed):
    made, _ = routed.meshed.listen("c", port=SERVER)
    yield made
    made.close()


class Talk:
    """A connection of pod a through the proxy, and what pod c has of it once `accept` is called."""

    def __init__(self, routed, listener, service):
        self._listener, self._address = listener, (SERVICES[service][0], PORT)
        self.client = routed.meshed.peer("a").socket(socket.AF_INET, socket.SOCK_STREAM)
        self.client.connect(self._address)
        self.server = None

    def accept(self):
        self.server, _ = self._listener.accept()
        return self.server

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()
        if self.server:
            self.server.close()


@pytest.fixture
def talk(routed, listener):
    return lambda service: Talk(routed, listener, service)


def take(end):
    """What there is to receive, when there is something; empty at the end."""
    while True:
        try:
            return end.recv(65536)
        except BlockingIOError:
            continue  # a redirected socket may wake without data


def read(end, count):
    told = b""
    while len(told) < count and (more := take(end)):
        told += more
    return told


def until(end, mark):
    told = b""
    while mark not in told and (more := take(end)):
        told += more
    return told


def line_of(routed, client):
    """The line of the access log of a connection."""
    address = ":".join(str(part) for part in client)

    def found():
        for text in routed.agent.log_tail(400).splitlines():
            if text.startswith("{") and f'"src.addr":"{address}"' in text:
                return json.loads(text)
        return None
    return eventually(found, what=f"the line of {address}")


def test_bytes_pass_as_they_are_on_a_declared_port(routed, talk):
    with talk("raw") as ends:
        name = tuple(ends.client.getsockname())
        ends.client.sendall(b"GET / HTTP/1.1\r\n\r\n\0")
        server = ends.accept()
        assert read(server, 19) == b"GET / HTTP/1.1\r\n\r\n\0"
        # One to one: the pod sees its true client, and each end passes alone.
        assert tuple(server.getpeername()) == name
        assert tuple(ends.client.getpeername()) == (SERVICES["raw"][0], PORT)
        ends.client.shutdown(socket.SHUT_WR)
        assert take(server) == b""
        server.sendall(b"after the end")
        server.shutdown(socket.SHUT_WR)
        assert read(ends.client, 13) == b"after the end" and take(ends.client) == b""
        line = line_of(routed, name)
    assert (line["protocol"], line["reason"], line["bytes_sent"], line["bytes_recv"]) == ("TCP", "-", 19, 13)
    assert "status" not in line and line["dst.service"] == "raw.test.svc.cluster.local"
    assert line["upstream.addr"] == f"{routed.meshed.pod('c').ipv4}:{SERVER}"


@pytest.mark.parametrize("service", ["raw", "any"])
def test_the_server_may_begin(talk, service):
    with talk(service) as ends:
        server = ends.accept()
        server.sendall(b"220 ready\r\n")
        assert until(ends.client, b"\r\n") == b"220 ready\r\n"
        ends.client.sendall(b"GET /not-a-request HTTP/1.1\r\n")
        assert until(server, b"\r\n") == b"GET /not-a-request HTTP/1.1\r\n"


def test_much_goes_both_ways(talk):
    with talk("raw") as ends:
        server, count = ends.accept(), 8 << 20
        pouring = [ends.client.start_pour(count), server.start_pour(count)]
        draining = [server.start_drain(count), ends.client.start_drain(count)]
        for pending in pouring + draining:
            pending.result()


@pytest.mark.parametrize("service", ["raw", "any"])
def test_resets_pass_either_way(talk, service):
    with talk(service) as ends:
        ends.client.sendall(b"*1\r\n")
        server = ends.accept()
        assert read(server, 4) == b"*1\r\n"
        ends.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        ends.client.close()
        with pytest.raises(ConnectionResetError):
            take(server)
    with talk(service) as ends:
        ends.client.sendall(b"*1\r\n")
        server = ends.accept()
        server.sendall(b"-ERR\r\n")
        # A reset may overtake what nobody has read.
        assert read(ends.client, 6) == b"-ERR\r\n"
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        server.close()
        with pytest.raises(ConnectionResetError):
            take(ends.client)


def test_nobody_listening_is_a_reset(routed, talk):
    routed.agent.write_config("gone.yaml", manifests.service("gone", {"app": "c"}, [(PORT, SERVER + 1)], ["10.96.2.4"]))
    SERVICES["gone"] = ("10.96.2.4", None)
    try:
        routed.routes(*(http_route(name, [{}], parent=name) for name in SERVICES))

        def outcome():
            try:
                with talk("gone") as ends:
                    return take(ends.client)
            except ConnectionRefusedError:
                return None  # Not led to the proxy yet.
            except ConnectionResetError:
                return "reset"
        assert eventually(outcome, what="an answer by the proxy") == "reset"
    finally:
        del SERVICES["gone"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
        "-subj", "/CN=c", "-addext", "subjectAltName=DNS:c.test", "-keyout", path, "-out", path)
    return path


class Secured:
    """TLS over a socket of a pod, whose bytes are carried by hand."""

    def __init__(self, end, context, **options):
        self._end, self._in, self._out = end, ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self._in, self._out, **options)

    def step(self, action):
        """Whether it was done; what it has to say is sent."""
        try:
            return action() or True
        except ssl.SSLWantReadError:
            return False
        finally:
            if told := self._out.read():
                self._end.sendall(told)

    def take(self):
        self._in.write(take(self._end))


def test_tls_passes_to_whom_it_is_for(routed, talk, certificate):
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(certificate)
    with talk("any") as ends:
        client = Secured(ends.client, ssl.create_default_context(cafile=certificate), server_hostname="c.test")
        assert not client.step(client.session.do_handshake)
        server = Secured(ends.accept(), server_context, server_side=True)
        # One message of the client, all of the server's, and the client's last (RFC 8446 section 2).
        server.take()
        assert not server.step(server.session.do_handshake)
        while not client.step(client.session.do_handshake):
            client.take()
        while not server.step(server.session.do_handshake):
            server.take()
        client.step(lambda: client.session.write(b"for c alone"))
        while server.step(lambda: server.session.read(100)) is False:
            server.take()
        name = tuple(ends.client.getsockname())
        ends.client.close()
    assert line_of(routed, name)["protocol"] == "TLS"


def answer(ends, body):
    """Answers a request that comes by HTTP/1.1; its first line."""
    # On a slow machine the proxy may have asked whether the server begins, on a connection that it has given up since.
    while not (head := until(ends.accept(), b"\r\n\r\n")):
        ends.server.close()
    ends.server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    return head.split(b"\r\n")[0]


def test_http_is_http_on_the_same_port(routed, talk):
    with talk("any") as ends:
        ends.client.sendall(b"GET /one HTTP/1.1\r\nHost: any\r\n\r\n")
        assert answer(ends, b"first") == b"GET /one HTTP/1.1"
        assert until(ends.client, b"first").startswith(b"HTTP/1.1 200 OK\r\n")
        assert line_of(routed, tuple(ends.client.getsockname()))["path"] == "/one"
    with talk("any") as ends:
        asked = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        asked.initiate_connection()
        asked.send_headers(1, [(":method", "GET"), (":scheme", "http"), (":path", "/two"), (":authority", "any")],
                           end_stream=True)
        ends.client.sendall(asked.data_to_send())
        assert answer(ends, b"second") == b"GET /two HTTP/1.1"
        done = []
        while not done:
            for event in asked.receive_data(take(ends.client)):
                if isinstance(event, h2.events.DataReceived):
                    done.append(event.data)
            ends.client.sendall(asked.data_to_send())
        assert b"".join(done) == b"second"


def test_what_is_no_request_is_answered_on_a_port_of_http(talk):
    with talk("web-only") as ends:
        ends.client.sendall(b"*1\r\n$4\r\nPING\r\n")
        assert until(ends.client, b"\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_policies_of_requests_hold_for_what_is_none(routed, listener, talk):
    """A DENY with a field of HTTP denies the connection; the flow log of the proxy names it."""
    deny = authorization_policy("no-admin", {"app": "c"}, "DENY", [{"to": [{"operation": {"paths": ["/admin"]}}]}])
    with talk("raw") as living:
        living.client.sendall(b"x")
        assert read(living.accept(), 1) == b"x"
        routed.agent.write_config("policies.yaml", deny)
        with pytest.raises(ConnectionResetError):
            take(living.client)
    try:
        with talk("raw") as ends:
            name = tuple(ends.client.getsockname())
            with pytest.raises(ConnectionResetError):
                take(ends.client)
        line = line_of(routed, name)
        assert (line["reason"], line["decided_by"]) == ("policy_denied", "AuthorizationPolicy test/no-admin rule 0")
        # Where nobody says what is spoken, a request may still be one.
        with talk("any") as ends:
            ends.client.sendall(b"GET /open HTTP/1.1\r\nHost: any\r\n\r\n")
            assert answer(ends, b"open") == b"GET /open HTTP/1.1"
            assert until(ends.client, b"open").endswith(b"open")
    finally:
        routed.agent.write_config("policies.yaml")
    eventually(lambda: outcome(talk, listener, "raw") == b"server", what="the end of the policy")


def outcome(talk, listener, service):
    """What becomes of bytes that are no request: `server`, `reset`, or what is answered."""
    try:
        with talk(service) as ends:
            ends.client.sendall(b"*1\r\n\r\n")
            while not ends.client.poll(select.POLLIN, 20):
                if listener.poll(select.POLLIN):
                    ends.accept()
                    return b"server"
            return take(ends.client)
    except ConnectionResetError:
        return b"reset"


def passed_by(routed, name):
    """What `meshctl routes` says of connections that pass by a route."""
    [route] = [one for one in routed.agent.json("routes") if one["name"] == name]
    return [one["message"] for one in route["parents"][0]["conditions"] if one["type"] == "PassedBy"]


def test_a_mesh_policy_says_what_a_port_speaks(routed, listener, talk):
    assert passed_by(routed, "raw") == [f"connections to port {PORT} of Service test/raw pass by the route, for it "
                                        "speaks TCP: its appProtocol is tcp"]
    routed.agent.write_config("mesh.yaml", {
        "apiVersion": "sockmesh.io/v1alpha1", "kind": "MeshPolicy",
        "metadata": {"name": "raw-is-http", "namespace": manifests.NAMESPACE},
        "spec": {"targetRefs": [{"kind": "Namespace"}], "protocol": {"appProtocolOverrides": {PORT: "HTTP1"}}}})

    try:
        eventually(lambda: outcome(talk, listener, "raw").startswith(b"HTTP/1.1 400"), what="the policy")
        assert passed_by(routed, "raw") == []
    finally:
        routed.agent.write_config("mesh.yaml")
    eventually(lambda: outcome(talk, listener, "raw") == b"server", what="the end of the policy")


def test_who_applies_a_policy_is_told_what_it_has_passed_by(routed):
    policy = {"apiVersion": "sockmesh.io/v1alpha1", "kind": "MeshPolicy",
              "metadata": {"name": "any-is-raw", "namespace": manifests.NAMESPACE},
              "spec": {"targetRefs": [{"kind": "Service", "name": "any"}], "protocol": {"detect": "TCP"}}}
    try:
        report = routed.agent.apply(policy)
        told = [(one["severity"], one["object"]) for one in report["findings"]]
        assert told == [("warning", "HTTPRoute test/any")]
        assert "MeshPolicy test/any-is-raw says so in spec.protocol.detect" in report["findings"][0]["message"]
    finally:
        routed.agent.delete(policy)


def test_connections_are_counted_and_explained(routed, talk):
    def counted(name):
        for item in routed.agent.json("metrics", f"istio_tcp_{name}"):
            if item["labels"].get("destination_service_name") == "raw":
                return item["value"]
        return 0
    before = {name: counted(name) for name in ("connections_opened_total", "received_bytes_total")}
    with talk("raw") as ends:
        ends.client.sendall(b"0123456789")
        assert read(ends.accept(), 10) == b"0123456789"
        # While it is open.
        eventually(lambda: counted("received_bytes_total") == before["received_bytes_total"] + 10, what="ten bytes")
        assert counted("connections_opened_total") == before["connections_opened_total"] + 1
    report = routed.agent.json("policy", "explain", "test/a", f"test/raw:{PORT}", "GET", "/")["request"]
    assert report["outcome"] == "direct" and "TCP" in report["explanation"]
