# SPDX-License-Identifier: Apache-2.0
"""Measures same-node traffic: plain veth, mesh, mesh without acceleration, UNIX socket. See docs/benchmarks/README.md."""

import argparse
import fnmatch
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests" / "Integration"))
os.environ.setdefault("MESH_BUILD", "release")

import arms as arms_module  # noqa: E402 (the path above is needed first)
import blocks  # noqa: E402
import cases  # noqa: E402
import report  # noqa: E402
from harness.processes import run_program  # noqa: E402


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a third of the cases, short: at most 3 minutes")
    parser.add_argument("--cases", default="*", help="names with wildcards, separated by commas: 'rr-*,crr-*'")
    parser.add_argument("--arms", default=",".join(arms_module.ARMS), help="plain is always among them")
    parser.add_argument("--blocks", type=int, help="blocks of each case (10, quick 4)")
    parser.add_argument("--most-blocks", type=int, help="of a case whose ratio is too near its limit to tell (100, quick 4)")
    parser.add_argument("--seconds", type=float, help="seconds of each run (0.3, quick 0.15)")
    parser.add_argument("--output", type=Path, help="JSON file (docs/benchmarks/same-node.json, quick: none)")
    parser.add_argument("--check", action="store_true", help="exit 1 if a limit is missed")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    return parser.parse_args(arguments)


def chosen(options):
    patterns = options.cases.split(",")
    return [case for case in cases.all_cases()
            if any(fnmatch.fnmatch(case.name, pattern) for pattern in patterns)
            and (case.quick or not options.quick or options.cases != "*")]


def main(arguments=None):
    """Exit status and a line that sums up."""
    options = parse(arguments)
    selected = chosen(options)
    if options.list:
        print("\n".join(case.name for case in selected))
        return 0, f"{len(selected)} cases"
    if not selected:
        sys.exit(f"no case is called {options.cases}; --list prints them")
    count = options.blocks or (4 if options.quick else 10)
    most = max(count, options.most_blocks or (4 if options.quick else 100))
    seconds = options.seconds or (0.15 if options.quick else 0.3)
    names = [name for name in arms_module.ARMS if name == "plain" or name in options.arms.split(",")]
    started = time.monotonic()
    running, results, missed = {}, [], []
    try:
        for name in names:
            running[name] = arms_module.make(name)
        print(report.header(), flush=True)
        for case in selected:
            result = blocks.run_case(case, running, count, seconds, most)
            line, kept = report.row(case, result)
            print(line, flush=True)
            results.append(result)
            if kept is False:
                missed.append(case.name)
    finally:
        for arm in running.values():
            arm.remove()
    output = options.output or (None if options.quick or options.cases != "*" else ROOT / "docs/benchmarks/same-node.json")
    if output:
        report.save(output, results, {"blocks": count, "most_blocks": most, "seconds": seconds, "arms": names})
        print(f"written to {output}")
    return 1 if missed and options.check else 0, report.summary(len(results), time.monotonic() - started, missed)


if __name__ == "__main__":
    run_program(report.printing(main))
