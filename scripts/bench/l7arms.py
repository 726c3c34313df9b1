# SPDX-License-Identifier: Apache-2.0
"""The ways from a client pod to a backend pod that are compared: through the mesh's proxy, through others, direct.

All are on one node. The mesh's client and backend run under the mesh. The clients of the other arms are in a pod outside
of it, and so is the process of their backend (in the same namespace as the mesh's), so that no other arm pays for the mesh.
"""

import subprocess
import time
from pathlib import Path

import accounts
import l7peers
from harness import manifests
from harness.meshed import Meshed
from harness.nodeproxy import NodeProxy
from harness.processes import root_of_repository, run, spawn, stop
from harness.routed import http_route, to
from harness.world import eventually

MESHLOAD = root_of_repository() / "Benchmarks" / ".build" / "release" / "meshload"
# Cores: the proxy's alone, and that of everything else.
PROXY_CPU, OTHER_CPU = 0, 1
MESHED, PLAIN = (8180, 8182), (9180, 9182)  # ports of the backends: HTTP/1.1, HTTP/2
SERVICES = {"web": "10.96.1.1", "h2": "10.96.1.2", "many": "10.96.1.3", "guarded": "10.96.1.4", "grpc": "10.96.1.5"}
MANY = 10_000
CONNECTIONS = 64


class NotSupported(Exception):
    """What an arm cannot do yet, in words for the table."""


