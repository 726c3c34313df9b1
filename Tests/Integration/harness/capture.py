# SPDX-License-Identifier: Apache-2.0
"""A stand-in for the node proxy in one pod, and what has to be in the maps so that connections are led to it."""

import select
import socket
import struct
from dataclasses import dataclass

from .kernel import Control, Generation, Map, pins, sixteen_bytes
from .remote import Peer
from .world import family_number

SOL, ORIGIN = 21325, 1  # MESH_SOL, MESH_SO_ORIGIN
_LISTENER = "=16s16sHHHH"
_ORIGIN = "=16s16sQQIIIHHB7x"
_LEG = "=16s16sQIHHB7x"
_DIAL, _LISTEN = 1, 2  # enum mesh_leg_role
EGRESS, INGRESS = 0, 1


def text(address):
    """Sixteen bytes as an application writes them."""
    if address.startswith(bytes(10) + b"\xff\xff"):
        return socket.inet_ntoa(address[12:])
    return socket.inet_ntop(socket.AF_INET6, address)


@dataclass
class Origin:
    """struct mesh_origin."""

    destination: tuple
    client: tuple
    netns: int
    source_netns: int
    identity: int
    service: int
    generation: int
    direction: int

    @staticmethod
    def of(accepted):
        fields = struct.unpack(_ORIGIN, accepted.getsockopt(SOL, ORIGIN, struct.calcsize(_ORIGIN)))
        destination, client, netns, source, identity, service, generation, port, client_port, direction = fields
        return Origin((text(destination), port), (text(client), client_port), netns, source, identity, service, generation,
                      direction)


def cookie_of(agent, name):
    return next(w["netnsCookie"] for w in agent.json("workloads") if w["name"] == name)


def client_of(proxied, name, address):
    """A socket of pod `name` that can connect to `address`."""
    return proxied.peer(name).socket(family_number(6 if ":" in address else 4), socket.SOCK_STREAM)


def captured(proxied, proxy, address, port, name="a"):
    """A connection that was led to the proxy: (client, accepted, its origin)."""
    client = client_of(proxied, name, address)
    client.connect((address, port))
    accepted, origin, _ = proxy.accept(6 if ":" in address.removeprefix("::ffff:") else 4)
    return client, accepted, origin


def nobody_waits(listener):
    """Whether accept(2) would block."""
    return listener.poll(select.POLLIN, 0) == 0


class Proxy:
    """Its process makes sockets as the factory does: in the factory's cgroup, inside the pod's namespace."""

    def __init__(self, meshed, name):
        agent, pod = meshed.agent, meshed.pod(name)
        self.pod, self.cookie = pod, cookie_of(agent, name)
        self._maps = pins(agent, "maps")
        self._key = struct.pack("=Q", self.cookie)
        self._rows = Map(agent, "mesh_listeners", struct.calcsize(_LISTENER))
        enter = f"echo $$ > {agent.cgroup}/factory/cgroup.procs && exec \"$@\""
        self.peer = Peer(["sh", "-c", enter, "sh", *pod.enter()], f"proxy of {name}")
        self.outbound = {4: self._listen(socket.AF_INET, "127.0.0.1"), 6: self._listen(socket.AF_INET6, "::1")}
        self.inbound = {4: self._listen(socket.AF_INET, "127.0.0.1"), 6: self._listen(socket.AF_INET6, "::1")}
        self.ports = {family: listener.getsockname()[1] for family, listener in self.outbound.items()}
        self.inbound_ports = {family: listener.getsockname()[1] for family, listener in self.inbound.items()}
        self.serve()

    def serve(self):
        """Makes the listeners known."""
        self._rows[self._key] = struct.pack(
            _LISTENER, sixteen_bytes(self.pod.ipv4), sixteen_bytes(self.pod.ipv6), self.ports[4], self.ports[6],
            self.inbound_ports[4], self.inbound_ports[6])
        for family, listener in self.inbound.items():
            self.peer.do("store", listener, str(self._maps / f"mesh_inbound{family}"), self._key)

    def forget(self):
        """Takes the row of the pod away."""
        del self._rows[self._key]

    def _listen(self, family, address):
        listener = self.peer.socket(family, socket.SOCK_STREAM)
        listener.bind((address, 0))
        self.mark(listener, struct.pack(_LEG, bytes(16), bytes(16), 0, 0, 0, 0, _LISTEN))
        listener.listen(64)
        return listener

    def mark(self, target, value):
        self.peer.do("store", [target, value], str(self._maps / "mesh_leg"), None)

    def accept(self, family=4):
        """(the next captured connection, its origin, the peer's address as accept(2) shows it)."""
        accepted, seen = self.outbound[family].accept()
        return accepted, Origin.of(accepted), tuple(seen[:2])

    def leg(self, address, port, netns=None, identity=0, client=("::", 0)):
        """A socket that may go to one place only."""
        leg = self.peer.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        self.mark(leg, struct.pack(_LEG, sixteen_bytes(address), sixteen_bytes(client[0]),
                                   self.cookie if netns is None else netns, identity, port, client[1], _DIAL))
        return leg

    def dial(self, address, port, **options):
        leg = self.leg(address, port, **options)
        leg.connect((address, port))
        return leg

    def close(self):
        self.peer.close()
        try:
            self.forget()
        except OSError:
            pass
        self._rows.close()


