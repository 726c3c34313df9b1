# SPDX-License-Identifier: Apache-2.0
"""The node of the soak of requests: a client pod, three backends that come and go, and changes ten times a second."""

import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

from harness import manifests
from harness.admin import AdminConnection
from harness.meshed import Meshed
from harness.nodeproxy import NodeProxy
from harness.processes import stop
from harness.routed import PORT, TARGET, http_route, to
from harness.world import eventually

ADDRESSES = {"web": "10.96.1.1", "stable": "10.96.1.2", "canary": "10.96.1.3"}
BACKENDS = ("b", "c", "d")
# What a route repeats a request for that no backend has seen: longer in all than a backend needs to come again.
RETRY = {"attempts": 6, "backoff": "25ms"}
_HERE = Path(__file__).parent


class Node:
    """web leads to both other Services by weight; all have the same three endpoints."""

    def __init__(self, access_log="off"):
        self.meshed = Meshed(pods=("a", *BACKENDS, "o"))
        self.agent = self.meshed.agent
        self.proxy = NodeProxy(self.agent)
        self.servers = {}
        # Several threads change pods; each writes what holds for all.
        self._writing = threading.Lock()
        self._unready, self._labels = set(), {}
        try:
            self.proxy.start_agent(self._write, ["--proxy-access-log", access_log])
            self.agent.apply(self.route(random.Random(1), "web", 0))
            self.pid = self.proxy.serving()
            for name in BACKENDS:
                self.start(name)
        except BaseException:
            self.remove()
            raise

    def _write(self):
        self._write_pods()
        self.agent.write_config("services.yaml", *(
            manifests.service(name, {"role": "web"}, [(PORT, TARGET)], [address]) for name, address in ADDRESSES.items()))

    def _write_pods(self):
        pods = [self.meshed.pod_object(name, {"role": "web"} if name in BACKENDS else self._labels,
                                       ready=name not in self._unready) for name in self.meshed.node.pods]
        self.agent.write_config("objects.yaml", manifests.namespace(manifests.NAMESPACE, {"team": "red"}),
                                manifests.namespace("other", {"team": "blue"}), *pods)

    def label(self, labels):
        """More labels of the client's pod."""
        with self._writing:
            self._labels = labels
            self._write_pods()

    def ready(self, name, is_ready):
        with self._writing:
            (self._unready.discard if is_ready else self._unready.add)(name)
            self._write_pods()

    def forgets(self, name):
        """Waits until neither kernel nor proxy leads new requests to a backend, and those on their way have arrived."""
        address = self.meshed.pod(name).ipv4
        eventually(lambda: all(backend["address"] != address for report in self.agent.json("services")
                               for frontend in report["frontends"] for backend in frontend["backends"]),
                   timeout=30, what=f"the end of endpoint {name}")
        generation = self.proxy.report()["generation"]
        eventually(lambda: all(one["generation"] >= generation for one in self.proxy.report()["proxies"]),
                   timeout=30, what="the proxy's newest configuration")
        time.sleep(0.5)

    @staticmethod
    def route(source, name, rules):
        """A route of `rules` rules that nobody asks for and one that takes all else, to be repeated."""
        weight = source.randrange(101)
        last = {"backendRefs": [to("stable", weight), to("canary", 100 - weight)], "retry": RETRY,
                "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {
                    "set": [{"name": "x-variant", "value": str(source.randrange(1000))}]}}],
                "timeouts": {"request": f"{source.randrange(20, 60)}s"}}
        if source.random() < 0.5:
            last["matches"] = [{"path": {"type": "PathPrefix", "value": "/"}}]
        others = [{"matches": [{"path": {"type": source.choice(("Exact", "PathPrefix")), "value": f"/none-{number}"}}],
                   "backendRefs": [to("canary")]} for number in range(rules)]
        return http_route(name, [*others, last])

    def start(self, name):
        server = self.meshed.spawn(name, sys.executable, _HERE / "web_server.py", name, self.meshed.pod(name).ipv4,
                                   str(TARGET), stdout=subprocess.PIPE, text=True)
        if server.stdout.readline() != "ready\n":
            raise RuntimeError(f"the server of {name} did not start")
        self.servers[name] = server

    def client(self, connections, seed, rest):
        """`rest`: milliseconds between two requests of a connection."""
        process = self.meshed.spawn("a", sys.executable, _HERE / "web_client.py", ADDRESSES["web"], str(PORT),
                                    str(connections), str(seed), str(rest), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    text=True)
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("the client did not start")
        return process

    def remove(self):
        for server in self.servers.values():
            stop(server, grace=1)
        self.meshed.remove()
        self.proxy.end()


