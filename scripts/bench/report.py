# SPDX-License-Identifier: Apache-2.0
"""Results as a table on the terminal and as JSON under docs/benchmarks."""

import json
import math
import os
import platform
import time
from pathlib import Path

from arms import ARMS
from cases import verdict


def host():
    """What a reader needs to know of the machine."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {"kernel": platform.release(), "cpu": model, "cores": os.cpu_count(),
            "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def header():
    return (f"{'case':42} {'unit':5} " + " ".join(f"{arm:>10}" for arm in ARMS)
            + f" {'mesh/plain':>11} {'95 % of the median':>19} {'A/A':>6}  limit")


def row(case, result):
    """The line of a case, and whether its limit is kept (None: not judged)."""
    cells = " ".join(f"{number(result['arms'].get(arm)):>10}" for arm in ARMS)
    line = f"{result['case']:42} {result['metric']:5} {cells}"
    if "ratio" not in result:
        return line, None
    low, high = result["spread"]
    text, kept = verdict(case, result["ratio"], result["spread"], result.get("downgraded", False))
    line += f" {result['ratio']:>11.3f} {low:>9.3f}-{high:<9.3f} {result['aa']:>6.3f}  {text} {'ok' if kept else 'MISSED'}"
    return line, kept


def number(value):
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 10_000 else f"{value:.2f}" if value >= 10 else f"{value:.3f}"


def percentile(ordered, share):
    """The least of the ordered values that `share` of them do not exceed."""
    return ordered[math.ceil(len(ordered) * share) - 1]


def summary(cases, seconds, missed):
    kept = f"limits missed: {', '.join(missed)}" if missed else "all limits kept"
    return f"{cases} cases in {seconds:.0f} s; {kept}"


def printing(main):
    """A `main` that prints the line that another returns beside the exit status."""
    def print_line():
        status, line = main()
        print(line)
        return status
    return print_line


def judge(result):
    """Prints the line of a case with one limit; whether it is kept."""
    value = result.get("ratio", result.get("p99"))
    kept = value <= result["limit"]
    print(f"{result['case']:36} {result['metric']:3} {result['arms']}  {value} <= {result['limit']} "
          f"{'ok' if kept else 'MISSED'}", flush=True)
    return kept


def save(path, results, options):
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"host": host(), "options": options, "results": results}
    path.write_text(json.dumps(document, indent=1) + "\n")
