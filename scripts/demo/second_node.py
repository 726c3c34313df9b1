# SPDX-License-Identifier: Apache-2.0
"""The steps about a second node: what two agents and proxies on one machine show of mutual TLS between nodes."""

import json
import os
import re
import socket
import ssl
import sys
import time

from harness.agent import binary
from harness.hbone import Authority, End, tls
from harness.node import Node, in_namespace
from harness.nodeproxy import NodeProxy
from harness.processes import run
from harness.two_nodes import share_authority
from harness.wire import TUNNELS, cable, records, segments
from http_steps import CLIENT, WEB
from mesh import Mesh
from services import Server, Talker, nginx_words, redis_words
from terminal import StepFailed, check, command, heading, output, say

PODS = {"orders": 40, "ledger": 41}
ORDERS = "10.96.0.20"
DOMAIN = "cluster.local"
# What the authority's intermediate lives in the demo, in seconds: 60 days otherwise. No certificate of a pod lives longer, and
# each is renewed at half of its life.
LIFE = 12


class SecondNodeSteps:
    """A part of Demo."""

    second = other = wire = None

    def second_node(self):
        heading("A second node, and one authority for both")
        self.other = Node("demo-2")
        for pod, number in PODS.items():
            self.other.add_pod(pod, number)
        self.wire = cable(self.node, self.other)
        self.second = Mesh(self.other, "meshctl-2")
        say(f"""{', '.join(PODS)}: pods of the second node. The wire to it is listened to from now on.
            Below, meshctl-2 stands for meshctl with the second agent's socket.""")
        self.mesh.agent.stop()
        for mesh in self.meshes:
            mesh.write_manifests({"demo": self.node, "other": self.other}, "mesh", "second-node")
            mesh.agent.directory.chmod(0o755)  # the proxy is another user, and comes back to an agent that was restarted
            mesh.agent.options += ["--identity", "local"]
        words = ["ca", "init", "--node", self.node.id, "--state-dir", str(self.mesh.agent.state)]
        command("meshctl " + " ".join(words))
        output(run(binary("meshctl"), *words).stdout, 3)
        share_authority(self.mesh.agent, self.second.agent)
        command(f"cp {self.mesh.agent.state}/authority.pem {self.second.agent.state}/")
        self.first_serials, self._due = {}, {}
        for mesh in self.meshes:
            self._start(mesh)
        for mesh in self.meshes:
            mesh.ctl("identity")
        check(sum(map(len, self.first_serials.values())) == 5, "each service account has a certificate on its node",
              str(self.first_serials))
        self._serve("orders", nginx_words(self.directory, "orders", flaky=False), 8080, "nginx -c orders/nginx.conf",
                    self.second)
        self._serve("ledger", redis_words(self.directory, "ledger"), 6379, "redis-server --port 6379", self.second)
        argv = self.mesh.pod_argv("client", sys.executable, CLIENT, "keep", f"http://{ORDERS}/")
        command(f"meshctl run --pod demo/client -- client.py keep http://{ORDERS}/ &")
        self.steady = Talker(argv)
        self.clients.append(self.steady)
        self.steady.line()
        say("It asks without pause, each time by a new connection, until the certificates have changed.")
        self._rotate_if_due()

    def across_nodes(self):
        self._rotate_if_due()
        heading("TCP to a pod of the other node: through a tunnel with mutual TLS")
        text = self._try(self.ledger.ipv4, 6379)
        check("connected x20" in text, "the client reaches redis there", text)
        command("grep HBONE mesh-agent.log | tail -n 1")
        line, record = self._tunnel_line(self.mesh, dst__workload="ledger")
        output(line)
        names = [f"spiffe://{DOMAIN}/ns/demo/sa/{account}" for account in ("client", "ledger")]
        check([record["src.identity"], record["dst.identity"]] == names, "both ends have proved who they are", line)

    def routes_across_nodes(self):
        self._rotate_if_due()
        heading("A route to the other node, and a policy there on the identity and the method")
        self._apply("orders.yaml", "routes")
        self._wait_until("orders 10", "/orders", 10)
        text = self._ask("GET", "/orders/1", 20)
        check(text.strip() == "orders 20", "the route of this node leads to the pod of the other", text)
        self.second.ctl("policy", "get")
        for pod, method, expected in (("client", "GET", "orders 20"), ("client", "DELETE", "status 403 20"),
                                      ("redis", "GET", "status 502 20")):
            text = self._ask(method, "/orders/1", 20, pod=pod)
            check(text.strip() == expected, f"{method} by {pod}: {expected}", text)

    def nothing_in_clear(self):
        self._rotate_if_due()
        heading("What the wire between the nodes has seen")
        secret = f"secret-{os.urandom(12).hex()}"
        self._ask("GET", f"/orders/{secret}", 20, f"x-secret: {secret}")
        self.mesh.in_pod("client", *self._echo(secret), shown_as=f"client.py echo {self.ledger.ipv4} 6379 {secret}")
        control = f"open-{os.urandom(12).hex()}"
        say("plain-client, which is not in the mesh, sends something as well:")
        command(f"client.py echo {self.ledger.ipv4} 6379 {control}")
        output(run(*self.node.pods["plain-client"].enter(*self._echo(control))).stdout)
        seen, lost = self.wire.counts()
        frames = self.wire.frames()
        enrolled = {pod.address(family) for pod in (*self.node.pods.values(), *self.other.pods.values())
                    if not pod.name.startswith("plain") for family in (4, 6)}
        found = [one for one in segments(frames) if {one.source, one.destination} <= enrolled]
        counts = records(found)
        sizes = sum(len(one.payload) for one in found)
        output(f"{len(frames)} packets, {lost} lost; of enrolled pods {sizes} bytes of TCP: "
               + ", ".join(f"{number} records {name}" for name, number in sorted(counts.items())))
        check(lost == 0 and len(frames) >= seen and counts["application_data"] > 100, "nothing has passed unseen",
              f"{lost} of {seen}, {dict(counts)}")
        clear = [one for one in found if one.payload and TUNNELS not in one.ports]
        check(not clear, "each byte from one enrolled pod to another is within a record of TLS", f"{clear[:1]}")
        check(not any(secret.encode() in frame for frame in frames), "the secret is nowhere", "it is there in clear")
        check(any(control.encode() in frame for frame in frames), "what plain-client has sent is there", "it is not")

    def strangers(self):
        self._rotate_if_due()
        heading("Certificates that are not of whoever shows them")
        place = self.mesh.agent.state / "authority.pem"
        own = Authority.of_file(place, DOMAIN, "demo")
        say(f"plain-client dials port {TUNNELS} of ledger, with a certificate of another authority:")
        context = tls(False, Authority(DOMAIN, "demo").svid("client"), own.root)
        try:
            with context.wrap_socket(self._dial("plain-client")) as stranger:
                ending = f"{len(stranger.recv(1))} bytes"
        except (ssl.SSLError, ConnectionError) as error:
            ending = getattr(error, "reason", None) or str(error)
        output(ending)
        check("ALERT" in ending or "reset" in ending.lower(), "the handshake fails", ending)
        say("The same with the client's own certificate and key, stolen:")
        end = End(self._dial("plain-client"), tls(False, own.svid("client"), own.root), False)
        status = end.status(end.connect(f"{self.ledger.ipv4}:6379"))
        end.close()
        line, record = self._tunnel_line(self.second, reason="denied", src__identity=own.id("client"))
        output(line)
        check(status == 401, "its tunnel is refused: the address is not the client's", f"status {status}")

    def rotation(self):
        heading("Certificates are renewed, and a change of root begins, while requests run")
        say(f"The authority's intermediate lives {LIFE} s here, and certificates no longer, so that this can be seen.")
        while not self._rotate_if_due():
            time.sleep(0.05)
        self._wait(self._has_other_certificates, "another certificate for each identity")
        for mesh in self.meshes:
            mesh.ctl("identity")
        text = self._ask("GET", "/orders/2", 20, pod="web-b")
        check(text.strip() == "orders 20", "a pod that has not spoken to the other node before begins with the new ones", text)
        text = self.steady.ask()
        answered, failed = map(int, re.match(r"(\d+) answered, (\d+) failed", text).groups())
        check(answered > 100 and failed == 0, f"of {answered} requests of the client since the beginning none has failed", text)
        self.steady.stop()

    def remove_second_node(self):
        """Whatever state it is in."""
        if self.second:
            proxy = NodeProxy(self.second.agent)
            try:
                proxy.report()
            except Exception:  # the agent may have ended
                pass
            self.second.agent.remove()
            proxy.end()
        if self.wire:
            self.wire.close()
        if self.other:
            self.other.remove()

    # Their parts

    @property
    def meshes(self):
        return self.mesh, self.second

    @property
    def ledger(self):
        return self.other.pods["ledger"]

    def _start(self, mesh):
        """The agent, with an intermediate that begins to live now."""
        file = mesh.agent.state / "authority.pem"
        Authority.of_file(file, DOMAIN, "demo").renew_intermediate(file, LIFE)
        self._due[mesh] = time.time() + LIFE / 2 + 1
        mesh.start()
        self._wait(lambda: self._certificates(mesh), "certificates in the proxy")
        self.first_serials[mesh] = self._serials(mesh)

    def _rotate_if_due(self):
        """Whether both intermediates are replaced: they are when a change of root begins after half of their life."""
        for mesh in [mesh for mesh, due in self._due.items() if time.time() > due]:
            del self._due[mesh]
            mesh.ctl("ca", "rotate", limit=3)
        return not self._due

    @staticmethod
    def _serials(mesh):
        return {one["identity"]: one.get("serial") for one in mesh.json("identity")}

    def _has_other_certificates(self):
        return all(self._serials(mesh).get(identity) not in (None, serial)
                   for mesh, serials in self.first_serials.items() for identity, serial in serials.items())

    def _certificates(self, mesh):
        """Whether the proxy that serves has one for each identity."""
        wanted = len(mesh.json("identity"))
        return wanted and any(one.get("identities") == wanted and one["state"] == "serving"
                              for one in mesh.json("status")["proxy"]["proxies"])

    def _wait(self, condition, what):
        deadline = time.monotonic() + 20
        while not condition():
            if time.monotonic() > deadline:
                raise StepFailed(f"{what}: not after 20 s")
            time.sleep(0.02)

    def _dial(self, pod):
        address = self.ledger.ipv4, TUNNELS
        return in_namespace(self.node.pods[pod].path, lambda: socket.create_connection(address, timeout=5))

    def _echo(self, text):
        return [sys.executable, CLIENT, "echo", self.ledger.ipv4, "6379", text]

    def _tunnel_line(self, mesh, **values):
        """The newest line about a tunnel with these values, and what it says."""
        found = []

        def look():
            for line in reversed(mesh.agent.log_tail(2000).splitlines()):
                record = json.loads(line) if line.startswith("{") and '"HBONE"' in line else {}
                if record and all(record.get(key.replace("__", ".")) == value for key, value in values.items()):
                    found.append((line, record))
                    return True
            return False
        self._wait(look, f"a line of a tunnel with {values}")
        return found[0]