class Churn(threading.Thread):
    """Changes of routes, policies and endpoints in turns, one every tenth of a second; none denies the traffic."""

    INTERVAL = 0.1

    def __init__(self, node, seed, policy):
        """policy: whether policies decide requests here."""
        super().__init__(daemon=True)
        self._node, self._policy = node, policy
        self._ending = threading.Event()
        self.failure = None
        self._admin = AdminConnection(node.agent)
        self._source = random.Random(seed)
        self._number = 0
        self._next = time.monotonic()
        self.applied = 0
        self.start()

    def run(self):
        try:
            while not self._ending.is_set():
                self._step()
        except Exception as error:
            self.failure = f"churn: {error!r}"

    def stop(self):
        self._ending.set()
        self.join(60)

    def _step(self):
        self._next += self.INTERVAL
        kind = self._number % 4
        self._number += 1
        if kind == 0:
            # The older one decides where both match.
            name = self._source.choice(("web", "web", "other"))
            self._admin.apply(self._node.route(self._source, name, self._source.randrange(15)))
        elif kind == 1:
            self._admin.apply(self._request_policy() if self._policy and self._source.random() < 0.5 else
                              self._network_policy())
        elif kind == 2:
            self._admin.apply(self._mesh_policy())
        else:
            # Labels that policies and endpoints look at: everything that depends on pods is worked out again.
            self._node.label({f"key{self._source.randrange(6)}": "value"})
        self.applied += 1
        late = time.monotonic() - self._next
        if late > 0:
            self._next += late  # a slow machine changes less, not in bursts
        self._ending.wait(max(0, -late))

    def _network_policy(self):
        stranger = {"from": [{"ipBlock": {"cidr": f"192.0.{self._source.randrange(256)}.0/24"}},
                             {"podSelector": {"matchLabels": {f"key{self._source.randrange(6)}": "value"}}}],
                    "ports": [{"port": self._source.randrange(1, 65535)}]}
        everyone = {"from": [{"podSelector": manifests.app("a")}], "ports": [{"port": TARGET}]}
        return manifests.network_policy(f"churn-{self._source.randrange(4)}",
                                        manifests.app(self._source.choice(BACKENDS)), ingress=[everyone, stranger])

    def _mesh_policy(self):
        """How requests are balanced, with limits that they do not reach; endpoints that fail in a row may be left out."""
        service = self._source.choice(list(ADDRESSES))
        balancing = self._source.choice((
            {"algorithm": "RoundRobin"}, {"algorithm": "LeastRequest"},
            {"algorithm": "Maglev", "hash": {"key": "Header", "header": "x-id"}}))
        resilience = {"loadBalancing": balancing}
        if self._source.random() < 0.5:
            resilience["outlierDetection"] = {"consecutiveGatewayErrors": self._source.randrange(3, 10),
                                              "baseEjectionTime": "1s"}
        return {"apiVersion": "sockmesh.io/v1alpha1", "kind": "MeshPolicy",
                "metadata": {"name": f"of-{service}", "namespace": manifests.NAMESPACE},
                "spec": {"targetRefs": [{"kind": "Service", "name": service}], "resilience": resilience,
                         "connection": {"maxConnections": self._source.randrange(500, 1000), "maxPending": 500},
                         "rateLimit": [{"key": self._source.choice(("Route", "SourceIdentity")),
                                        "requestsPerSecond": 1_000_000, "burst": 1_000_000}]}}

    def _request_policy(self):
        return request_policy(f"requests-{self._source.randrange(3)}", f"/none-{self._source.randrange(100)}")


def request_policy(name, path):
    """Allows what the client asks for, and a path that it does not ask for."""
    return manifests.authorization_policy(name, {"role": "web"}, "ALLOW", [
        {"to": [{"operation": {"methods": ["GET", "HEAD"], "paths": ["/bytes/*", "/slow/*"]}},
                {"operation": {"methods": ["POST"], "paths": ["/echo"]}}, {"operation": {"paths": [path]}}]}])


class Restarts:
    """One backend at a time goes and comes again: announced, with its last responses sent, or killed.

    Not a thread: what a thread has started is killed when the thread ends."""

    def __init__(self, node, seed):
        self._node = node
        self._source = random.Random(seed)
        self.kills = []  # (pod, before it was killed, when it was gone, when it served again)
        self.announced = 0

    def step(self):
        name = self._source.choice(BACKENDS)
        server = self._node.servers[name]
        if self._source.random() < 0.5:
            began = time.monotonic()
            server.kill()
            stop(server)
            gone = time.monotonic()
            time.sleep(self._source.uniform(0, 0.3))
            self._node.start(name)
            self.kills.append((name, began, gone, time.monotonic()))
            return
        # As a rolling update: not ready, the news arrives, the requests under way end, another takes its place.
        self._node.ready(name, False)
        self._node.forgets(name)
        if status := stop(server, grace=20):
            raise RuntimeError(f"the server of {name} ended with {status}")
        self._node.start(name)
        self._node.ready(name, True)
        self.announced += 1


class Failures(threading.Thread):
    """Reads what a client reports."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self._process = process
        self.entries = []
        self.result = None
        self.start()

    def run(self):
        for line in self._process.stdout:
            entry = json.loads(line)
            if "total" in entry:
                self.result = entry
            else:
                self.entries.append(entry)
