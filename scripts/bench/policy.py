# SPDX-License-Identifier: Apache-2.0
"""What size costs: verdicts over 100 000 entries, connects with 10 000 Services, apply with 10 000 policies."""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests" / "Integration"))
os.environ.setdefault("MESH_BUILD", "release")

from blocks import bootstrap  # noqa: E402 (the path above is needed first)
from harness import manifests  # noqa: E402
from harness.kernel import Verdicts  # noqa: E402
from harness.manifests import app, network_policy  # noqa: E402
from harness.processes import run, run_program, stop  # noqa: E402
from harness.world import World  # noqa: E402
from report import judge, percentile, printing, save, summary  # noqa: E402

MESHLOAD = ROOT / "Benchmarks" / ".build" / "release" / "meshload"
SERVICE = "10.96.0.10"
FIRST_PORT = 10_000


def world_with(files):
    """A World whose agent finds `files` (name -> objects) at its start; (world, seconds until it was ready)."""
    world = World("enabled")
    try:
        world.agent.stop()
        for name, objects in files.items():
            world.agent.write_config(name, *objects)
        started = time.monotonic()
        world.agent.start()
        return world, time.monotonic() - started
    except BaseException:
        world.remove()
        raise


def strangers(count):
    """Pods of another node, each with an address and an app label of its own."""
    return [{
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": f"p{number}", "namespace": "test", "labels": {"app": f"p{number}"}},
        "spec": {"nodeName": "elsewhere", "containers": [{"name": "main"}]},
        "status": {"podIP": stranger_address(number), "podIPs": [{"ip": stranger_address(number)}]}}
        for number in range(count)]


def stranger_address(number):
    return f"10.90.{number // 250}.{number % 250 + 1}"


def entries_of(world):
    return next(entry["entries"] for entry in world.agent.json("status")["maps"] if entry["name"] == "mesh_policy")


class VerdictArm:
    """A world with `pods` * `ports` exact entries, and a hot set of 256 questions about them."""

    def __init__(self, pods, ports):
        policies = [network_policy(f"port-{port}", app("b"), ingress=[{
            "from": [{"podSelector": {"matchExpressions": [
                {"key": "app", "operator": "NotIn", "values": [f"p{port % pods}"]}]}}],
            "ports": [{"port": FIRST_PORT + port}]}]) for port in range(ports)]
        self._world, _ = world_with({"strangers.yaml": strangers(pods), "policies.yaml": policies})
        self.entries = entries_of(self._world)
        self._verdicts = Verdicts(self._world.agent)
        pick = random.Random(1)
        self._hot = [self._verdicts.packet(stranger_address(pick.randrange(pods)), self._world.pod("b").ipv4,
                                           FIRST_PORT + pick.randrange(ports)) for _ in range(256)]

    def nanoseconds(self):
        """Of one verdict: short runs of each key in turn, so that the set of 256 is hot and no single key is."""
        return statistics.fmean(self._verdicts.nanoseconds(packet, 50) for packet in self._hot)

    def remove(self):
        self._verdicts.close()
        self._world.remove()


def bench_verdicts(quick):
    arms = []
    try:
        arms = [VerdictArm(10, 1), VerdictArm(200 if quick else 2000, 50)]
        few, many = (arm.entries for arm in arms)
        blocks = []
        for _ in range(10 if quick else 40):
            # A B B A, as everywhere: what the machine does besides meets both.
            block = [arms[index].nanoseconds() for index in (0, 1, 1, 0)]
            blocks.append(((block[0] + block[3]) / 2, (block[1] + block[2]) / 2))
    finally:
        for arm in arms:
            arm.remove()
    ratios = [large / small for small, large in blocks]
    return {"case": f"verdict-{few}-and-{many}-entries", "metric": "ns",
            "arms": {"small": round(statistics.median(b[0] for b in blocks), 1),
                     "large": round(statistics.median(b[1] for b in blocks), 1)},
            "ratio": round(statistics.median(ratios), 4), "spread": [round(end, 4) for end in bootstrap(ratios)],
            "limit": 1.3}


