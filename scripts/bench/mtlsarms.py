# SPDX-License-Identifier: Apache-2.0
"""Two nodes on this machine, and the ways from a client pod of one to a backend pod of the other: through two proxies of the
mesh, two Envoys, two HAProxys, with mutual TLS between them; and direct.

As in l7arms, clients and backends of the other arms are outside of the mesh.
"""

import json
from pathlib import Path

import accounts
import l7peers
import mtlspeers
from harness.hbone import Authority
from harness.processes import run
from harness.two_nodes import DOMAIN, TwoNodes
from harness.wire import TUNNELS
from l7arms import MESHED, MESHLOAD, OTHER_CPU, PLAIN, PROXY_CPU, SERVICES, Arm, Bench, by_protocol, routes, services

CLIENT = Path(__file__).with_name("mtlsclient.py")
# Ports of meshload's server, inside the mesh and outside; it takes four. Those of the peers' tunnels are the latter, and that of
# the backend for HTTP/1.1.
MESHED_STREAM, PLAIN_STREAM = 8190, 9190
TUNNELLED = (*range(PLAIN_STREAM, PLAIN_STREAM + 4), PLAIN[0])
_TARGETS = {"web": ("x", MESHED[0]), "h2": ("x", MESHED[1]), "grpc": ("x", MESHED[1])}
# More than the mesh remembers (VerifiedPeers).
STRANGERS = 1100
_FIRST_INDEX = 100  # of the addresses of proxies' pods


class Reference:
    """An arm that is a program on the proxies' core, without a network: what an operation costs OpenSSL alone."""

    def __init__(self, *words):
        self._words = words

    def load(self, _argv, _read):
        found = json.loads(run("taskset", "--cpu-list", str(PROXY_CPU), *self._words, timeout=120).stdout)
        return {"requests": 1, "seconds": 1, "per_second": 1e6 / found["us"], "proxy_us": found["us"],
                "path_us": found["us"], "proxy_busy": 1.0}

    def address(self, _protocol):
        return "", 0

    def pids(self):
        return []


