# SPDX-License-Identifier: Apache-2.0
"""What the demo shows, step by step. Each step checks what it says and raises StepFailed if it is not so."""

import re
import statistics
import sys
import time

from harness.processes import run
from http_steps import CLIENT, WEB, WEB6, WEB_WEIGHTS, RequestSteps
from second_node import SecondNodeSteps
from services import Server, Talker, nginx_words, redis_words
from terminal import StepFailed, check, command, heading, output, say, shown

PODS = {"client": 10, "web-a": 11, "web-b": 12, "redis": 13}
OUTSIDE = {"plain-client": 20, "plain-redis": 21}


class Demo(RequestSteps, SecondNodeSteps):
    def __init__(self, node, mesh):
        self.node = node
        self.mesh = mesh
        self.directory = mesh.agent.directory
        self.servers = []
        self.clients = []

    def remove(self):
        for process in self.clients + self.servers:
            process.stop()
        self.remove_second_node()

    def run(self):
        self.make_pods()
        self.enrol()
        self.balance()
        self.redirect()
        self.canary()
        self.retry()
        self.mirror()
        self.deny_request()
        self.views()
        self.deny_egress()
        self.deny_ingress()
        self.cut()
        self.latency()
        self.second_node()
        self.across_nodes()
        self.routes_across_nodes()
        self.nothing_in_clear()
        self.strangers()
        self.rotation()
        self.uninstall()

    # The steps

    def make_pods(self):
        heading("A node with pods, as network namespaces on a bridge")
        for pod, number in {**PODS, **OUTSIDE}.items():
            self.node.add_pod(pod, number)
        say(f"""{', '.join(PODS)}: pods of the namespace demo, to be enrolled.
            {', '.join(OUTSIDE)}: stay outside the mesh, to compare with.""")
        self.mesh.write_manifests({"demo": self.node}, "mesh")
        say("What opts a pod in, from examples/demo/mesh/pods.yaml:")
        lines = (self.mesh.agent.config / "mesh-pods.yaml").read_text().splitlines()
        begin = lines.index("  annotations:")
        output("\n".join(lines[begin:begin + 4]))

    def enrol(self):
        heading("Enrolment")
        self.mesh.start()
        say(f"Below, meshctl stands for: {self.mesh.agent.argv()[0].parent}/meshctl, with --socket "
            f"{self.mesh.agent.socket}")
        self.mesh.ctl("status", "--wait")
        for pod in ("web-a", "web-b"):
            self._serve(pod, nginx_words(self.directory, pod, flaky=pod == "web-b"), 8080, f"nginx -c {pod}/nginx.conf")
        self._serve("redis", redis_words(self.directory, "redis"), 6379, "redis-server --port 6379")
        outside = self.node.pods["plain-redis"]
        words = outside.enter(*redis_words(self.directory, outside.name))
        self.servers.append(Server(outside, words, 6379, self.directory))
        self.mesh.ctl("workloads")
        states = {item["name"]: item["redirection"]["state"] for item in self.mesh.json("workloads")}
        check(states == dict.fromkeys(PODS, "enabled"), "all four pods are enrolled", f"states are {states}")

    def balance(self):
        heading("A Service with two weighted backends, 3 to 1")
        for url, count in ((f"http://{WEB}/", 400), (f"http://[{WEB6}]/", 200)):
            self._get(url, count, WEB_WEIGHTS)

    def redirect(self):
        heading("The fast path: bytes go from socket to socket")
        holder = self._hold()
        time.sleep(0.3)
        self.mesh.ctl("connections")
        found = [c for c in self.mesh.json("connections") if c["destination"].get("workload") == "demo/redis"]
        paths = {(c["sent"]["path"], (c.get("received") or {}).get("path")) for c in found}
        check(len(found) == 2 and paths == {("redirect", "redirect")},
              "both redis connections are redirected, in both directions",
              f"{len(found)} connections with paths {paths}")
        holder.stop()

    def deny_egress(self):
        heading("A policy that denies egress: EPERM, at once")
        self._apply("deny-egress.yaml")
        self._check_denied("EPERM", "policy-egress", "client-may-reach-web-only")
        text = self.mesh.in_pod("client", sys.executable, CLIENT, "get", f"http://{WEB}/", "20",
                                shown_as=f"client.py get http://{WEB}/ 20")
        check("web-a" in text, "what the policy allows still works", f"the client saw {text!r}")
        self.mesh.ctl("policy", "delete", "NetworkPolicy", "demo/client-may-reach-web-only")

    def deny_ingress(self):
        heading("A policy that denies ingress: ECONNREFUSED, at once")
        self._apply("deny-ingress.yaml")
        self._check_denied("ECONNREFUSED", "policy-ingress", "redis-refuses-client")
        self.mesh.ctl("policy", "rollback")
        text = self._try(self.redis.ipv4, 6379)
        check("connected x20" in text, "after the rollback it is allowed again", text)

    def cut(self):
        heading("A policy change cuts live connections, busy and idle")
        holder = self._hold()
        time.sleep(0.2)
        began = time.monotonic_ns()
        self._apply("deny-ingress.yaml")
        applied = time.monotonic_ns()
        ends = {}
        for _ in range(2):
            line = holder.line()
            output(line)
            match = re.match(r"(busy|idle) (\w+) at (\d+)", line)
            if not match:
                raise StepFailed(f"the client said {line!r}")
            ends[match[1]] = int(match[3])
        for kind, when in sorted(ends.items()):
            after = (when - began) / 1e6
            check(0 < after < 1000, f"the {kind} connection ended {after:.0f} ms after meshctl was started "
                  f"(meshctl itself took {(applied - began) / 1e6:.0f} ms)", "it lived on")
        self.mesh.ctl("flows", "--verdict", "denied", "--last", "2")
        events = self.mesh.json("flows", "--verdict", "denied", "--last", "20")
        check(any(event["kind"] == "cut" for event in events), "the flow log tells it", str(events))
        holder.stop()
        self.mesh.ctl("policy", "rollback")

    def latency(self):
        heading("Latency with the mesh on and off")
        count, rounds = 5_000, 4
        say(f"""redis PING on one connection, client and server on one core; {rounds} rounds of {count} in turns:
            plain-client to plain-redis outside the mesh, client to redis inside.""")
        command(f"meshctl run --pod demo/client -- client.py ping {self.redis.ipv4} 6379 {count}")
        outside, words = self.node.pods["plain-client"], [sys.executable, CLIENT, "ping"]
        plain_redis = self.node.pods["plain-redis"].ipv4
        on, off = [], []
        for _ in range(rounds):
            off.append(_p50(run(*outside.enter(*words, plain_redis, "6379", count))))
            on.append(_p50(run(*self.mesh.pod_argv("client", *words, self.redis.ipv4, "6379", count))))
        mesh_on, mesh_off = statistics.median(on), statistics.median(off)
        output(f"mesh off   p50 {mesh_off:6.2f} us   rounds: {' '.join(f'{v:.1f}' for v in off)}\n"
               f"mesh on    p50 {mesh_on:6.2f} us   rounds: {' '.join(f'{v:.1f}' for v in on)}")
        check(mesh_on < 0.95 * mesh_off, f"with the mesh on a PING takes {mesh_on / mesh_off:.0%} of its time without",
              f"{on} against {off}")

    def uninstall(self):
        heading("Uninstall leaves nothing, and breaks no connection")
        for mesh in self.meshes:
            mesh.ctl("uninstall", "--purge")
            mesh.ctl("uninstall", "--check", "--cgroup", str(mesh.agent.cgroup), "--bpffs", str(mesh.agent.bpffs))
        shown("nothing is left")
        ended = [server.name for server in self.servers if not server.running]
        check(not ended, "nginx and redis still run", f"{ended} ended")
        client = self.node.pods["client"]
        text = run(*client.enter(sys.executable, CLIENT, "try", self.redis.ipv4, "6379")).stdout
        check("connected x20" in text, "the pods talk by plain TCP", text)

    # Their parts

    @property
    def redis(self):
        return self.node.pods["redis"]

    def _serve(self, pod, words, port, shown_as, mesh=None):
        mesh = mesh or self.mesh
        command(f"{mesh.word} run --pod demo/{pod} -- {shown_as} &")
        argv = mesh.pod_argv(pod, *words)
        self.servers.append(Server(mesh.node.pods[pod], argv, port, self.directory))

    def _hold(self):
        """Opens a busy and an idle connection to redis in the client pod."""
        command(f"meshctl run --pod demo/client -- client.py hold {self.redis.ipv4} 6379 &")
        talker = Talker(self.mesh.pod_argv("client", sys.executable, CLIENT, "hold", self.redis.ipv4, "6379"))
        self.clients.append(talker)
        talker.line()
        return talker

    def _apply(self, name, kind="policies"):
        self.mesh.ctl("policy", "apply", "-f", str(self.mesh.policies / f"{kind}-{name}"),
                      shown_as=f"policy apply -f examples/demo/{kind}/{name}")

    def _get(self, url, count, weights):
        """Asks `count` times, and checks who answered."""
        text = self.mesh.in_pod(
            "client", sys.executable, CLIENT, "get", url, str(count), shown_as=f"client.py get {url} {count}")
        self._check_weights(text, count, weights)

    def _try(self, host, port):
        return self.mesh.in_pod("client", sys.executable, CLIENT, "try", host, str(port),
                                shown_as=f"client.py try {host} {port}")

    def _check_denied(self, error, reason, policy):
        text = self._try(self.redis.ipv4, 6379)
        match = re.search(r"median (\d+) us", text)
        check(f"{error} x20" in text and match is not None and int(match[1]) < 1000,
              f"20 of 20 attempts end with {error}, in less than 1 ms", text)
        self.mesh.ctl("policy", "explain", "demo/client", "demo/redis:6379")
        answer = self.mesh.json("policy", "explain", "demo/client", "demo/redis:6379")
        check(answer["verdict"] == "deny" and policy in str(answer), f"explain names the policy {policy}", str(answer))
        self.mesh.ctl("flows", "--verdict", "denied", "--last", "1")
        events = self.mesh.json("flows", "--verdict", "denied", "--last", "1")
        check([(e["reason"], e["source"].get("workload")) for e in events] == [(reason, "demo/client")],
              f"the flow log has it, with the reason {reason}", str(events))

    def _check_weights(self, text, count, weights):
        seen = {name: int(number) for name, number in re.findall(r"(web-\w) (\d+)", text)}
        total = sum(weights.values())
        for name, weight in weights.items():
            share = weight / total
            # Five standard deviations of a binomial distribution: one false alarm in more than a million runs.
            tolerance = 5 * (count * share * (1 - share)) ** 0.5
            check(abs(seen.get(name, 0) - count * share) <= tolerance,
                  f"{name} answered {seen.get(name, 0)} of {count}: {count * share:.0f} expected, "
                  f"give or take {tolerance:.0f}", text)


def _p50(done):
    """Microseconds, from what `client.py ping` printed."""
    return float(re.search(r"p50 ([\d.]+) us", done.stdout)[1])
