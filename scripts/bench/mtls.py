# SPDX-License-Identifier: Apache-2.0
"""Two nodes with mutual TLS between them: the mesh's proxies beside Envoys and HAProxys in the same places, and OpenSSL alone.

Exit status 1 with --check if a limit is missed. See docs/benchmarks/README.md.
"""

import statistics
import subprocess
import time
from contextlib import contextmanager
from types import SimpleNamespace

import l7  # first: it makes the harness importable
import blocks
import mtlscases
from harness.processes import run_program, spawn, stop
from mtlsarms import TwoNodesBench
from report import printing
from rotation import RotatingNodes

# Each in a world of its own.
ROTATIONS = 3


def request_step(bench, case, options):
    entries = l7.run_case(bench, case, options.blocks, options.seconds)
    for one in list(entries):
        if one.get("figure", "").endswith("at half load") and one["figure"][:3] in ("p50", "p99"):
            direct = one["arms"]["direct"]
            entries.append({**one, "figure": f"added {one['figure'][:3]}", "ratios": [], "arms": {
                name: round(value - direct, 3) for name, value in one["arms"].items() if name != "direct"}})
    return entries


def bulk_step(bench, options):
    arms = {**bench.arms, **mtlscases.references(bench, options.seconds)}
    return l7.run_case(SimpleNamespace(arms=arms), mtlscases.bulk(), options.blocks, options.seconds)


def handshake_step(bench, options):
    arm, shown = bench.strangers()
    arms = {**bench.servers, arm.name: arm, **mtlscases.references(bench, options.seconds)}
    return l7.run_case(SimpleNamespace(arms=arms), mtlscases.accepted(bench, shown), options.blocks, options.seconds)


def idle_step(bench, options):
    """Memory of connections that are there and say nothing: of the far proxy alone, then of both for tunnels."""
    count = 200 if options.quick else 2000
    connections = {name: arm.growth(count, *bench.client(arm, "idle"), settle=mtlscases.SETTLE)
                   for name, arm in bench.servers.items()}
    result = l7.single("idle-mtls", "memory", "bytes", connections, mtlscases.IDLE_BYTES)
    if "haproxy" in connections:
        ratio = connections["mesh"] / connections["haproxy"]
        result["ratios"] = [{"arm": "mesh", "other": "haproxy", "ratio": round(ratio, 4), "spread": [ratio, ratio],
                             "limit": f"<= {mtlscases.IDLE_SHARE:.2f}", "kept": ratio <= mtlscases.IDLE_SHARE}]
    names = [name for name in bench.arms if name.endswith("-tunnel")]
    tunnels = {name: round(bench.arms[name].idle(count, "/r5/small"), 4) for name in names}
    return [result, {"case": "idle-tunnel", "figure": "memory", "metric": "bytes", "arms": tunnels}]


@contextmanager
def strangers(bench, what, number, server=None):
    """While somebody of no name dials the far proxy, or what listens at `server`. It runs when its core has nothing else to
    do: what it takes from the load is not what the proxy does. Gives a dictionary, which a flood's rate is in afterwards."""
    argv = bench.arms["direct"].argv(*bench.client(server or bench.servers["mesh"], what, number))
    process = spawn("chrt", "--idle", "0", *argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    found = {}
    try:
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"mtlsclient.py {what} has not begun")
        began = time.monotonic()
        yield found
        process.stdin.close()
        if what == "flood":
            found["flood_per_second"] = int(process.stdout.readline()) / (time.monotonic() - began)
            if not found["flood_per_second"]:
                raise RuntimeError("no handshake of the flood has succeeded")
    finally:
        stop(process)


def p99(case, done):
    """The entry of a case whose blocks are these."""
    series = {name: [statistics.fmean(result["p99_us"] for result in block[name]) for block in done] for name in case.arms}
    return l7.entry(case, "p99", "us", series)


def established_step(bench, options):
    """p99 of requests at a fixed rate: alone, in a flood of handshakes, beside handshakes that never end, and beside the same
    flood that somebody else is aimed at."""
    case, arm = mtlscases.ESTABLISHED, bench.arms["mesh-tunnel"]
    elsewhere = bench.elsewhere()
    burdens = {"mesh-flood": ("flood", mtlscases.FLOOD_RATE), "mesh-slow": ("slow", mtlscases.SLOW_COUNT),
               "mesh-elsewhere": ("flood", mtlscases.FLOOD_RATE, elsewhere)}

    def measure(name):
        if name not in burdens:
            return mtlscases.at_rate(arm, options.seconds)
        with strangers(bench, *burdens[name]) as found:
            result = mtlscases.at_rate(arm, options.seconds)
        return {**result, **found}
    with strangers(bench, "serve", 0, elsewhere):
        done, _ = blocks.interleave(list(case.arms), options.blocks, measure)
    floods = {name: round(statistics.median(result["flood_per_second"] for block in done for result in block[name]), 1)
              for name in case.arms if "flood_per_second" in done[0][name][0]}
    # Who floods gets what is left of its core.
    print(f"{'':17} handshakes a second: {floods}", flush=True)
    return [{**p99(case, done), "flood_per_second": floods}]


def rotation_step(worlds, options):
    """p99 of requests at a fixed rate: alone, and while leaf, intermediate and root change. None may fail."""
    case = mtlscases.ROTATION
    done = [worlds.block() for _ in range(min(options.blocks, ROTATIONS))]
    return [p99(case, done)]


def plan(options):
    # Memory first: who has had thousands of connections at once has room for more.
    steps = [("idle", lambda bench: idle_step(bench, options), 0)]
    steps += [(case.name, lambda bench, case=case: request_step(bench, case, options), 0) for case in mtlscases.requests()]
    for name, step in (("bulk", bulk_step), ("handshakes", handshake_step), ("established", established_step)):
        steps.append((name, lambda bench, step=step: step(bench, options), 0))
    steps.append(("rotation", lambda worlds: rotation_step(worlds, options), 1))
    return steps


def main(arguments=None):
    options = l7.parse(arguments, __doc__, mtlscases.PEERS, "docs/benchmarks/mtls.json")
    return l7.run_all(options, plan(options), [lambda: TwoNodesBench(options.peers), RotatingNodes])


if __name__ == "__main__":
    run_program(printing(main))
