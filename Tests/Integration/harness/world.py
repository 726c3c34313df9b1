# SPDX-License-Identifier: Apache-2.0
"""Pods with a process in each, over plain veths or with the mesh, behind one face for the tests."""

import itertools
import socket
import time

from . import manifests
from .agent import Agent
from .node import Node
from .processes import PATIENCE, spawn
from .remote import Peer

MODES = ("plain", "auto", "enabled", "disabled")


class World:
    """mode: plain (no mesh), or the pods' `sockmesh.io/accelerate`. starts: the agent, at once."""

    def __init__(self, mode, pods=("a", "b"), labels=None, starts=True):
        self.mode = mode
        self.node = Node(mode)
        self.agent = None
        self._ports = itertools.cycle(range(7000, 8000))
        self._peers = {}
        try:
            for name in pods:
                self.node.add_pod(name)
            if mode != "plain":
                self.agent = Agent(self.node, self.pod_objects(labels or {}))
            if self.agent and starts:
                self.agent.start()
        except BaseException:
            self.remove()
            raise

    @property
    def redirects(self):
        """Whether bytes go from socket to socket here."""
        return self.mode == "enabled"

    def pod_objects(self, labels):
        return [manifests.namespace(manifests.NAMESPACE)] + [
            manifests.pod(pod, labels.get(name), accelerate=self.mode) for name, pod in self.node.pods.items()]

    def pod(self, name):
        return self.node.pods[name]

    def argv(self, name, *argv):
        """A command that runs in a pod, under the mesh if there is one."""
        pod = self.pod(name)
        return self.agent.run_argv(pod, *argv) if self.agent else pod.enter(*argv)

    def spawn(self, name, *argv, **options):
        return spawn(*self.argv(name, *argv), **options)

    def peer(self, name, fresh=False):
        """The process of a pod; `fresh`: one of its own, which the caller closes."""
        if fresh:
            return Peer(self.argv(name), name)
        if name not in self._peers:
            self._peers[name] = Peer(self.argv(name), name)
        return self._peers[name]

    def next_port(self):
        return next(self._ports)

    def listen(self, name="b", family=4, options=(), port=None, peer=None):
        """A listening socket in a pod, and the address to connect to. options: (level, option, value) before listen."""
        peer = peer or self.peer(name)
        port = port or self.next_port()
        listener = peer.socket(family_number(family), socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for option in options:
            listener.setsockopt(*option)
        listener.bind((self.pod(name).address(family), port))
        listener.listen(1024)
        return listener, (self.pod(name).address(family), port)

    def connect(self, family=4, client_options=(), listener_options=(), first=b"", clients="a", servers="b"):
        """A connection from pod a to pod b: its two sockets. `first` is sent before accept (a deferring listener)."""
        listener, address = self.listen(servers, family, listener_options)
        client = self.peer(clients).socket(family_number(family), socket.SOCK_STREAM)
        for option in client_options:
            client.setsockopt(*option)
        client.connect(address)
        if first:
            client.send(first)
        server, _ = listener.accept()
        listener.close()
        return client, server

    def paths(self, client):
        """(path, reason) of both directions, as the mesh reports them: client's, then server's."""
        address, port = client.getsockname()[:2]
        for report in self.agent.json("connections"):
            if report["source"]["port"] == port and report["source"]["address"] == address.removeprefix("::ffff:"):
                received = report.get("received") or {}
                return [(side.get("path"), side.get("reason")) for side in (report["sent"], received)]
        raise AssertionError(f"meshctl connections does not list {address}:{port}")

    def remove(self):
        for peer in self._peers.values():
            peer.close()
        self._peers.clear()
        if self.agent:
            self.agent.remove()
        self.node.remove()


def family_number(family):
    return socket.AF_INET if family == 4 else socket.AF_INET6


def eventually(condition, timeout=PATIENCE, what="the condition"):
    """Waits until `condition()` is true; its value. Looks at most half of the time, so that others get on."""
    deadline = time.monotonic() + timeout
    while True:
        began = time.monotonic()
        if value := condition():
            return value
        ended = time.monotonic()
        if ended > deadline:
            raise AssertionError(f"{what} did not come true in {timeout} s")
        time.sleep(min(max(0.005, ended - began), 0.1))


def fastest(measure, limit, times=5):
    """The least time that `measure()` says; it is asked again, at most so often, while that is not under the limit. For
    promises of speed: what else the machine does only adds to a time."""
    least = measure()
    for _ in range(times - 1):
        if least < limit:
            break
        least = min(least, measure())
    return least
