# SPDX-License-Identifier: Apache-2.0
"""The node's proxy beside Envoy, HAProxy and nginx in the same place, and beside itself with policy and many routes.

Exit status 1 with --check if a limit is missed. See docs/benchmarks/README.md.
"""

import argparse
import fnmatch
import os
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests" / "Integration"))
os.environ.setdefault("MESH_BUILD", "release")

import accounts  # noqa: E402 (the path above is needed first)
import blocks  # noqa: E402
import l7cases  # noqa: E402
import l7load  # noqa: E402
import l7peers  # noqa: E402
from harness.processes import run_program  # noqa: E402
from l7arms import MANY, Bench, NotSupported  # noqa: E402
from report import number, printing, save, summary  # noqa: E402

IDLE, ALLOCATIONS = "idle-connections", "allocations"
# Of the rate that the slower of the arm and HAProxy has reached.
LOAD = 0.5


def parse(arguments, description, peers, output):
    """output: the file that a whole run writes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short, nothing is written: whether it runs")
    parser.add_argument("--cases", default="*", help="names with wildcards, separated by commas")
    parser.add_argument("--peers", default=",".join(peers), help="which of them")
    parser.add_argument("--blocks", type=int, help="blocks of each case (10, quick 2)")
    parser.add_argument("--seconds", type=float, help="seconds of each run (2, quick 1)")
    parser.add_argument("--output", type=Path, help=f"JSON file ({output}, quick: none)")
    parser.add_argument("--check", action="store_true", help="exit 1 if a limit is missed")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    options = parser.parse_args(arguments)
    options.peers = [name for name in peers if name in options.peers.split(",")]
    options.blocks = options.blocks or (2 if options.quick else 10)
    options.seconds = options.seconds or (1 if options.quick else 2)
    if not options.output and not options.quick and options.cases == "*":
        options.output = ROOT / output
    return options


def prove(bench, case):
    """That the arms can do the case, and that each answers by itself. Raises NotSupported for the mesh's."""
    if case.name == "h1-policy":
        bench.guard()
    if case.protocol == "h1" or case.load:
        return
    for name in case.arms:
        if name not in bench.arms:
            continue
        if case.protocol == "grpc":
            found = bench.arms[name].get("grpc", case.path, "--data", "", "--header", "content-type: application/grpc",
                                         "--header", "te: trailers")
            proved = found[:2] == (200, "2") and len(found[2]) == case.body
        else:
            found = bench.arms[name].get("h2", "/r5/protocol")
            proved = found[:2] == (200, "2") and found[2].startswith("HTTP/2.0")
        if not proved:
            what = f"{name}: HTTP/2 to the client and the backend: status {found[0]}, HTTP/{found[1]}, {found[2][:40]!r}"
            raise NotSupported(what) if name.startswith("mesh") else RuntimeError(what)


def run_case(bench, case, count, seconds):
    """Entries of `results`, one for each figure."""
    names = [name for name in case.arms if name in bench.arms]
    prove(bench, case)
    most = {name: l7load.most(bench.arms[name], case, seconds)["per_second"] for name in names}
    # Where HAProxy is not measured there is nothing to compare latencies with.
    slowest = most.get("haproxy", min(most.values()))

    def measure(name):
        arm = bench.arms[name]
        result = l7load.most(arm, case, seconds)
        if case.half:
            half = l7load.at_rate(arm, case, LOAD * min(most[name], slowest), seconds)
            result |= {"p50_us": half["p50_us"], "p99_us": half["p99_us"], "half_proxy_us": half["proxy_us"],
                       "half_path_us": half["path_us"], "half_per_second": half["per_second"]}
        return result
    done, repeated = blocks.interleave(names, count, measure)
    entries = []
    for figure, (unit, key) in l7cases.FIGURES.items():
        if key in done[0][names[0]][0]:
            series = {name: [statistics.fmean(result[key] for result in block[name]) for block in done] for name in names}
            entries.append(entry(case, figure, unit.replace("request", case.unit), series))
    rest = {name: [result for block in done for result in block[name]] for name in names}
    for key in ("half_per_second", "proxy_busy", "closed_p50_us", "closed_p99_us"):
        if key in rest[names[0]][0]:
            entries[0][key] = {name: round(statistics.median(one[key] for one in rest[name]), 3) for name in names}
    errors = {name: sum(one.get("errors", 0) for one in rest[name]) for name in names}
    if any(errors.values()):
        entries[0]["errors"] = errors
    # The two runs of a block against each other: what a ratio of 1 looks like here.
    entries[0]["aa"] = round(statistics.median(
        block[names[0]][0]["proxy_us"] / block[names[0]][1]["proxy_us"] for block in done), 4)
    return entries + ([{"case": case.name, "repeated_blocks": repeated}] if repeated else [])


def entry(case, figure, unit, series):
    """series: arm -> a value for each block."""
    result = {"case": case.name, "figure": figure, "metric": unit,
              "arms": {name: round(statistics.median(values), 3) for name, values in series.items()}, "ratios": []}
    for arm, base in case.pairs or pairs_of_the_mesh(series):
        if arm not in series or base not in series or arm == base or not all(series[base]):
            continue
        ratio, spread = blocks.ratio(series[arm], series[base])
        ratios = {"arm": arm, "other": base, "ratio": ratio, "spread": spread}
        for limit in case.limits:
            if (limit.figure, limit.arm, limit.other) == (figure, arm, base):
                ratios |= {"limit": limit.text(), "kept": limit.kept(ratio, spread)}
        result["ratios"].append(ratios)
    return result