class Arm:
    """pids(): the proxy's processes; others(): what else works for each request, but clients."""

    def __init__(self, node, name, client, addresses, pids, others):
        self._node = node
        self.name = name
        self._client = client
        # Protocol (h1, h2, grpc) -> (address, port).
        self._addresses = addresses
        self.pids = pids
        self._others = others

    def address(self, protocol):
        return self._addresses[protocol]

    def url(self, protocol, path):
        address, port = self._addresses[protocol]
        return f"http://{address}:{port}{path}"

    def argv(self, *words):
        return self._client("taskset", "--cpu-list", str(OTHER_CPU), *words)

    def get(self, protocol, path, *options):
        """(status, HTTP version, body) of one request by curl."""
        words = [] if protocol == "h1" else ["--http2-prior-knowledge"]
        output = run(*self.argv("curl", "--silent", "--max-time", "5", "--write-out", "\n%{http_code} %{http_version}",
                                *words, *options, self.url(protocol, path)), check=False).stdout
        body, _, last = output.rpartition("\n")
        status, version = last.split()
        return int(status), version, body

    def load(self, argv, read):
        """Runs a load tool; `read` makes {"requests", "seconds", …} of what it prints. Adds what the load has cost."""
        proxy, others = self.pids(), self._others()
        before = accounts.used(proxy), accounts.used(others), accounts.carriers()
        process = accounts.open_pipe(self.argv(*argv), spawn)
        output, client = accounts.finish(process)
        carried = accounts.growth(before[2], accounts.carriers())
        own, beside = accounts.used(proxy) - before[0], accounts.used(others) - before[1]
        result = read(output)
        requests, errors = result["requests"], result.get("errors", 0)
        if not requests or errors > (0 if self.name.startswith("mesh") else requests // 100):
            raise RuntimeError(f"{self.name}: {errors} of {requests} requests failed:\n{output}")
        result["per_second"] = requests / result["seconds"]
        result["proxy_us"] = own / requests * 1e6
        result["path_us"] = (own + beside + client + carried) / requests * 1e6
        result["proxy_busy"] = own / result["seconds"]
        return result

    def idle(self, count, path):
        """Bytes of the proxy's memory that an idle connection of a client takes."""
        address, port = self.address("h1")
        return self.growth(count, "/usr/bin/python3", Path(__file__).with_name("idle.py"), address, str(port), path)

    def growth(self, count, *words, settle=0.2):
        """The same of what a program holds that says "ready" and ends with its input: of each that it holds more than a tenth
        of them. settle: seconds from then on."""
        argv, few = self.argv(*words), count // 10
        # What the first make once, or leave when they end for those that come, is in both.
        sizes = [self._hold(argv, number, lambda: accounts.resident(self.pids()), settle) for number in (few, count)]
        return (sizes[1] - sizes[0]) / (count - few)

    @staticmethod
    def _hold(argv, count, look, settle):
        process = spawn(*argv, str(count), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            if process.stdout.readline() != "ready\n":
                raise RuntimeError(f"{count} idle connections were not made")
            time.sleep(settle)
            seen = look()
            if process.poll() is not None:
                raise RuntimeError(f"{count} idle connections were made, and ended by the proxy")
            return seen
        finally:
            stop(process)


def by_protocol(address, ports):
    h1, h2 = ports
    return {"h1": (address, h1), "h2": (address, h2), "grpc": (address, h2)}


def services(targets):
    """Services by name: (pod, port) of their backend."""
    for name, (pod, port) in targets.items():
        service = manifests.service(name, manifests.app(pod)["matchLabels"], [(80, port)], [SERVICES[name]])
        if name in ("h2", "grpc"):
            service["spec"]["ports"][0]["appProtocol"] = "kubernetes.io/h2c"
        yield service


def rules(service, numbers):
    return [{"matches": [{"path": {"type": "PathPrefix", "value": f"/r{number}"}}], "backendRefs": [to(service)]}
            for number in numbers]


def routes(*names):
    """Of Services of HTTP, and that of gRPC."""
    for service in names:
        yield http_route(service, rules(service, range(l7peers.ROUTES)), parent=service)
    yield {**http_route("grpc", [{"matches": [{"method": {"service": "mesh.Bench", "method": "Unary"}}],
                                  "backendRefs": [to("grpc")]}], parent="grpc"), "kind": "GRPCRoute"}


class Bench:
    """The node with all arms."""

    def __init__(self, peers, many):
        self._processes = []
        self._backends = {}
        self._many = many
        self.arms = {}
        self.meshed = Meshed(pods=("a", "b", "d", "u"))
        self._proxy = NodeProxy(self.meshed.agent)
        try:
            self._start_mesh()
            self._start_peers(peers)
            self._arm("direct", self._plain, by_protocol(self._ipv4("b"), PLAIN), lambda: [],
                      lambda: [self._backends["plain"].pid])
        except BaseException:
            self.remove()
            raise

    def _ipv4(self, pod):
        return self.meshed.pod(pod).ipv4

    def _plain(self, *argv):
        return self.meshed.pod("u").enter(*argv)

    def _meshed(self, *argv):
        return self.meshed.argv("a", *argv)

    def _arm(self, name, *words):
        self.arms[name] = Arm(self.meshed.node, name, *words)

    # The mesh

    def _start_mesh(self):
        agent = self.meshed.agent

        def write():
            agent.write_config("services.yaml", *self._services())
            agent.write_config("routes.yaml", *self._routes())
        self._proxy.start_agent(write, ["--proxy-workers", "1", "--proxy-access-log", "off"])
        # With many routes it takes a while.
        proxy, factory = self._proxy.serving(timeout=120), self._proxy.factory()
        accounts.pin([agent.process.pid, factory, proxy], PROXY_CPU)
        for name, pod, make, ports in (("meshed", "b", self._meshed_in, MESHED), ("guarded", "d", self._meshed_in, MESHED),
                                       ("plain", "b", self._plain_in, PLAIN)):
            words = l7peers.backend(agent.directory / f"backend-{name}", self._ipv4(pod), ports)
            self._backends[name] = self._spawn(make(pod), words, OTHER_CPU)
        for arm, service in (("mesh", "web"), ("mesh-policy", "guarded"), *([("mesh-10000", "many")] if self._many else [])):
            addresses = {"h1": (SERVICES[service], 80), "h2": (SERVICES["h2"], 80), "grpc": (SERVICES["grpc"], 80)}
            backend = "guarded" if service == "guarded" else "meshed"
            self._arm(arm, self._meshed, addresses, lambda: [proxy, factory],
                      lambda backend=backend: [agent.process.pid, self._backends[backend].pid])
        self._wait("mesh", "h1")

    def _meshed_in(self, pod):
        return lambda *argv: self.meshed.argv(pod, *argv)

    def _plain_in(self, pod):
        return self.meshed.pod(pod).enter

    def _services(self):
        targets = {"web": ("b", MESHED[0]), "h2": ("b", MESHED[1]), "many": ("b", MESHED[0]),
                   "guarded": ("d", MESHED[0]), "grpc": ("b", MESHED[1])}
        return services(targets)

    def _routes(self):
        yield from routes("web", "guarded", "h2")
        for first in range(0, self._many, 10):
            yield http_route(f"many-{first}", rules("many", range(first, first + 10)), parent="many")

    def guard(self):
        """An L7 policy for the requests of arm mesh-policy. Raises NotSupported if it does not decide them."""
        self.meshed.agent.apply(manifests.authorization_policy("guarded", {"app": "d"}, "ALLOW", [
            {"to": [{"operation": {"methods": ["GET", "HEAD"], "paths": [f"{path}/*" for path in l7peers.paths()]}}]},
            {"to": [{"operation": {"methods": ["PUT"], "hosts": ["other.example"]}}]}]))
        arm = self.arms["mesh-policy"]
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            allowed, refused = arm.get("h1", "/r1/small")[0], arm.get("h1", "/r1/small", "--request", "POST")[0]
            if (allowed, refused) == (200, 403):
                return
            time.sleep(0.1)
        raise NotSupported(f"a policy on methods and paths: GET was answered by {allowed}, POST by {refused}")

    # The others

    def _start_peers(self, peers):
        upstreams = tuple((self._ipv4("b"), port) for port in PLAIN)
        for name in peers:
            pod = self.meshed.node.add_pod(name)
            directory = self.meshed.agent.directory / name
            process = self._spawn(pod.enter, l7peers.PEERS[name](directory, upstreams), PROXY_CPU)
            self._arm(name, self._plain, by_protocol(pod.ipv4, (l7peers.H1, l7peers.H2)), lambda process=process: [process.pid],
                      lambda: [self._backends["plain"].pid])
            self._wait(name, "h1")

    def _spawn(self, enter, words, cpu):
        argv = enter("prlimit", "--nofile=16384:16384", "taskset", "--cpu-list", str(cpu), *words)
        process = spawn(*argv, stdout=subprocess.DEVNULL)
        self._processes.append(process)
        return process

    def _wait(self, name, protocol):
        """Until the arm serves, by its routes and no others."""
        def serves():
            for process in self._processes:
                if process.poll() is not None:
                    raise RuntimeError(f"{' '.join(process.args)} has ended with {process.returncode}")
            arm = self.arms[name]
            return arm.get(protocol, "/r1/small")[0] == 200 and arm.get(protocol, "/none")[0] in (404, 503)
        eventually(serves, timeout=20, what=f"an answer by {name}")

    def stop_processes(self):
        for process in self._processes:
            stop(process, grace=1)

    def remove(self):
        self.stop_processes()
        self.meshed.remove()
        self._proxy.end()
