# SPDX-License-Identifier: Apache-2.0
"""The other end of a tunnel, by Python's ssl and h2: both roles, and authorities whose certificates they show."""

import datetime
import json
import os
import queue
import re
import select
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from harness.processes import PATIENCE, root_of_repository, spawn, stop

# h2 takes a GOAWAY for the end of a connection; streams that are open go on (RFC 9113 section 6.8).
_RULES = h2.connection.H2ConnectionStateMachine._transitions
for _state in (h2.connection.ConnectionState.CLIENT_OPEN, h2.connection.ConnectionState.SERVER_OPEN):
    _RULES[_state, h2.connection.ConnectionInputs.RECV_GOAWAY] = (None, _state)

_DAY = datetime.timedelta(days=1)
# What a client says first: RFC 9113 section 3.4, with settings that change nothing.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")


def pem_blocks(text, label):
    """Those of a PEM text whose label ends so."""
    return [block.encode() for block in re.findall(
        rf"-----BEGIN [A-Z ]*{label}-----.*?-----END [A-Z ]*{label}-----\n", text, re.S)]


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


class Authority:
    """A root, and the leaves that it signs."""

    def __init__(self, domain="mesh.test", namespace="shop"):
        self.domain = domain
        self.namespace = namespace
        # Certificates between leaves and the root.
        self._between = ""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"root {os.urandom(4).hex()}")])
        builder = self._builder(self._name, self._key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.root = _pem(builder.sign(self._key, hashes.SHA256()))

    @classmethod
    def of_file(cls, path, domain, namespace, place=0):
        """The certificate at a place of an authority's file: the root, or at 1 the intermediate, which signs for agents."""
        made = cls(domain, namespace)
        text = Path(path).read_text()
        certificates = [x509.load_pem_x509_certificate(block) for block in pem_blocks(text, "CERTIFICATE")]
        keys = [serialization.load_pem_private_key(block, None) for block in pem_blocks(text, "PRIVATE KEY")]
        made._key, made._name, made.root = keys[place], certificates[place].subject, _pem(certificates[0])
        made._between = "".join(map(_pem, certificates[1:place + 1]))
        return made

    def renew_intermediate(self, path, seconds):
        """Signs the intermediate in an authority's file, whose root this is, once more: it lives so long from now on."""
        text = Path(path).read_text()
        block = pem_blocks(text, "CERTIFICATE")[1]
        old = x509.load_pem_x509_certificate(block)
        # Agents date certificates back by as much (CertificateIssuer.backdating).
        builder = self._builder(old.subject, old.public_key(), datetime.timedelta(seconds=300),
                                datetime.timedelta(seconds=seconds))
        for extension in old.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        Path(path).write_text(text.replace(block.decode(), _pem(builder.sign(self._key, hashes.SHA256()))))

    def _builder(self, subject, key, before=_DAY, after=_DAY):
        now = datetime.datetime.utcnow()
        return (x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key)
                .serial_number(x509.random_serial_number()).not_valid_before(now - before).not_valid_after(now + after))

    def id(self, account):
        return f"spiffe://{self.domain}/ns/{self.namespace}/sa/{account}"

    def svid(self, account):
        """The certificate, those up to the root, and the key as one PEM text."""
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        leaf = (self._builder(x509.Name([]), key.public_key())
                .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(self.id(account))]), True)
                .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
                .add_extension(x509.ExtendedKeyUsage(usages), False).sign(self._key, hashes.SHA256()))
        return _pem(leaf) + self._between + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()

    def revoked(self, svid):
        """A revocation list with the certificate of an identity, as PEM."""
        leaf = x509.load_pem_x509_certificate(svid.encode())
        now = datetime.datetime.utcnow()
        entry = x509.RevokedCertificateBuilder().serial_number(leaf.serial_number).revocation_date(now).build()
        return _pem(
            x509.CertificateRevocationListBuilder().issuer_name(self._name).last_update(now - _DAY)
            .next_update(now + _DAY).add_revoked_certificate(entry).sign(self._key, hashes.SHA256()))


