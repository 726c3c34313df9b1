# SPDX-License-Identifier: Apache-2.0
"""Two nodes with agents, proxies and one authority, and a wire between them that is listened to."""

import ctypes
import itertools
import json
import os
import shutil
import socket
import threading

from . import manifests
from .agent import Agent, binary
from .meshed import OTHER, Meshed
from .node import Node
from .nodeproxy import NodeProxy
from .processes import PATIENCE, run
from .world import eventually

DOMAIN = "mesh.test"
_LIBC = ctypes.CDLL(None, use_errno=True)
_ETH_P_ALL = 3


def in_namespace(path, make):
    """What `make()` returns, called by a thread in the network namespace: a socket is of it wherever it is used."""
    result = []

    def work():
        with open(path) as namespace:
            if _LIBC.setns(namespace.fileno(), 0x40000000):  # CLONE_NEWNET
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        result.append(make())
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return result[0]


class Wire:
    """Everything that passes between the nodes."""

    def __init__(self, node, device):
        def listen():
            listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
            listener.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
            listener.bind((device, 0))
            return listener
        self._listener = in_namespace(f"/run/netns/{node.netns}", listen)
        self._listener.setblocking(False)
        self._frames = []

    def frames(self):
        """All so far."""
        while True:
            try:
                self._frames.append(self._listener.recv(1 << 17))
            except BlockingIOError:
                return self._frames

    def has(self, marker):
        return any(marker in frame for frame in self.frames())

    def close(self):
        self._listener.close()


class Side(Meshed):
    """One node: its pods are enrolled but those whose names begin with u."""

    def __init__(self, pods, first):
        self._container_ports = ()
        self.mode, self.agent, self._peers = "enabled", None, {}
        self._ports = itertools.cycle(range(7000 + first * 10, 8000))
        self.node = Node()
        for place, name in enumerate(pods):
            self.node.add_pod(name, first + place)

    def objects(self):
        return [self.pod_object(name, mesh="disabled" if name[0] == "u" else "enabled") for name in self.node.pods]

    def argv(self, name, *argv):
        return self.pod(name).enter(*argv) if name[0] == "u" else super().argv(name, *argv)

    def prepare(self, objects, *options, identity="local"):
        """Makes the agent, which is not started."""
        self.agent = Agent(self.node, objects)
        self.proxy = NodeProxy(self.agent)
        self.agent.directory.chmod(0o755)  # the proxy is another user
        self.agent.options = ["--proxy", binary("mesh-proxy"), "--identity", identity, "--trust-domain", DOMAIN,
                              *options]


class TwoNodes:
    """here: pods a, b and u, which is not in the mesh; there: pods x and z. All know all Pods."""

    def __init__(self, *objects, options=((), ())):
        self.here = self.there = self.wire = None
        try:
            self.here, self.there = Side(("a", "b", "u"), 10), Side(("x", "z"), 40)
            self._join()
            self.objects = [manifests.namespace(manifests.NAMESPACE, {"team": "red"}),
                            manifests.namespace(OTHER, {"team": "blue"}),
                            *self.here.objects(), *self.there.objects(), *objects]
            self._start(options)
            for side in self.sides:
                side.proxy.serving()
                eventually(lambda: self._has_certificates(side), what="certificates in the proxy")
        except BaseException:
            self.close()
            raise

    def _start(self, options):
        """Both have an authority in a file: the same one."""
        for side, words in zip(self.sides, options):
            side.prepare(self.objects, *words)
        self.here.agent.start()
        self.there.agent.state.mkdir(mode=0o700)
        shutil.copy2(self.here.agent.state / "authority.pem", self.there.agent.state / "authority.pem")
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

    def _join(self):
        """The bridges become one network; the second node has other addresses of its own on it."""
        near, far = self.here.node, self.there.node
        run("ip", "-n", near.netns, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", far.netns)
        run("ip", "-n", far.netns, "-batch", "-", text="".join(f"{words}\n" for words in (
            "addr del 10.81.0.1/16 dev br0", "addr add 10.81.0.2/16 dev br0",
            "addr del fd81::1/64 dev br0", "addr add fd81::2/64 dev br0 nodad")))
        for node in (near, far):
            run("ip", "-n", node.netns, "-batch", "-", text="link set wire master br0 up\n")
        self.wire = Wire(near, "wire")

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

    def close(self):
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
