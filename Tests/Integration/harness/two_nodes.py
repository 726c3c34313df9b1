# SPDX-License-Identifier: Apache-2.0
"""Two nodes with agents, proxies and one authority, and a wire between them that is listened to."""

import errno
import itertools
import json
import os
import shutil
import socket

from . import manifests
from .agent import Agent
from .meshed import OTHER, Meshed
from .node import Node
from .nodeproxy import NodeProxy
from .processes import PATIENCE
from .wire import TUNNELS, cable, records, segments
from .world import eventually

DOMAIN = "mesh.test"


def share_authority(first, second):
    """Gives the second node's agent, which has not started yet, the first's authority."""
    second.state.mkdir(mode=0o700)
    shutil.copy2(first.state / "authority.pem", second.state / "authority.pem")


class Side(Meshed):
    """One node: its pods are enrolled but those whose names begin with u; e wants encryption on its own node too."""

    def __init__(self, pods, first):
        self._container_ports = ()
        self.mode, self.agent, self._peers = "enabled", None, {}
        self._ports = itertools.cycle(range(7000 + first * 10, 8000))
        self.node = Node()
        for place, name in enumerate(pods):
            self.node.add_pod(name, first + place)

    def objects(self):
        return [self.pod_object(name, mesh="disabled" if name[0] == "u" else "enabled",
                                annotations={"sockmesh.io/encrypt": "always"} if name == "e" else None)
                for name in self.node.pods]

    def argv(self, name, *argv):
        return self.pod(name).enter(*argv) if name[0] == "u" else super().argv(name, *argv)

    def prepare(self, objects, *options, identity="local"):
        """Makes the agent, which is not started."""
        self.agent = Agent(self.node, objects)
        self.proxy = NodeProxy(self.agent)
        self.agent.directory.chmod(0o755)  # the proxy is another user
        self.agent.proxy = None
        self.agent.options = ["--identity", identity, "--trust-domain", DOMAIN, *options]