def tls(server, svid, roots, alpn=("h2",), maximum=None):
    """A context of Python's. `svid`: None for no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=roots)
    if maximum:
        context.maximum_version = maximum
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if svid:
        with tempfile.NamedTemporaryFile("w") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(svid)
            file.flush()
            context.load_cert_chain(file.name)
    return context


class Probe:
    """`tunnel-probe`: a worker of tunnels with its own loop, told and asked by lines of JSON."""
    PROGRAM = root_of_repository() / ".build/debug/tunnel-probe"

    def __init__(self, **start):
        self._process = spawn(self.PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid
        self.events = []
        self._arrived = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()
        self.do("start", **start)
        started = self.wait("started")
        self.peers, self.pods = started["peers"], started["pods"]

    def _read(self):
        for line in self._process.stdout:
            with self._arrived:
                self.events.append(json.loads(line))
                self._arrived.notify_all()

    def do(self, what, **values):
        self._process.stdin.write(json.dumps({"do": what, **values}) + "\n")
        self._process.stdin.flush()

    def publish(self, svids, roots, serial=1, revoked=None):
        self.do("publish", svids=svids, roots=roots, serial=serial, revoked=revoked or {})
        self.wait("published")

    def wait(self, event, **values):
        """The first such event, which is taken off the list."""
        def matches(each):
            return each["event"] == event and all(str(each[name]).startswith(str(value)) for name, value in values.items())
        deadline = time.monotonic() + PATIENCE
        with self._arrived:
            while True:
                for each in self.events:
                    if matches(each):
                        self.events.remove(each)
                        return each
                left = deadline - time.monotonic()
                assert left > 0 and self._process.poll() is None, f"no {event} {values} among {self.events}"
                self._arrived.wait(min(left, 1))

    def settle(self, what, **values):
        """As `do`, and returns when it is in force: commands are taken in order, and the next one is answered."""
        self.do(what, **values)
        self.counters()

    def counters(self):
        self.do("counters")
        return self.wait("counters")

    def close(self):
        stop(self._process)


class End:
    """One connection of HTTP/2 in TLS. Not for several threads: each call reads what it needs."""

    def __init__(self, plain, context, server):
        plain.settimeout(PATIENCE)
        self._socket = context.wrap_socket(plain, server_side=server)
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=not server, header_encoding="utf-8",
            validate_inbound_headers=False, validate_outbound_headers=False))
        # h2 throws away what it has not sent when a GOAWAY comes, the answer to the PING before it too.
        self.h2.clear_outbound_data_buffer = lambda: None
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(1 << 24)
        self.data, self.heads, self.ended, self.resets = {}, {}, set(), {}
        self.requests, self.goaways, self.pings = queue.SimpleQueue(), [], 0
        self.is_over = False
        self.reads = True
        self.flush()

    @property
    def alpn(self):
        return self._socket.selected_alpn_protocol()

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self._socket.sendall(data)

    def step(self):
        """Reads once and takes note."""
        try:
            received = self._socket.recv(1 << 16)
        except (ssl.SSLError, ConnectionError):
            received = b""
        if not received:
            self.is_over = True
            return
        for event in self.h2.receive_data(received):
            self._note(event)
        self.flush()

    def _note(self, event):
        kind, stream = type(event).__name__, getattr(event, "stream_id", None)
        if kind == "DataReceived":
            self.data[stream] = self.data.get(stream, b"") + event.data
            if event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
        elif kind == "RequestReceived":
            self.heads[stream] = dict(event.headers)
            self.requests.put(stream)
        elif kind == "ResponseReceived":
            self.heads[stream] = dict(event.headers)
        elif kind == "StreamEnded":
            self.ended.add(stream)
        elif kind == "StreamReset":
            self.resets[stream] = event.error_code
        elif kind == "ConnectionTerminated":
            self.goaways.append((event.last_stream_id, event.error_code))
        elif kind == "PingReceived":
            self.pings += 1

    def until(self, condition, what):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert not self.is_over, f"the connection ended before {what}: {self.goaways}"
            assert time.monotonic() < deadline, f"not seen: {what}"
            self.step()

    def connect(self, authority, *fields, end=False):
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [(":method", "CONNECT"), (":authority", authority), *fields], end_stream=end)
        self.flush()
        return stream

    def status(self, stream):
        self.until(lambda: stream in self.heads, f"a response on {stream}")
        return int(self.heads[stream][":status"])

    def send(self, stream, data, end=False):
        while data:
            self.until(lambda: self.h2.local_flow_control_window(stream) > 0, "an open window")
            size = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(data))
            self.h2.send_data(stream, data[:size])
            data = data[size:]
            self.flush()
        if end:
            self.h2.end_stream(stream)
            self.flush()

    def read(self, stream, count):
        self.until(lambda: len(self.data.get(stream, b"")) >= count, f"{count} bytes on {stream}")
        taken, self.data[stream] = self.data[stream][:count], self.data[stream][count:]
        return taken

    def to_end(self, stream):
        self.until(lambda: stream in self.ended, f"the end of {stream}")
        return self.data.get(stream, b"")

    def reset(self, stream, code):
        self.h2.reset_stream(stream, code)
        self.flush()

    def send_raw(self, data):
        """Past TLS."""
        while data:
            data = data[os.write(self._socket.fileno(), data):]

    def alert(self):
        """The peer's, as OpenSSL names it; none if it ends in order."""
        try:
            while self._socket.recv(1 << 16):
                pass
        except ssl.SSLError as error:
            return error.reason

    def close(self):
        try:
            self._socket.close()
        except OSError:
            pass


class Application:
    """A listener on loopback whose accepted sockets a test takes."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._listener.settimeout(PATIENCE)
        self.port = self._listener.getsockname()[1]

    def accept(self):
        accepted, _ = self._listener.accept()
        accepted.settimeout(PATIENCE)
        return accepted

    def close(self):
        self._listener.close()


def is_quiet(plain):
    """Whether nothing has come, not even an end."""
    return not select.select([plain], [], [], 0.05)[0]


def exactly(plain, count):
    data = b""
    while len(data) < count:
        more = plain.recv(min(1 << 16, count - len(data)))
        assert more, f"the end after {len(data)} of {count} bytes"
        data += more
    return data


def to_end(plain):
    data = b""
    while more := plain.recv(1 << 16):
        data += more
    return data
