# SPDX-License-Identifier: Apache-2.0
"""How fast a change of policy ends live connections: from the flip to the error on both sockets, active and idle."""

import argparse
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests" / "Integration"))
os.environ.setdefault("MESH_BUILD", "release")

from blocks import steal  # noqa: E402 (the path above is needed first)
from harness.cuts import cut  # noqa: E402
from harness.kernel import Generation  # noqa: E402
from harness.meshed import Meshed  # noqa: E402
from harness.processes import run_program  # noqa: E402
from report import judge, percentile, printing, save, summary  # noqa: E402

# Milliseconds, p99 of the later of both sockets.
LIMIT = 20
# Connections that one change cuts; half of the changes cut IPv4 connections, half IPv6.
CONNECTIONS = 15
# Way of the bytes -> the pods' `sockmesh.io/accelerate`.
WAYS = {"redirect": "enabled", "tcp": "disabled"}


def bench(meshed, way, activity, rounds):
    """One entry of `results`."""
    generation = Generation(meshed.agent)
    cuts, repeated = [], 0

    def prove(port):
        """That their bytes go the way that is measured."""
        ways = [report["sent"]["path"] for report in meshed.agent.json("connections")
                if report["destination"]["port"] == port]
        if ways != [way] * CONNECTIONS:
            raise RuntimeError(f"{CONNECTIONS} connections by {way} were expected, but they go by {ways}")
    try:
        while len(cuts) < rounds * CONNECTIONS:
            family = 6 if len(cuts) // CONNECTIONS % 2 else 4
            began = steal()
            delays = cut(meshed, meshed.agent.apply, generation, family, activity, CONNECTIONS, prove)
            ended = steal()
            # As in blocks.py: not while the machine was away.
            if (ended[0] - began[0]) / max(1, ended[1] - began[1]) > 0.01 and repeated < rounds:
                repeated += 1
                continue
            cuts += [1000 * max(pair) for pair in zip(delays["client"], delays["server"])]
    finally:
        generation.close()
    cuts.sort()
    p99 = round(percentile(cuts, 0.99), 3)
    return {"case": f"cut-{activity}-{way}", "metric": "ms",
            "arms": {"median": round(percentile(cuts, 0.5), 3), "p99": p99, "longest": round(cuts[-1], 3)},
            "p99": p99, "cuts": len(cuts), "limit": LIMIT, **({"repeated_rounds": repeated} if repeated else {})}


def main(arguments=None):
    """Exit status and a line that sums up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="60 cuts of each kind instead of 300")
    parser.add_argument("--output", type=Path, help="JSON file (docs/benchmarks/cut.json; quick: none)")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    results, missed = [], []
    for way, mode in WAYS.items():
        meshed = Meshed(mode, pods=("a", "b", "c"))
        try:
            for activity in ("active", "idle"):
                result = bench(meshed, way, activity, 4 if options.quick else 20)
                missed += [] if judge(result) else [result["case"]]
                results.append(result)
        finally:
            meshed.remove()
    output = options.output or (None if options.quick else ROOT / "docs/benchmarks/cut.json")
    if output:
        save(output, results, {"connections": CONNECTIONS})
        print(f"written to {output}")
    return 1 if missed else 0, summary(len(results), time.monotonic() - started, missed)


if __name__ == "__main__":
    run_program(printing(main))