def services(count, endpoints, target):
    """`count` Services of `endpoints` endpoints each; the first leads to `target`. In files of 250 Services."""
    files = {}
    for start in range(0, count, 250):
        objects = []
        for number in range(start, min(count, start + 250)):
            name, vip = f"s{number}", SERVICE if number == 0 else f"10.97.{number // 250}.{number % 250 + 1}"
            ports = [(5000 + offset, 5000 + offset) for offset in range(4)] if number == 0 else [(80, 8080)]
            objects.append(manifests.service(name, None, ports, [vip]))
            addresses = [target] if number == 0 else [
                f"10.{100 + number % 100}.{number // 100}.{one + 1}" for one in range(endpoints)]
            objects.append({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": name, "namespace": "test", "labels": {"kubernetes.io/service-name": name}},
                "ports": [{"name": f"p{port}", "port": to, "protocol": "TCP"} for port, to in ports],
                "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses]})
        files[f"services-{start}.yaml"] = objects
    return files


def bench_services(quick):
    """connect + request through a Service, 10 Services beside 10 000 with 100 000 endpoints, A B B A."""
    arms, servers = {}, []
    try:
        for name, count in (("small", 10), ("large", 1000 if quick else 10_000)):
            world, seconds = world_with(services(count, 10, "10.81.0.11"))
            arms[name] = world
            print(f"  {count} Services: ready after {seconds:.1f} s, agent {world.agent.rss_kilobytes()} KiB", flush=True)
            server = world.spawn("b", MESHLOAD, "server", "--address", world.pod("b").ipv4, "--cpu", "0",
                                 stdout=subprocess.PIPE, text=True)
            servers.append(server)
            assert server.stdout.readline() == "ready\n"

        def measure(name):
            argv = arms[name].argv("a", MESHLOAD, "crr", "--address", SERVICE, "--cpu", "0", "--seconds", "0.3")
            return json.loads(run(*argv).stdout)["mean_us"]
        blocks = []
        for _ in range(4 if quick else 12):
            block = [measure(name) for name in ("small", "large", "large", "small")]
            blocks.append(((block[0] + block[3]) / 2, (block[1] + block[2]) / 2))
    finally:
        for server in servers:
            stop(server, grace=0.5)
        for world in arms.values():
            world.remove()
    ratios = [large / small for small, large in blocks]
    return {"case": "crr-10-and-10000-services", "metric": "us",
            "arms": {"small": round(statistics.median(b[0] for b in blocks), 3),
                     "large": round(statistics.median(b[1] for b in blocks), 3)},
            "ratio": round(statistics.median(ratios), 4), "spread": [round(end, 4) for end in bootstrap(ratios)],
            "limit": 1.05}


def bench_apply(quick):
    """One policy applied with 10 000 loaded: from the request read to the verdict in force, as the agent says."""
    count, rounds = (1000, 40) if quick else (10_000, 200)
    # As in a cluster: most policies are of pods elsewhere, a hundred or so of each pod of this node.
    loaded = [network_policy(
        f"loaded-{number}", app("ab"[number // 50 % 2] if number % 50 == 0 else f"p{number % 1000}"), ingress=[{
            "from": [{"podSelector": app(f"p{(number * 7 + number // 1000) % 1000}")}],
            "ports": [{"port": FIRST_PORT + number // 50 % 40}]}]) for number in range(count)]
    world, seconds = world_with({"strangers.yaml": strangers(1000), "policies.yaml": loaded})
    print(f"  {count} policies: ready after {seconds:.1f} s, agent {world.agent.rss_kilobytes()} KiB, "
          f"{entries_of(world)} entries", flush=True)
    try:
        pick = random.Random(1)

        def apply(number):
            report = world.agent.apply(network_policy("one", app("b"), ingress=[
                {"from": [{"podSelector": app(f"p{number}")}], "ports": [{"port": FIRST_PORT + 50 + number % 7}]}]))
            return report["milliseconds"]

        def alone(number):
            # Not in step with anything of the agent or the kernel that comes at intervals.
            time.sleep(pick.uniform(0.05, 0.15))
            return apply(number)
        single = sorted(alone(number) for number in range(rounds))
        # One after another, as a script would: each waits for the grace period of the one before.
        burst = sorted(apply(number) for number in range(rounds))
    finally:
        world.remove()
    arms = {"median": statistics.median(single), "p99": percentile(single, 0.99),
            "burst median": statistics.median(burst), "burst p99": percentile(burst, 0.99)}
    return {"case": f"apply-with-{count}-policies", "metric": "ms",
            "arms": {name: round(value, 3) for name, value in arms.items()}, "p99": round(arms["p99"], 3), "limit": 10}


CASES = {"verdict": bench_verdicts, "services": bench_services, "apply": bench_apply}


def main(arguments=None):
    """Exit status and a line that sums up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes")
    parser.add_argument("--cases", default=",".join(CASES), help=",".join(CASES))
    parser.add_argument("--output", type=Path, help="JSON file (docs/benchmarks/policy.json; quick or part: none)")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    results, missed = [], []
    for name in options.cases.split(","):
        result = CASES[name](options.quick)
        missed += [] if judge(result) else [result["case"]]
        results.append(result)
    whole = not options.quick and options.cases == ",".join(CASES)
    output = options.output or (ROOT / "docs/benchmarks/policy.json" if whole else None)
    if output:
        save(output, results, {"quick": options.quick})
        print(f"written to {output}")
    return 1 if missed else 0, summary(len(results), time.monotonic() - started, missed)


if __name__ == "__main__":
    run_program(printing(main))