class TwoNodesBench(Bench):
    """arms: for load from end to end. servers: the far proxy of each alone, as who dials it sees it. make: what makes the
    nodes."""

    def __init__(self, peers, make=TwoNodes):
        self._processes, self.arms, self.servers = [], {}, {}
        self._backend = None
        words = ("--proxy-workers", "1", "--proxy-access-log", "off")
        self.nodes = make(*services(_TARGETS), *routes("web", "h2"), options=(words, words))
        try:
            # What the tests listen to would be work beside what is measured.
            self.nodes.wire.close()
            self.meshed = self.nodes.here
            self.directory = self.meshed.agent.directory
            self._trust()
            self._start_mesh()
            self._start_peers(peers)
            self._arm("direct", self._plain, self._addresses(self._x, PLAIN, PLAIN_STREAM, PLAIN[0]), lambda: [],
                      lambda: [self._backend.pid])
        except BaseException:
            self.remove()
            raise

    @property
    def _x(self):
        return self.nodes.pod("x").ipv4

    def _trust(self):
        """One authority for all, as agents use it: leaves of an intermediate."""
        self._authority = authority = Authority.of_file(self.directory / "state" / "authority.pem", DOMAIN, "test", place=1)
        place = self.directory / "trust"
        place.mkdir()
        files = [place / f"{name}.pem" for name in ("near", "far", "root")]
        for file, text in zip(files, (authority.svid("near"), authority.svid("far"), authority.root)):
            file.write_text(text)
        self.trust = mtlspeers.Trust(*map(str, files))

    @staticmethod
    def _addresses(address, ports, stream, tunnel):
        return {**by_protocol(address, ports), "stream": (address, stream), "tunnel": (address, tunnel)}

    def _start_mesh(self):
        sides = self.nodes.sides
        pids = [(side.proxy.serving(), side.proxy.factory()) for side in sides]
        agents = [side.agent.process.pid for side in sides]
        accounts.pin([*agents, *sum(pids, ())], PROXY_CPU)
        there = self.nodes.there
        for enter, ports, stream in ((lambda *words: there.argv("x", *words), MESHED, MESHED_STREAM),
                                     (there.pod("x").enter, PLAIN, PLAIN_STREAM)):
            process = self._spawn(enter, l7peers.backend(self.directory / f"backend-{stream}", self._x, ports), OTHER_CPU)
            self._spawn(enter, [MESHLOAD, "server", "--address", self._x, "--port", str(stream)], OTHER_CPU)
            if ports is PLAIN:
                self._backend = process
        meshed = self._processes[0].pid
        others = [*agents, meshed]
        # By routes; and by the pod's own address, of which no route says anything.
        addresses = {"h1": (SERVICES["web"], 80), "h2": (SERVICES["h2"], 80), "grpc": (SERVICES["grpc"], 80)}
        self._arm("mesh", self._meshed, addresses, lambda: [*sum(pids, ())], lambda: others)
        self._arm("mesh-tunnel", self._meshed, self._addresses(self._x, MESHED, MESHED_STREAM, MESHED[0]),
                  lambda: [*sum(pids, ())], lambda: others)
        self._server("mesh", self._x, TUNNELS, list(pids[1]))
        self._wait("mesh", "h1")

    def _start_peers(self, peers):
        for number, name in enumerate(peers):
            index = _FIRST_INDEX + 2 * number
            near = self.nodes.here.node.add_pod(f"{name}-near", index)
            far = self.nodes.there.node.add_pod(f"{name}-far", index + 1)
            backend = self._x, PLAIN
            near_words, far_words = mtlspeers.PEERS[name]
            place = self.directory / name
            processes = [
                self._spawn(far.enter, far_words(place / "far", backend, TUNNELLED, self.trust), PROXY_CPU),
                self._spawn(near.enter, near_words(place / "near", far.ipv4, backend, TUNNELLED, self.trust), PROXY_CPU)]
            pids = [process.pid for process in processes]
            addresses = self._addresses(near.ipv4, (l7peers.H1, l7peers.H2), PLAIN_STREAM, PLAIN[0])
            others = [self._backend.pid]
            self._arm(name, self._plain, addresses, lambda pids=pids: pids, lambda: others)
            tunnels = {**addresses, "h1": addresses["tunnel"]}
            self._arm(f"{name}-tunnel", self._plain, tunnels, lambda pids=pids: pids, lambda: others)
            port = TUNNELS if name == "envoy" else mtlspeers.REQUESTS
            self._server(name, far.ipv4, port, pids[:1])
            self._wait(name, "h1")

    def _server(self, name, address, port, pids):
        self.servers[name] = Arm(self.meshed.node, name, self._plain, {"tls": (address, port)}, lambda: pids, lambda: [])

    def strangers(self):
        """The mesh's far proxy again, for a client that is another at each connection: a directory of certificates."""
        place = self.directory / "strangers"
        place.mkdir()
        for number in range(STRANGERS):
            (place / f"{number}.pem").write_text(self._authority.svid(f"stranger-{number}"))
        arm = self.servers["mesh"]
        return Arm(self.meshed.node, "mesh-strangers", self._plain, {"tls": arm.address("tls")}, arm.pids, lambda: []), place

    def elsewhere(self):
        """Where a server of no proxy can listen, in the pod of the load and on its core."""
        return Arm(self.meshed.node, "elsewhere", self._plain, {"tls": ("127.0.0.1", TUNNELS)}, lambda: [], lambda: [])

    def client(self, arm, what, *words, shown=None):
        """Words of mtlsclient.py, against a server. shown: in place of the near node's certificate."""
        address, port = arm.address("tls")
        return ["/usr/bin/python3", CLIENT, what, address, str(port), shown or self.trust.near, self.trust.root,
                *map(str, words)]

    def remove(self):
        self.stop_processes()
        self.nodes.remove()
