# SPDX-License-Identifier: Apache-2.0
"""Interleaved measurement: blocks of A B C D D C B A, a ratio for each block, median and bootstrap spread."""

import random
import statistics

from arms import DOWNGRADES
from cases import limit_of


def steal():
    """(stolen, all) ticks of the machine so far: what a hypervisor took from us."""
    with open("/proc/stat", encoding="ascii") as file:
        ticks = [int(word) for word in file.readline().split()[1:]]
    return ticks[7], sum(ticks[:8])


def interleave(names, blocks, measure, most_steal=0.01):
    """Blocks of A B C D D C B A: of each block {name: [first, second]}, what `measure(name)` has returned; and how many
    were measured again. A block during which the machine was taken away is measured again."""
    done, repeated = [], 0
    while len(done) < blocks:
        block = {name: [] for name in names}
        started = steal()
        for name in [*names, *reversed(names)]:
            block[name].append(measure(name))
        ended = steal()
        stolen = (ended[0] - started[0]) / max(1, ended[1] - started[1])
        if stolen > most_steal and repeated < blocks:
            repeated += 1
            continue
        done.append(block)
    return done, repeated


def run_case(case, arms, blocks, seconds, most):
    """Measures a case on all arms: `blocks` blocks, and so many again, up to `most`, while the interval of the ratio has
    the limit within it. More blocks narrow the interval, whichever side of the limit it comes to lie on."""
    before = {name: arm.counters() for name, arm in arms.items()}
    done, repeated = [], 0
    while True:
        more, again = interleave(
            list(arms), min(blocks, most - len(done)), lambda name: arms[name].measure(case, seconds))
        done += more
        repeated += again
        values = {name: [[result[case.value] for result in block[name]] for block in done] for name in arms}
        extras = {name: [result for block in done for result in block[name]] for name in arms}
        after = {name: arm.counters() for name, arm in arms.items()}
        result = summarise(case, values, extras, repeated, change(before.get("mesh", {}), after.get("mesh", {})))
        if len(done) >= most or not is_open(case, result):
            return result


def is_open(case, result):
    """Whether the limit lies within the interval of the ratio."""
    if "ratio" not in result:
        return False
    low, high = result["spread"]
    return low <= limit_of(case, result.get("downgraded", False))[1] <= high


def change(before, after):
    return {name: value - before.get(name, 0) for name, value in after.items()}


def summarise(case, values, extras, repeated, counters):
    """One entry of `results`."""
    means = {name: [statistics.fmean(pair) for pair in pairs] for name, pairs in values.items()}
    result = {
        "case": case.name, "metric": case.metric, "blocks": len(values["plain"]),
        "arms": {name: round(statistics.median(series), 4) for name, series in means.items()}}
    if "mesh" in means:
        result["ratio"], result["spread"] = ratio(means["mesh"], means["plain"])
    for name, key in (("tcp-only", "tcp_only_ratio"), ("unix", "unix_ratio")):
        if name in means:
            result[key] = round(statistics.median(a / b for a, b in zip(means[name], means["plain"])), 4)
    # The two plain runs of a block against each other: what a ratio of 1 looks like here.
    result["aa"] = round(statistics.median(first / second for first, second in values["plain"]), 4)
    if "p99_us" in extras["plain"][0]:
        result["p99"] = {name: round(statistics.median(entry["p99_us"] for entry in runs), 2)
                         for name, runs in extras.items()}
    if "client_cpu_us" in extras["plain"][0]:
        result["cpu_us"] = {name: round(statistics.median(
            entry["client_cpu_us"] + entry["server_cpu_us"] for entry in runs), 3) for name, runs in extras.items()}
    if counters:
        result["downgraded"] = any(counters.get(reason, 0) for reason in DOWNGRADES)
        result["counters"] = {name: value for name, value in counters.items() if value}
    if repeated:
        result["repeated_blocks"] = repeated
    return result


def ratio(series, reference):
    """Of two series of one value for each block: the median of the blocks' ratios, and its 95 % interval."""
    ratios = [value / other for value, other in zip(series, reference)]
    return round(statistics.median(ratios), 4), [round(end, 4) for end in bootstrap(ratios)]


def bootstrap(ratios, rounds=2000):
    """95 % interval of the median."""
    source = random.Random(1)
    medians = sorted(statistics.median(source.choices(ratios, k=len(ratios))) for _ in range(rounds))
    return medians[int(rounds * 0.025)], medians[int(rounds * 0.975) - 1]
