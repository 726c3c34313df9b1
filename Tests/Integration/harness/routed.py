# SPDX-License-Identifier: Apache-2.0
"""A node with the real proxy: web servers in pods, a client that asks them, and routes that come and go."""

import json
import subprocess
import sys
from pathlib import Path

from . import manifests
from .meshed import Meshed
from .nodeproxy import NodeProxy
from .processes import stop
from .world import eventually

PORT, TARGET = 80, 8180
ADDRESSES = {"web": "10.96.1.1", "v1": "10.96.1.2", "v2": "10.96.1.3", "empty": "10.96.1.4", "plain": "10.96.1.5"}
WEB6 = "fd96:1::1"
PROGRAM = Path(__file__).with_name("web.py")


def http_route(name, rules, parent="web", namespace=manifests.NAMESPACE):
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": parent, "port": PORT,
                                     "namespace": manifests.NAMESPACE}],
                     "rules": rules}}


def to(name, weight=1, namespace=None):
    return {"name": name, "port": PORT, "weight": weight, **({"namespace": namespace} if namespace else {})}


class Client:
    """A process in a pod that makes requests."""

    def __init__(self, meshed, pod):
        self._process = meshed.spawn(pod, sys.executable, PROGRAM, "ask", stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True)
        assert self._process.stdout.readline() == "ready\n"

    def _do(self, **command):
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def ask(self, service="web", path="/", headers=None, keep=False, address=None, port=PORT):
        return self._do(address=address or ADDRESSES[service], port=port, path=path, headers=headers or {}, keep=keep,
                        times=1)[0]

    def count(self, times, service="web"):
        """How often each pod, or what else, was the answer; one connection each."""
        return self._do(address=ADDRESSES[service], port=PORT, path="/", headers={}, keep=False, times=times)

    def close(self):
        stop(self._process)


class Steady:
    """A process in a pod that asks a Service, or an address and port, without end; words: how, as web.py has it."""

    def __init__(self, meshed, pod, service, *words):
        address, port = (ADDRESSES[service], PORT) if isinstance(service, str) else service
        self._process = meshed.spawn(pod, sys.executable, PROGRAM, "steady", address, str(port), *words,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout.readline() == "ready\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        stop(self._process)

    def report(self):
        """How many requests were answered (ok), when the latest of these began, and when which failed began, and how."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def until(self, moment):
        """The report, when a request that began after this time.monotonic() was answered."""
        return eventually(lambda: (found := self.report())["latest"] > moment and found,
                          what="an answer to a later request")


class Routed:
    """Pods b and c serve; a (namespace test) and o (namespace other) ask.

    options: further words of the agent's command line; outsiders: further pods, not in the mesh (`u`); protocols: the
    appProtocol of Services' ports by name; servers: what serves in a pod in place of web.py.
    """

    def __init__(self, options=(), outsiders=(), protocols=None, servers=None):
        self._options = list(options)
        self._protocols, self._programs = protocols or {}, servers or {}
        self.meshed = Meshed(pods=("a", "b", "c", "o", *outsiders), starts=False)
        self.agent = self.meshed.agent
        self._proxy = NodeProxy(self.agent)
        self._servers = {}
        self.clients = {}
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self):
        selectors = {"web": "b", "v1": "b", "v2": "c", "empty": "nobody", "plain": "c"}
        self._proxy.start_agent(lambda: self.agent.write_config("services.yaml", *(
            self._service(name, app) for name, app in selectors.items())), words=self._options)
        self.serving()
        for pod in ("b", "c"):
            self._serve(pod)
        for pod in ("a", "o"):
            self.clients[pod] = Client(self.meshed, pod)

    def _serve(self, pod):
        program, *arguments = self._programs.get(pod, "web.py serve").split()
        server = self.meshed.spawn(pod, sys.executable, PROGRAM.with_name(program), *arguments, pod, str(TARGET),
                                   stdout=subprocess.PIPE, text=True)
        self._servers[pod] = server
        assert server.stdout.readline() == "ready\n"

    def restart_server(self, pod):
        """Ends what serves in a pod, with its connections, and starts it again."""
        stop(self._servers.pop(pod))
        self._serve(pod)

    def proxy(self):
        """What `meshctl status` says of proxy and factory."""
        return self._proxy.report()

    def _service(self, name, app):
        made = manifests.service(name, {"app": app}, [(PORT, TARGET)],
                                 [ADDRESSES[name]] + ([WEB6] if name == "web" else []))
        if name in self._protocols:
            made["spec"]["ports"][0]["appProtocol"] = self._protocols[name]
        return made

    def serving(self, but=None):
        """The process of the proxy that serves with everything that it has been told."""
        return self._proxy.serving(but, listeners=16)

    def routes(self, *objects):
        """Replaces all routes of the configuration directory; returns when the kernel leads to the proxy by them."""
        self.agent.write_config("routes.yaml", *objects)
        wanted = {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in objects
                  if item["kind"] != "ReferenceGrant"}
        eventually(lambda: {(one["namespace"], one["name"]) for one in self.agent.json("routes")} == wanted,
                   what=f"the routes {wanted}")
        self.serving()

    def forget(self):
        """Takes back the policies of `policies.yaml` and all routes."""
        self.agent.write_config("policies.yaml")
        # Routes are waited for, and with them the policies that were there before.
        self.routes(http_route("last", [{"backendRefs": [to("v1")]}]))
        self.routes()

    def close(self):
        for client in self.clients.values():
            client.close()
        for server in self._servers.values():
            stop(server)
        self.meshed.remove()
        self._proxy.end()