class Rules:
    """Verdicts "needs L7" and capture flags, which the agent does not write yet, beside what it has written."""

    _WORKLOAD, _SERVICE = "=8I2I", "=QIIII"
    # At the far ends of the arrays, where the agent has put nothing.
    _SET, _MAP, _PAGE = 8000, 4000, 8100
    _CAPTURE, _CAPTURE_CLASS = 1, 2
    _FLAGS, _SKIP_PORTS, _PROBE_PORTS = 8, 1 << 4, 1 << 6

    def __init__(self, agent):
        self.control = Control(agent)
        self._generation = Generation(agent)
        self._workloads = Map(agent, "mesh_workloads", 40)
        self._services = Map(agent, "mesh_services", 24)
        self._routes = Map(agent, "mesh_routes", 4)
        self._probes = Map(agent, "mesh_probes", 4)
        self._sets = Map(agent, "mesh_policy_set", 16)
        self._maps = Map(agent, "mesh_port_maps", 512)
        self._pages = Map(agent, "mesh_port_pages", 512)
        self._before = {}

    def needs_l7(self, cookie, direction, port):
        """TCP to `port` needs L7, all else of the pod is allowed."""
        number = struct.Struct("=I").pack
        page = [1] * 256
        self._pages[number(self._PAGE)] = struct.pack("=256H", *page)
        page[port & 255] = 2
        self._pages[number(self._PAGE + 1)] = struct.pack("=256H", *page)
        pages = [self._PAGE] * 256
        self._maps[number(self._MAP)] = struct.pack("=256H", *pages)
        pages[port >> 8] += 1
        self._maps[number(self._MAP + 1)] = struct.pack("=256H", *pages)
        policy = [self._MAP] * 4
        policy[2 * direction] += 1
        self._sets[number(self._SET + direction)] = struct.pack("=4I", *policy)
        self._change(self._workloads, struct.pack("=Q", cookie), self._WORKLOAD, {
            4: self._SET + direction, 5: self._SET + direction})

    def _change(self, rows, key, form, fields):
        row = rows[key]
        self._before.setdefault((rows, key), row)
        values = list(struct.unpack(form, row))
        for index, value in fields.items():
            values[index] = value
        rows[key] = struct.pack(form, *values)
        return values

    def probe(self, cookie, port):
        key = struct.pack("=QHBBI", cookie, port, INGRESS, 0, 0)
        self._change(self._workloads, struct.pack("=Q", cookie), self._WORKLOAD, {
            self._FLAGS: self._flags(cookie) | self._PROBE_PORTS})
        self._probes[key] = struct.pack("=I", 1)

    def _flags(self, cookie):
        return struct.unpack(self._WORKLOAD, self._workloads[struct.pack("=Q", cookie)])[self._FLAGS]

    def skips_ports(self, cookie):
        """Whether the agent has taken ports of a pod out of the mesh."""
        return bool(self._flags(cookie) & self._SKIP_PORTS)

    def route_class(self, cookie, number):
        self._change(self._workloads, struct.pack("=Q", cookie), self._WORKLOAD, {9: number})

    def capture(self, address, port, route_class=None):
        """Clients of a service are led to the proxy: all, or those of one class. The service's number."""
        service = self._change(self._services, struct.pack("=16sHBB", sixteen_bytes(address), port, 6, 0), self._SERVICE, {
            3: self._CAPTURE if route_class is None else self._CAPTURE_CLASS})[1]
        if route_class is not None:
            self._routes[struct.pack("=II", service, route_class)] = struct.pack("=I", 1)
        return service

    def undo(self):
        for (rows, key), row in self._before.items():
            try:
                rows[key]
            except OSError:
                continue  # the agent has removed it
            rows[key] = row
        self._before.clear()

    def close(self):
        self.undo()
        for each in (self.control, self._generation, self._workloads, self._services, self._routes, self._probes,
                     self._sets, self._maps, self._pages):
            each.close()
