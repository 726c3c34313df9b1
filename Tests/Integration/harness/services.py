# SPDX-License-Identifier: Apache-2.0
"""Services in an agent's configuration, listeners behind them, and who of these is met."""

import collections
import select
import socket
import time

from . import manifests
from .processes import PATIENCE
from .world import eventually, family_number

V4, V6 = "10.96.0.10", "fd96::10"
PORT, TARGET = 80, 8180


class Services:
    """services(*objects, pods=...) is the configuration until `close`; `pods` are what each Service has to lead to."""

    def __init__(self, meshed):
        self._agent = meshed.agent
        self._path = meshed.agent.config / "services.yaml"

    def __call__(self, *objects, pods):
        manifests.write(self._path, *objects)
        eventually(lambda: all(found == pods for found in self.leads_to().values()) and self.leads_to(),
                   what=f"Services of {pods}")

    def leads_to(self):
        """Service -> names of the pods that its connections go to."""
        return {report["name"]: {(backend.get("workload") or "").removeprefix("test/")
                                 for frontend in report["frontends"] for backend in frontend["backends"]}
                for report in self._agent.json("services")}

    def close(self):
        if self._path.exists():
            self._path.unlink()
            eventually(lambda: not self.leads_to(), what="the Services' end")


class Backends:
    """b and c listen on the target port in both families; `ask` says which of them a connection has met."""

    def __init__(self, meshed):
        self._meshed = meshed
        self._listeners = {(pod, family): meshed.server(pod, TARGET, family) for pod in ("b", "c") for family in (4, 6)}

    def __getitem__(self, place):
        return self._listeners[place]

    def ask(self, address, source="a", times=1, port=PORT):
        """Connects `times`; how often each pod was met."""
        met = collections.Counter()
        family = 6 if ":" in address else 4
        for _ in range(times):
            client = self._meshed.peer(source).socket(family_number(family), socket.SOCK_STREAM)
            client.connect((address, port))
            met[self._whose(family)] += 1
            client.close()
        return met

    def _whose(self, family):
        """The pod whose listener has the connection; takes it off its queue."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for pod in ("b", "c"):
                listener = self._listeners[pod, family]
                if listener.poll(select.POLLIN, 0):
                    accepted, _ = listener.accept()
                    accepted.close()
                    return pod
        raise AssertionError("a connection succeeded that nobody got")

    def close(self):
        for listener in self._listeners.values():
            listener.close()


def web(selector=None, **spec):
    """Without a selector its endpoints are those of slices."""
    return manifests.service("web", selector, [(PORT, TARGET)], [V4, V6], **spec)


def slice_of(name, family, addresses, port=(PORT, TARGET, "TCP"), node=None, zone=None, hints=(), **conditions):
    """An EndpointSlice of Service web. port: {of the Service, of the pods, protocol}; hints: zones."""
    number, target, protocol = port
    place = {**({"nodeName": node} if node else {}), **({"zone": zone} if zone else {}),
             **({"hints": {"forZones": [{"name": name} for name in hints]}} if hints else {})}
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": f"IPv{family}",
            "metadata": {"name": name, "namespace": "test", "labels": {"kubernetes.io/service-name": "web"}},
            "ports": [{"name": f"p{number}", "port": target, "protocol": protocol}],
            "endpoints": [{"addresses": [address], "conditions": {"ready": True, **conditions}, **place}
                          for address in addresses]}


class Datagrams:
    """b and c receive datagrams on the target port; `ask` says which of them a question has met, and answers it."""

    def __init__(self, meshed):
        self._meshed = meshed
        self._sockets = {}
        for pod in ("b", "c"):
            for family in (4, 6):
                server = meshed.peer(pod).socket(family_number(family), socket.SOCK_DGRAM)
                server.bind((meshed.pod(pod).address(family), TARGET))
                self._sockets[pod, family] = server

    def ask(self, address, source="a", times=1, port=PORT):
        """Each question is of a socket of its own; its answer has to come from the address that was asked."""
        met = collections.Counter()
        family = 6 if ":" in address else 4
        for _ in range(times):
            client = self._meshed.peer(source).socket(family_number(family), socket.SOCK_DGRAM)
            client.sendto(b"question", (address, port))
            pod, server = self._whose(family)
            data, sender = server.recvfrom(100)
            server.sendto(b"answer to " + data, tuple(sender[:2]))
            answer, answering = client.recvfrom(100)
            assert (answer, answering[:2]) == (b"answer to question", [address, port])
            met[pod] += 1
            client.close()
        return met

    def _whose(self, family):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for pod in ("b", "c"):
                if self._sockets[pod, family].poll(select.POLLIN, 0):
                    return pod, self._sockets[pod, family]
        raise AssertionError("a datagram was sent that nobody got")

    def close(self):
        for server in self._sockets.values():
            server.close()
