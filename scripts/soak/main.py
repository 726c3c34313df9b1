# SPDX-License-Identifier: Apache-2.0
"""Moves checked traffic of random shape between meshed pods while policy changes: no byte wrong, nothing hangs.

Exit status 0 only if all bytes moved with zero mismatches and zero hangs, the fast path was really used and left
again, and the agent's memory stayed flat.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests" / "Integration"))

from churn import Churn  # noqa: E402 (the path above is needed first)
from harness import manifests  # noqa: E402
from harness.processes import run_program  # noqa: E402
from harness.world import World  # noqa: E402
from streams import Client, Route, Servers  # noqa: E402

SERVICE = "10.96.81.1"
# Each route has its own server, which listens on four ports from its first one on.
FIRST_PORT, PORTS = 5100, 60
# Growth of the agent's memory that is not a leak: allocator caches, a larger event buffer.
RSS_SLACK_KILOBYTES = 8 << 10


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=50, help="bytes to move, both directions together (2^30)")
    parser.add_argument("--seconds", type=float, default=7200, help="stop at this time, whatever has moved")
    parser.add_argument("--connections", type=int, default=6, help="of each of the six routes at a time")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of all random choices")
    parser.add_argument("--mode", default="enabled", help="enabled, disabled, auto, or plain for no mesh")
    return parser.parse_args()


def routes(world):
    b = world.pod("b")
    service = SERVICE if world.agent else b.ipv4
    return [
        Route("a to b, IPv4", "a", "b", b.ipv4, b.ipv4, FIRST_PORT, 0.345),
        Route("c to b, IPv6", "c", "b", b.ipv6, b.ipv6, FIRST_PORT + 10, 0.25),
        Route("c to b, IPv4-mapped", "c", "b", f"::ffff:{b.ipv4}", b.ipv4, FIRST_PORT + 20, 0.1),
        Route("a to b by its Service", "a", "b", service, b.ipv4, FIRST_PORT + 30, 0.2),
        Route("a to itself, loopback", "a", "a", "127.0.0.1", "127.0.0.1", FIRST_PORT + 40, 0.1),
        # Many ends that change from redirection to TCP and leave the map while the other direction is busy.
        Route("a to b, short, both ways", "a", "b", b.ipv4, b.ipv4, FIRST_PORT + 50, 0.005,
              ("--only", "concurrent", "--largest", "128K")),
    ]


class Memory:
    """Resident size of the agent, sampled."""

    def __init__(self, agent):
        self._agent = agent
        self.samples = []

    def sample(self):
        if self._agent:
            self.samples.append(self._agent.rss_kilobytes())

    def growth(self):
        """Kilobytes from the second tenth of the run (all is loaded by then) to its last tenth."""
        if len(self.samples) < 20:
            return 0
        tenth = len(self.samples) // 10
        return statistics.median(self.samples[-tenth:]) - statistics.median(self.samples[tenth:2 * tenth])


def watch(clients, servers, churn, memory):
    """Until all clients have ended, or something has failed; the failures."""
    while any(client.running for client in clients):
        time.sleep(0.25)
        memory.sample()
        failures = servers.failures()
        if churn and churn.failure:
            failures.append(f"policy churn: {churn.failure}")
        failures += [client.route.name + " failed" for client in clients
                     if not client.running and client.process.returncode != 0]
        if failures:
            for client in clients:
                client.process.terminate()
            return failures
    return servers.failures()


def counters(world):
    if not world.agent:
        return {}
    return {entry["name"]: entry["value"] for entry in world.agent.json("status")["counters"]}


def check_fast_path(mode, before, after):
    """The soak proves nothing if nothing was redirected, or nothing was ever downgraded."""
    change = {name: after[name] - before.get(name, 0) for name in after}
    needed = ("latched", "left-sockhash") if mode == "enabled" else ()
    return [f"counter {name} did not move: the fast path was not used" for name in needed if not change.get(name)], change


def main():
    options = parse()
    print(f"soak: {options.gigabytes:g} GiB, mode {options.mode}, seed {options.seed}", flush=True)
    started = time.monotonic()
    world = World(options.mode, pods=("a", "b", "c"))
    churn = servers = None
    try:
        if world.agent:
            ports = [(FIRST_PORT + 30 + offset, FIRST_PORT + 30 + offset) for offset in range(4)]
            world.agent.write_config("service.yaml", manifests.service("mix", {"app": "b"}, ports, [SERVICE]))
            world.agent.apply(manifests.network_policy("churn-0", manifests.app("b"), ingress=[{}]))
        plan = routes(world)
        servers = Servers(world, plan)
        before = counters(world)
        total = int(options.gigabytes * (1 << 30))
        clients = [Client(world, route, total, options.seconds, options.connections, options.seed + number)
                   for number, route in enumerate(plan)]
        churn = Churn(world.agent, (FIRST_PORT, FIRST_PORT + PORTS), seed=options.seed) if world.agent else None
        memory = Memory(world.agent)
        failures = watch(clients, servers, churn, memory)
        if churn:
            churn.stop()
        moved = 0
        for client in clients:
            result, failure = client.outcome()
            if failure:
                failures.append(failure)
                continue
            moved += result["bytes"]
            print(f"  {client.route.name:24} {result['bytes'] / (1 << 30):7.2f} GiB, {result['connections']:6} "
                  f"connections, {result['gbytes_per_second']:.2f} GB/s, {result['short_waitall']} short WAITALL, "
                  f"{result['spurious_wakeups']} spurious wake-ups")
        if not failures:
            missing, change = check_fast_path(options.mode, before, counters(world))
            failures += missing
            if change:
                print("  counters: " + ", ".join(f"{name} {value}" for name, value in change.items() if value))
        if memory.growth() > RSS_SLACK_KILOBYTES:
            failures.append(f"the agent grew by {memory.growth()} KiB during the run")
        summary(moved, churn, memory, time.monotonic() - started, failures)
        return 1 if failures else 0
    finally:
        if servers:
            servers.stop()
        world.remove()


def summary(moved, churn, memory, seconds, failures):
    print(f"soak: {moved / (1 << 30):.2f} GiB in {seconds:.0f} s, every byte compared")
    if churn and churn.milliseconds:
        print(f"  {churn.applied} policy changes, {statistics.median(churn.milliseconds):.1f} ms each (median)")
    if memory.samples:
        print(f"  agent: {memory.samples[-1]} KiB resident, growth {memory.growth():+.0f} KiB")
    print("  0 mismatches, 0 hangs" if not failures else "FAILED:\n  " + "\n  ".join(failures))


if __name__ == "__main__":
    run_program(main)