class TwoNodes:
    """here: pods a, b and u, which is not in the mesh, or others; there: pods x and z. All know all Pods."""

    def __init__(self, *objects, options=((), ()), pods=("a", "b", "u")):
        self.here = self.there = self.wire = None
        self._markers = []
        try:
            self.here, self.there = Side(pods, 10), Side(("x", "z"), 40)
            self.wire = cable(self.here.node, self.there.node)
            self._enrolled = {pod.address(family) for side in self.sides for name, pod in side.node.pods.items()
                              if name[0] != "u" for family in (4, 6)}
            self.objects = [manifests.namespace(manifests.NAMESPACE, {"team": "red"}),
                            manifests.namespace(OTHER, {"team": "blue"}),
                            *self.here.objects(), *self.there.objects(), *objects]
            self._start(options)
            for side in self.sides:
                side.proxy.serving()
                eventually(lambda: self._has_certificates(side), what="certificates in the proxy")
        except BaseException:
            self.remove()
            raise

    def _start(self, options):
        """Both have an authority in a file: the same one."""
        for side, words in zip(self.sides, options):
            side.prepare(self.objects, *words)
        self.here.agent.start()
        share_authority(self.here.agent, self.there.agent)
        self.there.agent.start()

    @property
    def sides(self):
        return [side for side in (self.here, self.there) if side]

    def side(self, pod):
        return next(side for side in self.sides if pod in side.node.pods)

    def pod(self, name):
        return self.side(name).pod(name)

    @staticmethod
    def _has_certificates(side):
        wanted = sum(name[0] != "u" for name in side.node.pods)
        return any(one.get("identities") == wanted for one in side.proxy.report()["proxies"])

    def marker(self):
        """Bytes that an application of an enrolled pod sends to another: `close` looks for them on the wire."""
        self._markers.append(b"in clear " + os.urandom(24).hex().encode())
        return self._markers[-1]

    def connect(self, source, destination, family=4, port=None):
        """(client, server) sockets of a connection through a tunnel, if both pods are enrolled."""
        there = self.side(destination)
        listener, address = there.listen(destination, family, port=port)
        client = self.side(source).peer(source).socket(socket.AF_INET if family == 4 else socket.AF_INET6,
                                                       socket.SOCK_STREAM)
        client.settimeout(PATIENCE)
        client.connect(address)
        server, _ = listener.accept()
        server.settimeout(PATIENCE)
        listener.close()
        return client, server

    def say(self, pod, address, text):
        """Sends bytes and their end, and returns when the other end has come, in whatever way."""
        client = self.side(pod).peer(pod).socket(socket.AF_INET, socket.SOCK_STREAM)
        client.settimeout(PATIENCE)
        try:
            client.connect(address)
            client.send(text.encode())
            client.shutdown(socket.SHUT_WR)
            while client.recv(1 << 16):
                pass
        except OSError as error:
            # It may be over before all of this is done.
            assert error.errno in (errno.ECONNRESET, errno.ENOTCONN, errno.EPIPE), error
        finally:
            client.close()

    def log(self, side, detail="", **values):
        """The newest line of the access log with these values, and words of its detail, once there is one."""
        def look():
            for line in reversed(side.agent.log.read_text(errors="replace").splitlines()):
                if line.startswith("{") and '"HBONE"' in line:
                    record = json.loads(line)
                    if detail in record.get("detail", "") and all(
                            record.get(key.replace("__", ".")) == value for key, value in values.items()):
                        return record
            return None
        return eventually(look, what=f"a line of a tunnel with {values} {detail}")

    def check_wire(self):
        """That of what enrolled pods of different nodes have said to each other by TCP nothing passed the wire but TLS, and
        that this has looked at everything."""
        seen, lost = self.wire.counts()
        frames = self.wire.frames()
        assert lost == 0 and len(frames) >= seen > 0, f"{lost} of {seen} frames were lost, {len(frames)} looked at"
        found = [one for one in segments(frames) if {one.source, one.destination} <= self._enrolled]
        clear = [one for one in found if one.payload and TUNNELS not in one.ports]
        assert not clear, f"{len(clear)} segments outside of tunnels, the first: {clear[0]}"
        counts = records(found)
        assert counts["handshake"] and counts["application_data"], counts
        for marker in self._markers:
            # A marker that is cut in two by frames is found by its half.
            for part in (marker[:len(marker) // 2], marker[len(marker) // 2:]):
                assert not any(part in frame for frame in frames), f"{part} passed in clear"
        return counts

    def close(self):
        """Looks at what has passed the wire, and takes everything down."""
        try:
            self.check_wire()
        finally:
            self.remove()

    def remove(self):
        for side in self.sides:
            if side.agent:
                try:
                    side.proxy.report()
                except Exception:  # the agent may have ended
                    pass
            side.remove()
            if side.agent:
                side.proxy.end()
        if self.wire:
            self.wire.close()


def received(end, count, mark=None):
    """So many bytes, or fewer: until `mark`, if it is given, or the end."""
    data = b""
    while len(data) < count and not (mark and mark in data) and (more := end.recv(count - len(data))):
        data += more
    return data


def outcome(mesh, source, destination, port=None):
    """What becomes of a connection: "ok", or the error of connect(2) or of the first recv(2)."""
    listener, found = mesh.side(destination).listen(destination, port=port)
    client = mesh.side(source).peer(source).socket(socket.AF_INET, socket.SOCK_STREAM)
    client.settimeout(PATIENCE)
    try:
        client.connect(found)
        pending = listener.later("accept")
        # A reset says it before anybody accepts.
        end = client.later("recv", 1)
        eventually(lambda: pending.done() or end.done(), what="an end")
        if not pending.done():
            end.result()
        server, _ = pending.result()
        sent = mesh.marker()
        client.send(sent)
        client.shutdown(socket.SHUT_WR)
        assert received(server, len(sent) + 1) == sent
        server.close()
        assert end.result() == b""
        return "ok"
    except OSError as error:
        return errno.errorcode[error.errno]
    finally:
        client.close()
        listener.close()