def pairs_of_the_mesh(names):
    """The mesh to each other arm, and the mesh with a burden to the mesh."""
    return [(other, "mesh") if other in ("mesh-policy", "mesh-10000") else ("mesh", other) for other in names]


def show(result):
    """Prints an entry; the limits that it misses."""
    if "arms" not in result:
        return []
    values = "  ".join(f"{name} {number(value)}" for name, value in result["arms"].items())
    print(f"{result['case']:17} {result['figure']:23} {result['metric']:11} {values}", flush=True)
    missed = []
    for one in result.get("ratios", []):
        low, high = one["spread"]
        judged = f"  {one['limit']} {'ok' if one['kept'] else 'MISSED'}" if "limit" in one else ""
        if judged or result["figure"] == "proxy CPU":
            print(f"{'':41} {one['arm']} / {one['other']:10} {one['ratio']:.3f}  {low:.3f}-{high:.3f}{judged}", flush=True)
        if not one.get("kept", True):
            missed.append(f"{result['case']}: {result['figure']} to {one['other']}")
    if not result.get("kept", True):
        print(f"{'':41} mesh {result['limit']} MISSED")
        missed.append(result["case"])
    return missed


def single(case, figure, unit, values, most):
    """An entry that judges the mesh's value, not a ratio."""
    return {"case": case, "figure": figure, "metric": unit, "arms": {name: round(v, 4) for name, v in values.items()},
            "limit": f"<= {most:g}", "kept": values["mesh"] <= most}


def idle(bench, count):
    values = {name: arm.idle(count, "/r5/small") for name, arm in bench.arms.items()
              if arm.pids() and name not in ("mesh-policy", "mesh-10000")}
    return single(IDLE, "memory", "bytes", values, l7cases.IDLE_BYTES)


def allocations(bench, case, seconds):
    """Calls of the allocator for each request, warm: by how much a long run has more than a short one, since both open
    connections."""
    values = {}
    for name in ("mesh", "haproxy", "nginx"):
        if name not in bench.arms or name == "nginx" and case.protocol != "h1":
            continue
        arm, runs = bench.arms[name], []
        counter = accounts.Allocations(arm.pids()[0])
        try:
            for length in (1, 1, 1 + seconds):  # the first warms up
                before = counter.count()
                requests = l7load.most(arm, case, length)["requests"]
                runs.append((counter.count() - before, requests))
        finally:
            counter.close()
        (_, short, long) = runs
        values[name] = max(0, long[0] - short[0]) / max(1, long[1] - short[1])
    return single(f"{ALLOCATIONS}-{case.protocol}", "allocator", "calls/request", values, l7cases.ALLOCATIONS)


def plan(options):
    """(name, what makes its entries of a Bench, whether it needs the many routes)."""
    count, seconds = options.blocks, options.seconds
    cases = l7cases.all_cases()
    steps = [(case.name, lambda bench, case=case: run_case(bench, case, count, seconds),
              "mesh-10000" in case.arms) for case in cases]
    for case in (cases[0], next(case for case in cases if case.protocol == "h2")):
        def step(bench, case=case):
            prove(bench, case)
            return [allocations(bench, case, seconds)]
        steps.append((f"{ALLOCATIONS}-{case.protocol}", step, False))
    steps.append((IDLE, lambda bench: [idle(bench, 200 if options.quick else 2000)], False))
    return steps


def run_all(options, steps, benches):
    """Exit status and a line that sums up. steps: name, what makes its entries of a bench, which bench; benches: what makes
    each, in this order."""
    patterns = options.cases.split(",")
    steps = [step for step in steps if any(fnmatch.fnmatch(step[0], pattern) for pattern in patterns)]
    if options.list:
        print("\n".join(name for name, *_ in steps))
        return 0, f"{len(steps)} cases"
    if not steps:
        sys.exit(f"no case is called {options.cases}; --list prints them")
    if "envoy" in options.peers and not l7peers.envoy_program():
        sys.exit("Envoy is not installed: scripts/bench-l7.sh installs it; --peers haproxy does without")
    started = time.monotonic()
    results, missed, absent = [], [], []
    for number, make in enumerate(benches):
        chosen = [step for step in steps if step[2] == number]
        if not chosen:
            continue
        bench = make()
        try:
            for name, step, _ in chosen:
                try:
                    entries = step(bench)
                except NotSupported as reason:
                    print(f"{name:17} not supported yet: {reason}", flush=True)
                    absent.append({"case": name, "not_supported": str(reason)})
                    continue
                for one in entries:
                    missed += show(one)
                results += entries
        finally:
            bench.remove()
    if options.output:
        save(options.output, results + absent,
             {"blocks": options.blocks, "seconds": options.seconds, "peers": options.peers})
        print(f"written to {options.output}")
    line = summary(len(steps) - len(absent), time.monotonic() - started, missed)
    if absent:
        line += f"; not supported yet: {', '.join(one['case'] for one in absent)}"
    return 1 if missed and options.check else 0, line


def main(arguments=None):
    options = parse(arguments, __doc__, l7cases.PEERS, "docs/benchmarks/l7.json")
    # The many routes are a burden on what has nothing to do with them (memory), so they are last and apart.
    return run_all(options, plan(options), [lambda: Bench(options.peers, 0), lambda: Bench([], MANY)])


if __name__ == "__main__":
    run_program(printing(main))
