# SPDX-License-Identifier: Apache-2.0
"""Two nodes that have joined an authority which `meshctl ca serve` serves on the first one, and a node of Python's."""

import base64
import json
import socket
import ssl
import struct

from .agent import binary
from .node import in_namespace
from .processes import PATIENCE, run, spawn, stop
from .two_nodes import DOMAIN, TwoNodes
from .world import eventually

ADDRESS, PORT = "10.81.0.1", 15010
PROTOCOL = "sockmesh-ca/1"


class ServedAuthority:
    """`meshctl ca serve` over the state and the configuration of a node's agent."""

    def __init__(self, agent):
        self.agent = agent
        self.log = agent.directory / "ca.log"
        self.process = None

    def _place(self):
        return ["--node", self.agent.node.id, "--state-dir", self.agent.state, "--trust-domain", DOMAIN]

    def start(self):
        with self.log.open("ab") as log:
            at = log.tell()
            self.process = spawn(*self.agent.node.enter(
                binary("meshctl"), "ca", "serve", *self._place(), "--config-dir", self.agent.config, "--listen",
                f"{ADDRESS}:{PORT}"), stdout=log, stderr=log)

        def serves():
            said = self.log.read_bytes()[at:]
            assert self.process.poll() is None, said
            return b"the authority is served" in said
        eventually(serves, what="an authority that is served")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        return stop(self.process) if self.process else None

    def change(self, *words):
        """Stops serving, changes what signs, and serves again. What there is then, oldest root first."""
        self.rotate(*words)
        return self.generations()

    def rotate(self, *words, check=True):
        """The same: how `meshctl ca rotate` went."""
        self.stop()
        done = run(binary("meshctl"), "ca", "rotate", *self._place(), *words, check=check)
        self.start()
        return done

    def revoke(self, *words, check=True):
        """While it is kept: how `meshctl ca revoke` went."""
        return run(binary("meshctl"), "ca", "revoke", *words, *self._place(), check=check)

    def generations(self):
        return json.loads(run(binary("meshctl"), "ca", "show", *self._place(), "-o", "json").stdout)["generations"]

    def token(self, node, *words, check=True):
        """The path of a join file for the node."""
        path = self.agent.directory / f"{node}.join"
        path.unlink(missing_ok=True)
        done = run(binary("meshctl"), "ca", "token", node, *self._place(), "--address", f"{ADDRESS}:{PORT}", "--out", path,
                   *words, check=check)
        return path, done


class JoinedNodes(TwoNodes):
    def _start(self, options):
        self.authority = None
        for side, words in zip(self.sides, options):
            side.prepare(self.objects, *words)
        self.authority = ServedAuthority(self.here.agent)
        self.authority.start()
        self.files = {}
        for side in self.sides:
            self.files[side], _ = self.authority.token(side.agent.node.id)
            words = side.agent.options
            words[words.index("--identity") + 1] = f"join:{self.files[side]}"
            side.agent.start()

    def remove(self):
        if getattr(self, "authority", None):
            self.authority.stop()
        super().remove()


class Asker:
    """What a node says to an authority, in Python, from the network namespace of `node`."""

    def __init__(self, node, join_file, certificate=None):
        self.file = json.loads(join_file.read_text())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols([PROTOCOL])
        context.load_verify_locations(cadata=b"".join(base64.b64decode(root) for root in self.file["roots"]))
        if certificate:
            context.load_cert_chain(certificate)
        plain = in_namespace(f"/run/netns/{node.netns}",
                             lambda: socket.create_connection((ADDRESS, PORT), timeout=PATIENCE))
        self._socket = context.wrap_socket(plain)
        assert self._socket.selected_alpn_protocol() == PROTOCOL

    def ask(self, **call):
        body = json.dumps(call).encode()
        self._socket.sendall(struct.pack(">I", len(body)) + body)
        size, = struct.unpack(">I", self._exactly(4))
        return json.loads(self._exactly(size))

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def close(self):
        self._socket.close()


def request():
    """A certificate request of a new key, DER in base64."""
    der = run("sh", "-c", "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj / "
              "-outform DER 2>/dev/null | base64 -w0").stdout
    return der.strip()
